"""Times loads of one pipeline: stock diffusers, stock with parallel loading, warpload, and the floor under them all.

See README.md in this folder for what is measured, and `python benchmarks/load_times.py --help` for the options.
"""

from __future__ import annotations

import datetime
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from warpload.demo import architecture
from warpload.demo.session import default_folder
from warpload.demo.synthetic import read_marker, write_synthetic_pipeline
from warpload.measuring import machine, weights
from warpload.measuring.runs import ELEMENT_SIZES, Conditions, ContenderError, Request, Run, Spread, run_contender

CONTENDERS = ("stock", "stock-parallel", "warpload", "floor")
DTYPES = ("float16", "bfloat16", "float32")
MODES = ("load", "whole")
PACKAGES = ("warpload", "torch", "diffusers", "transformers", "accelerate", "safetensors")

_HERE = Path(__file__).resolve().parent
_CODES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
# What must be free beside the files and the result for a load to be worth timing.
_SPARE_MEMORY_BYTES = 10**9


@dataclass(frozen=True)
class Record:
    """A run, and what the machine did when it began.

    Attributes:
        run: what was measured.
        number: of the round that it belongs to, from 0.
        load_average: processes that wanted a core in the minute before; much above 0 spoils the figures.
    """

    run: Run
    number: int
    load_average: float


@dataclass(frozen=True)
class Bar:
    """A bound that was set beforehand, and the ratio of medians to hold against it."""

    name: str
    value: float
    bound: float
    at_least: bool

    @property
    def passed(self) -> bool:
        """Whether the value is on the right side of the bound."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        """Return the bar in one line."""
        sign = ">=" if self.at_least else "<="
        return f"{'pass' if self.passed else 'FAIL'}  {self.name}: {self.value:.2f} ({sign} {self.bound:g})"


class Summary:
    """Spreads of the runs, by contender, dtype and mode."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def spread(self, contender: str, dtype: str, mode: str) -> Spread | None:
        """Return the spread of the total seconds, or None when there are no such runs."""
        wanted = (contender, dtype, mode)
        runs = [record.run for record in self._records]
        values = [run.seconds["total"] for run in runs if (run.loader, run.dtype, run.mode) == wanted]
        return Spread.of(values) if values else None

    def ratio(self, over: str, under: str, dtype: str, mode: str) -> float | None:
        """Return the ratio of two contenders' medians, or None when either did not run."""
        numerator, denominator = self.spread(over, dtype, mode), self.spread(under, dtype, mode)
        return numerator.median / denominator.median if numerator and denominator else None


def evaluate_bars(summary: Summary, own_dtype: str) -> list[Bar]:
    """Hold the medians against the bars; those that lack a contender are left out.

    Args:
        summary: of warm runs.
        own_dtype: dtype of the files; a load in another one is a cast.
    """
    bars = []

    def add(name: str, value: float | None, bound: float, at_least: bool) -> None:
        if value is not None:
            bars.append(Bar(name, value, bound, at_least))

    for dtype in DTYPES:
        bound, kind = (1.5, "same dtype") if dtype == own_dtype else (3.0, "cast")
        loaders = ("stock",) if dtype == own_dtype else ("stock", "stock-parallel")
        for loader in loaders:
            ratio = summary.ratio(loader, "warpload", dtype, "load")
            add(f"load, {dtype} ({kind}): {loader} / warpload", ratio, bound, True)
        if dtype != own_dtype:
            ratio = summary.ratio("warpload", "floor", dtype, "load")
            add(f"load, {dtype} ({kind}): warpload / floor", ratio, 1.8, False)
        ratio = summary.ratio("warpload", "stock", dtype, "whole")
        add(f"whole, {dtype} ({kind}): warpload / stock", ratio, 0.8, False)
    return bars


def summary_table(summary: Summary, title: str) -> Table:
    """Render the spreads and the ratios to warpload's median."""
    table = Table(title=title, title_justify="left")
    for heading in ("mode", "dtype", "contender"):
        table.add_column(heading, no_wrap=True)
    for heading in ("median s", "min", "max", "runs", "/ warpload"):
        table.add_column(heading, justify="right")
    for mode in MODES:
        for dtype in DTYPES:
            for contender in CONTENDERS:
                spread = summary.spread(contender, dtype, mode)
                if spread is None:
                    continue
                ratio = summary.ratio(contender, "warpload", dtype, mode)
                seconds = [f"{value:.3f}" for value in (spread.median, spread.smallest, spread.largest)]
                table.add_row(
                    *(mode, dtype, contender, *seconds, str(spread.count)), "-" if ratio is None else f"{ratio:.2f}"
                )
            table.add_section()
    return table


def run_floor(program: Path, conditions: Conditions, dtype: str, own_dtype: str, threads: int) -> Run:
    """Run the floor once.

    Raises:
        ContenderError: the program failed.
    """
    before = conditions.prepare(dtype)
    command = [str(program), str(conditions.model), _CODES[own_dtype], _CODES[dtype], str(threads), "--no-touch"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        raise ContenderError(f"{shlex.join(command)}\n{process.stderr.strip()}")
    seconds = float(json.loads(process.stdout)["seconds"])
    cache = (str(before), str(conditions.cache_state()))
    return Run("floor", "load", dtype, {"load": seconds, "total": seconds}, 0, cache)


def measure(
    conditions: Conditions,
    contenders: Sequence[str],
    dtypes: Sequence[str],
    modes: Sequence[str],
    run_count: int,
    run_the_floor: Callable[[str], Run],
    console: Console,
) -> list[Record]:
    """Run all contenders in turn: every one once, then every one again.

    Raises:
        ContenderError: a process failed.
    """
    records = []
    for mode in modes:
        for dtype in dtypes:
            needed = conditions.expected_memory(dtype) + _SPARE_MEMORY_BYTES
            if needed > conditions.room():
                console.print(f"{dtype}: left out, as it needs {needed / 1e9:.1f} GB of memory beside the files")
                continue
            for number in range(run_count):
                for contender in contenders:
                    if contender == "floor" and mode == "whole":
                        continue
                    load_average = os.getloadavg()[0]
                    floor = contender == "floor"
                    run = run_the_floor(dtype) if floor else run_contender(Request(contender, dtype, mode), conditions)
                    records.append(Record(run, number, load_average))
                    console.print(
                        f"{mode:5} {dtype:8} {contender:14} {run.seconds['total']:8.3f} s   load average "
                        f"{load_average:.1f}   page cache {run.page_cache[0]} -> {run.page_cache[1]}",
                        highlight=False,
                        soft_wrap=True,
                    )
    return records


def synthetic_model(folder: Path, scale_name: str, shards: int, largest_dtype: str, console: Console) -> Path:
    """Write the synthetic pipeline unless it is there, and return its folder."""
    if scale_name == "auto":
        existing = read_marker(folder)
        held = 0 if existing is None else weights.total_size(weights.weight_files(folder))
        scale = architecture.choose_scale(
            machine.available_memory(),
            machine.free_disk(folder) + held,
            result_element_size=ELEMENT_SIZES[largest_dtype] or 2,
        )
    else:
        scale = next(scale for scale in (*architecture.SCALES, architecture.TINY) if scale.name == scale_name)
    console.print(f"{scale.description()}, random weights, float16, {shards} file(s) for the UNet", highlight=False)
    write_synthetic_pipeline(folder, scale=scale, shards=shards)
    return folder


def package_versions() -> dict[str, str]:
    """Return the installed version of every package that takes part."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def report(model: Path, cache: str, threads: int, records: Sequence[Record], bars: Sequence[Bar]) -> dict[str, Any]:
    """Return everything that a reader needs to judge the figures, for the JSON file."""
    marker = read_marker(model)
    runs = []
    for record in records:
        fields = asdict(record.run)
        del fields["digest"]
        runs.append({**fields, "round": record.number, "load_average": record.load_average})
    return {
        "command": shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine.machine_description(),
        "versions": package_versions(),
        "model": asdict(marker) if marker else {"name": model.name},
        "weight_bytes": weights.total_size(weights.weight_files(model)),
        "page_cache": cache,
        "floor_threads": threads,
        "runs": runs,
        "bars": [{**asdict(bar), "passed": bar.passed} for bar in bars],
    }


def _choices(values: Sequence[str], allowed: Sequence[str], option: str) -> list[str]:
    unknown = [value for value in values if value not in allowed]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(allowed)}", param_hint=option)
    return [value for value in allowed if value in values]


def main(
    model: Annotated[Path | None, typer.Option(help="A pipeline's folder.", show_default="synthetic weights")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the synthetic pipeline is or goes; it stays there.")
    ] = None,
    scale: Annotated[str, typer.Option(help="Of the synthetic pipeline: auto, full, medium, small or tiny.")] = "auto",
    shards: Annotated[int, typer.Option(min=1, help="Files of the synthetic UNet.")] = 1,
    contender: Annotated[list[str], typer.Option(help="May be repeated.")] = list(CONTENDERS),  # noqa: B006
    dtype: Annotated[list[str], typer.Option(help="May be repeated.")] = list(DTYPES),  # noqa: B006
    mode: Annotated[list[str], typer.Option(help="May be repeated.")] = list(MODES),  # noqa: B006
    runs: Annotated[int, typer.Option(min=1, help="Rounds; every contender runs once in each.")] = 5,
    cache: Annotated[str, typer.Option(help="State of the page cache before each run: warm or cold.")] = "warm",
    floor: Annotated[Path, typer.Option(help="The program warpload_floor.")] = Path("build/benchmarks/warpload_floor"),
    threads: Annotated[int, typer.Option(min=0, help="Threads of the floor; 0 is one a core.")] = 0,
    name: Annotated[str, typer.Option(help="Name of the JSON file.")] = "load_times",
    output: Annotated[Path, typer.Option(help="Folder of the JSON file.")] = _HERE / "results",
) -> None:
    """Time loads in fresh processes, in turn, and write every run to a JSON file.

    The exit status is 1 when a bar is missed or a load fails.
    """
    console = Console()
    contenders = _choices(contender, CONTENDERS, "--contender")
    dtypes, modes = _choices(dtype, DTYPES, "--dtype"), _choices(mode, MODES, "--mode")
    _choices([cache], ("warm", "cold"), "--cache")
    if "floor" in contenders and not floor.is_file():
        console.print(f"no floor: {floor} is missing (configure with -DWARPLOAD_BENCHMARKS=ON and build)")
        contenders.remove("floor")
    largest = max(dtypes, key=lambda name: ELEMENT_SIZES[name] or 0)
    place = (folder or default_folder()).expanduser().absolute()
    path = model.absolute() if model else synthetic_model(place, scale, shards, largest, console)
    own_dtype = weights.files_dtype(path)
    threads = threads or len(os.sched_getaffinity(0))
    try:
        with Conditions(path, cold=cache == "cold") as conditions:
            console.print(f"page cache: {cache}; {conditions.description()}")
            records = measure(
                *(conditions, contenders, dtypes, modes, runs),
                lambda dtype: run_floor(floor.absolute(), conditions, dtype, own_dtype, threads),
                console,
            )
    except ContenderError as error:
        console.print(str(error), markup=False, highlight=False)
        raise typer.Exit(1) from error
    summary = Summary(records)
    bars = evaluate_bars(summary, own_dtype) if cache == "warm" else []
    console.print(summary_table(summary, f"page cache {cache}, {own_dtype} files"))
    for bar in bars:
        console.print(str(bar), style="green" if bar.passed else "red", highlight=False)
    output.mkdir(parents=True, exist_ok=True)
    content = json.dumps(report(path, cache, threads, records, bars), indent=2)
    (output / f"{name}.json").write_text(content + "\n", encoding="utf-8")
    console.print(f"every run is in {output / f'{name}.json'}", highlight=False)
    raise typer.Exit(0 if all(bar.passed for bar in bars) else 1)


if __name__ == "__main__":
    typer.run(main)
