"""What `warpload bench` does: check what was asked for, get the files, measure, show, and keep what was found."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from warpload import consoles
from warpload.bench.growth_files import SIZES, TINY_SIZES, write_growth_files
from warpload.bench.tables import result_tables
from warpload.demo import architecture
from warpload.demo.model import ModelError, find_model
from warpload.demo.session import default_folder
from warpload.demo.synthetic import read_marker, write_synthetic_pipeline
from warpload.errors import WarploadError
from warpload.measuring import machine, weights
from warpload.measuring.contenders import CONTENDERS, FLOOR, OWN
from warpload.measuring.measure import Plan, Point, measure
from warpload.measuring.results import AXES, GROWTH, SCENARIOS, Results, as_json
from warpload.measuring.runs import ELEMENT_SIZES
from warpload.refusing import refuse

CACHES = ("warm", "cold")
DTYPES = tuple(name for name in ELEMENT_SIZES if name != "none")
PACKAGES = ("warpload", "torch", "diffusers", "transformers", "accelerate", "safetensors")


@dataclass(frozen=True)
class BenchOptions:
    """The options of `warpload bench`; see there."""

    model: str | None = None
    against: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    runs: int = 3
    cache: str = "warm"
    json: Path | None = None
    plot: Path | None = None
    scale: str = "auto"
    shards: int = 1
    folder: Path | None = None
    packages: Path | None = None
    floor: Path | None = None


class UsageError(ValueError):
    """What was asked for cannot be; the message names the option and what it takes."""


def run_bench(options: BenchOptions, console: Console | None = None) -> int:
    """Run the benchmark; returns the process's exit status."""
    console = console or consoles.for_results()
    try:
        _check(options)
        with tempfile.TemporaryDirectory(prefix="warpload-bench-", dir=_work_folder(options)) as work:
            return _run(options, Path(work), console)
    except (UsageError, ModelError) as error:
        return refuse(console, str(error), 2)
    except KeyboardInterrupt:
        return refuse(console, "interrupted", 130)
    except (OSError, ValueError, WarploadError) as error:
        return refuse(console, str(error), 1)


def _check(options: BenchOptions) -> None:
    """Refuse what cannot be, before anything is loaded or written.

    Raises:
        UsageError: says what and why.
    """
    for option, given, allowed in (
        ("--against", options.against, tuple(name for name in CONTENDERS if name != OWN)),
        ("--scenario", options.scenarios, tuple(SCENARIOS)),
        ("--axis", options.axes, tuple(AXES)),
        ("--dtype", options.dtypes, DTYPES),
        ("--cache", (options.cache,), CACHES),
        ("--scale", (options.scale,), ("auto", *(scale.name for scale in _scales()))),
    ):
        for name in given:
            if name not in allowed:
                raise UsageError(f"{option} is {name!r}, not one of {', '.join(allowed)}")
    if options.plot is not None and find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib, which is not installed (pip install 'warpload[bench]')")
    for option, file in (("--json", options.json), ("--plot", options.plot)):
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            raise UsageError(f"{option}: {file} cannot be written, as its folder is not there (make it first)")


def _scales() -> tuple[architecture.Scale, ...]:
    return (*architecture.SCALES, architecture.TINY)


def _work_folder(options: BenchOptions) -> Path:
    """Return where files that are deleted again go: beside the synthetic pipeline, where there is room for them."""
    folder = _synthetic_folder(options).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _synthetic_folder(options: BenchOptions) -> Path:
    return (options.folder or default_folder()).expanduser().absolute()


def _run(options: BenchOptions, work: Path, console: Console) -> int:
    scenarios = options.scenarios or tuple(name for name in SCENARIOS if name != GROWTH)
    model = None if scenarios == (GROWTH,) else _find_or_write(options, console)
    own_dtype = weights.files_dtype(model) if model is not None else "float16"
    dtypes = options.dtypes or tuple(dict.fromkeys((own_dtype, "bfloat16")))
    plan = Plan(
        model=model,
        own_dtype=own_dtype,
        contenders=_contenders(options),
        scenarios=scenarios,
        dtypes=dtypes,
        runs=options.runs,
        cold=options.cache == "cold",
        packages=options.packages.absolute() if options.packages is not None else None,
        floor=options.floor.absolute() if options.floor is not None else None,
        work=work / "formats",
        points=_growth_points(options, scenarios, work, console),
    )
    busy = os.getloadavg()[0]
    if busy > len(os.sched_getaffinity(0)) / 2:
        console.print(f"The machine is busy (load average {busy:.1f}): the times will be too long and unsteady.")
    results = Results(_about(model, plan), plan.cold, plan.contenders)
    try:
        with _announcing(console) as announce:
            measure(plan, results, announce)
    finally:  # after an interrupt, too: what was found took its time
        _keep(results, options, console)
    return 1 if results.own_failed else 0


def _contenders(options: BenchOptions) -> tuple[str, ...]:
    """Return who takes part, in the table's order; by default all that load to the CPU."""
    floor = options.floor is not None
    everybody = (it.name for it in CONTENDERS.values() if not it.needs_gpu and (floor or it.name != FLOOR))
    chosen = {OWN, *(options.against or everybody)}
    return tuple(name for name in CONTENDERS if name in chosen)


def _find_or_write(options: BenchOptions, console: Console) -> Path:
    """Return the folder of the pipeline; the synthetic one is written unless it is there, and stays."""
    if options.model is not None:
        return find_model(options.model)
    folder = _synthetic_folder(options)
    if options.scale == "auto":
        held = 0 if read_marker(folder) is None else weights.total_size(weights.weight_files(folder))
        size = max((ELEMENT_SIZES[name] or 2 for name in options.dtypes), default=2)
        scale = architecture.choose_scale(
            machine.available_memory(), machine.free_disk(folder) + held, result_element_size=size
        )
    else:
        scale = next(it for it in _scales() if it.name == options.scale)
    console.print(f"{scale.description()}, random weights, float16, in {folder}", highlight=False, soft_wrap=True)
    write_synthetic_pipeline(folder, scale=scale, shards=options.shards)
    return folder


def _growth_points(options: BenchOptions, scenarios: Sequence[str], work: Path, console: Console) -> tuple[Point, ...]:
    if GROWTH not in scenarios:
        return ()
    sizes = TINY_SIZES if options.scale == architecture.TINY.name else SIZES
    with console.status("writing the files that grow"):
        return write_growth_files(work / "growth", sizes, options.axes or tuple(AXES))


@contextlib.contextmanager
def _announcing(console: Console) -> Iterator[Any]:
    """Give a function that shows what runs: in one line on a terminal, else in a line each."""
    if console.is_terminal:
        with console.status("") as status:
            yield status.update
    else:
        yield lambda words: console.print(words, highlight=False, soft_wrap=True)


def _keep(results: Results, options: BenchOptions, console: Console) -> None:
    """Show the tables and write the files."""
    results.about["finished"] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    console.print(result_tables(results))
    if options.json is not None:
        content = json.dumps(as_json(results), indent=1)
        options.json.write_text(content + "\n", encoding="utf-8")
        console.print(f"every run is in {options.json}", highlight=False, soft_wrap=True)
    if options.plot is not None:
        from warpload.bench.plot import write_plot

        write_plot(as_json(results), options.plot)
        console.print(f"the plot is {options.plot}", highlight=False, soft_wrap=True)


def _about(model: Path | None, plan: Plan) -> dict[str, Any]:
    """Return what the JSON file says beside what was found."""
    about: dict[str, Any] = {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "machine": machine.machine_description(),
        "versions": {name: _version(name) for name in PACKAGES},
        "rounds": plan.runs,
    }
    if model is not None:
        marker = read_marker(model)
        files = weights.weight_files(model)
        about["model"] = {
            **(asdict(marker) if marker else {"name": model.name}),
            "weight_bytes": weights.total_size(files),
            "weight_files": len(files),
            "dtype": plan.own_dtype,
        }
    return about


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
