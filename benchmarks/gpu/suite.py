"""The whole suite in one bounded time: `benchmarks/gpu_suite.sh` calls it.

Every step is a process group of its own that is killed at its mark; none can end the others. Every result is in the
journal at the moment it is known, so that whatever ends the suite costs one run. At the end, and by
`python -m benchmarks.gpu.merge` at any time, one JSON file is made of it.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TextIO

import typer

from . import merge
from .journal import JOURNAL_PATH, REHEARSAL, STEP, Journal
from .place import ROOT, Place
from .processes import run_step

SECONDS = 560.0  # what the marks of the first call are given for
SECOND_SECONDS = 200.0  # and those of the second
_MERGING = 6.0  # seconds at the end, for the JSON file and the tables
_STOPPING = 2.0  # seconds before it is killed in which a measurement stops by itself
# The contenders of every round, ours first: what is cut off at the end of the first round is the others'.
CONTENDERS = ("warpload", "warpload-pipeline", "stock-device-map", "safetensors-prefetch", "fastsafetensors",
              "instanttensor")  # fmt: skip
_EXTRA = ("runai-streamer", "stock-to")
_COLD = (
    "warpload",
    "safetensors-prefetch",
    "instanttensor",
    "fastsafetensors",
    "warpload-pipeline",
    "stock-device-map",
)


@dataclass(frozen=True)
class Call:
    """One call of the suite.

    Attributes:
        place: where everything is.
        journal: gets the results.
        rehearse: go without a GPU, with tiny pipelines.
    """

    place: Place
    journal: Path
    rehearse: bool

    @property
    def device(self) -> str:
        """Where the loads go."""
        return "cpu" if self.rehearse else "cuda:0"

    def step(self, *words: object) -> list[str]:
        """Return the command of a step."""
        return [sys.executable, "-m", "benchmarks.gpu", *map(str, words)]

    def journaled(self, *words: object) -> list[str]:
        """Return the command of a step that is told its journal."""
        return self.step(*words, "--journal", self.journal)

    def placed(self, *words: object) -> list[str]:
        """Return the command of a step that is told where everything is."""
        return self.step(*words, "--kit", self.place.kit, "--work", self.place.work)

    @property
    def scale(self) -> list[str]:
        """The size of the pipelines."""
        return ["--scale", "tiny" if self.rehearse else "auto"]

    @property
    def models(self) -> list[str]:
        """Where the pipelines are."""
        return ["--models", str(self.place.models)]

    def measure(
        self, pipeline: str, cases: Sequence[str], loaders: Sequence[str], seconds: float, *more: str
    ) -> list[str]:
        """Return the command that loads a pipeline by the contenders."""
        chosen = [word for loader in loaders for word in ("--loader", loader)]
        chosen += [word for case in cases for word in ("--case", case)]
        options = [*self.models, "--device", self.device, "--disk-program", str(self.place.disk_program)]
        options += ["--overlay", str(self.place.overlay), "--seconds", f"{max(1.0, seconds - _STOPPING):.1f}"]
        return [*self.journaled("measure", pipeline), *options, *chosen, *more]


@dataclass(frozen=True)
class Step:
    """A part of the suite.

    Attributes:
        name: in the results, and for --only.
        until: the mark, in seconds from the beginning, at which it is killed.
        least: what it may take in any case, where steps before it took too long.
        command: of the seconds that it may take.
    """

    name: str
    until: float
    least: float
    command: Callable[[Call, float], list[str]]


def _facts(gigabytes: float) -> Callable[[Call, float], list[str]]:
    def command(call: Call, _: float) -> list[str]:
        return [*call.journaled("facts"), *call.models, "--touch-gigabytes", "0.1" if call.rehearse else str(gigabytes)]

    return command


def _pinning(call: Call, _: float) -> list[str]:
    fake = call.place.kit.absolute() / "programs" / "libfake_cuda.so"
    return [*call.journaled("pinning"), *call.scale, *(["--library", str(fake)] if call.rehearse else [])]


def _install(call: Call, _: float) -> list[str]:
    return [*call.placed("install"), "--journal", str(call.journal)]


def _ctest(call: Call, _: float) -> list[str]:
    label = "fakecuda" if call.rehearse else "gpu"
    return [*call.placed("ctest"), "--journal", str(call.journal), "--label", label]


def _write(pipeline: str) -> Callable[[Call, float], list[str]]:
    return lambda call, _: [*call.step("write", pipeline), *call.models, "--device", call.device, *call.scale]


def _limits(call: Call, _: float) -> list[str]:
    return [*call.journaled("limits"), *call.models, "--device", call.device, *call.scale]


def _large(call: Call, seconds: float) -> list[str]:
    return call.measure("large", ("warm", "cold", "pipeline"), CONTENDERS, seconds, "--rounds", "2")


def _load_drop_load(call: Call, _: float) -> list[str]:
    return [*call.journaled("load-drop-load"), *call.models, "--device", call.device]


def _pytest(*options: str) -> Callable[[Call, float], list[str]]:
    return lambda call, _: [*call.placed("pytest"), *options, *(["--rehearse"] if call.rehearse else [])]


def _timed(name: str, *options: str) -> Callable[[Call, float], list[str]]:
    def command(call: Call, seconds: float) -> list[str]:
        journal = ["--journal", str(call.journal)]
        return [*call.placed(name), *journal, "--seconds", f"{seconds - _STOPPING:.1f}", *options]

    return command


FIRST = (
    Step("facts", 14, 10, _facts(60)),
    Step("pinning", 20, 5, _pinning),
    Step("install", 36, 150, _install),  # 150 where parts of the kit do not run and are built
    Step("smoke", 70, 40, lambda call, _: [*call.journaled("smoke"), "--device", call.device]),  # compiles all imports
    Step("ctest", 86, 15, _ctest),
    Step("pytest-first", 150, 40, _pytest("first")),
    Step("pytest", 190, 30, _pytest("others")),
    Step("write", 216, 75, _write("sdxl")),  # 75 on a slow disk: without it nothing can be measured
    Step("limits", 230, 20, _limits),
    Step("warm", 330, 60, lambda call, seconds: call.measure(
        "sdxl", ("warm", "pipeline"), (*CONTENDERS, *_EXTRA), seconds, "--rounds", "3", "--checked")),
    Step("cold", 400, 60, lambda call, seconds: call.measure("sdxl", ("cold",), _COLD, seconds, "--rounds", "3")),
    Step("write-large", 430, 60, _write("large")),
    Step("large", 490, 50, _large),
    Step("pytest-full-size", SECONDS - _MERGING, 20, _pytest("full-size")),
)  # fmt: skip
SECOND = (
    Step("facts", 10, 8, _facts(1)),  # the results name the GPU, and it may be another machine after all
    Step("install", 25, 60, _install),
    Step("write", 45, 75, _write("sdxl")),
    Step("sweep", 140, 60, lambda call, seconds: [*_timed("sweep")(call, seconds), *call.scale]),
    Step("load-drop-load", 155, 15, _load_drop_load),
    Step("sanitize", SECOND_SECONDS - _MERGING, 40, _timed("sanitize")),
)


def main(
    output: Annotated[Path, typer.Argument(help="Folder for the journal, the log and the JSON file.")],
    kit: Annotated[Path, typer.Option(help="As `make gpu-kit` makes it.")],
    seconds: Annotated[
        float | None, typer.Option(help="For everything; the marks move with it. [560; second: 200]")
    ] = None,
    second: Annotated[
        bool, typer.Option("--second", help="The second call: sweep of settings, compute-sanitizer.")
    ] = False,
    rehearse: Annotated[bool, typer.Option("--rehearse", help="Without a GPU, with tiny pipelines.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="A step; may be repeated. Else all.")] = None,
    work: Annotated[Path, typer.Option(help="For all that is installed, built or written; stays.")] = ROOT
    / "build"
    / "gpu",
) -> None:
    """Run the steps, merge, and exit with 1 where anything is wrong."""
    begin = time.monotonic()
    plan = SECOND if second else FIRST
    if unknown := set(only or ()) - {step.name for step in plan}:
        raise typer.BadParameter(f"no such step: {', '.join(sorted(unknown))}")
    whole = SECOND_SECONDS if second else SECONDS
    total = seconds or whole
    output.mkdir(parents=True, exist_ok=True)
    name = merge.REHEARSAL_JOURNAL if rehearse else merge.JOURNAL
    call = Call(Place(kit.absolute(), work.absolute()), (output / name).absolute(), rehearse)
    os.environ[REHEARSAL] = "1" if rehearse else "0"
    chosen = [step for step in plan if not only or step.name in only]
    with (output / "log").open("a", encoding="utf-8") as log:
        _run_all(call, chosen, begin, total, total / whole, log)
    merge.main([call.journal])


def _run_all(call: Call, steps: Sequence[Step], begin: float, total: float, scale: float, log: TextIO) -> None:
    """Run the steps one after another; each ends at its mark, and all end before the whole time does."""
    for step in steps:
        now = time.monotonic() - begin
        limit = min(max(step.until * scale - now, step.least * scale), total - _MERGING * scale - now)
        os.environ[STEP] = step.name
        journal = Journal(call.journal)
        journal.add("step", event="begin", began=round(now, 2), command=shlex.join(sys.argv))
        if limit < 1.0:
            journal.add("step", event="end", status="no time was left", seconds=0.0, limit=0.0)
            continue
        environment = {**call.place.environment(), JOURNAL_PATH: str(call.journal)}

        def say(line: str) -> None:
            print(line, flush=True)
            log.write(line + "\n")
            log.flush()

        say(f"\n== {step.name} ({now:.0f} s, for {limit:.0f} s at most)")
        status = run_step(step.command(call, limit), seconds=limit, environment=environment, on_line=say)
        took = time.monotonic() - begin - now
        journal.add("step", event="end", status=status, seconds=round(took, 2), limit=round(limit, 2))
        say(f"-- {step.name}: {status} ({took:.1f} s)")


if __name__ == "__main__":
    typer.run(main)
