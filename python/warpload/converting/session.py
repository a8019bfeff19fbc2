"""What `warpload convert` does: plan, convert with a bar, say what came of it."""

from __future__ import annotations

import functools
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from warpload import consoles, units
from warpload.converting.convert import ConversionError, convert, convert_index
from warpload.converting.plan import Conversion, NothingToConvertError, Plan, make_plan
from warpload.refusing import refuse


@dataclass(frozen=True)
class ConvertOptions:
    """The options of `warpload convert`; see there."""

    source: Path
    output: Path | None = None
    overwrite: bool = False


def run_convert(options: ConvertOptions, console: Console | None = None) -> int:
    """Convert; returns the process's exit status."""
    console = console or consoles.for_results()
    try:
        plan = make_plan(options.source, options.output)
        waiting = [each for each in plan.files if options.overwrite or not each.target.exists()]
        _check_room(plan, waiting)
        _convert_all(plan, waiting, options, console)
    except KeyboardInterrupt:
        return refuse(console, "interrupted; the files that are finished stay", 130)
    except NothingToConvertError as error:
        return refuse(console, str(error), 2)
    except (ConversionError, OSError) as error:
        return refuse(console, str(error), 1)
    return 0


def _check_room(plan: Plan, waiting: list[Conversion]) -> None:
    needed = sum(each.source.stat().st_size for each in waiting) + sum(file.stat().st_size for file in plan.others)
    place = plan.output
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ConversionError(f"{plan.output}: {units.size(needed)} are needed, and {units.size(free)} are free")


def _convert_all(plan: Plan, waiting: list[Conversion], options: ConvertOptions, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    begin, size = time.monotonic(), 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=sum(each.source.stat().st_size for each in waiting))
        for each in waiting:
            name = str(each.source.relative_to(plan.root))
            progress.update(task, description=name)
            size += convert(each, functools.partial(progress.advance, task))
            _say(console, f"{name} -> {each.target.name}")
    for file in plan.others:
        target = plan.output / file.relative_to(plan.root)
        if options.overwrite or not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
    for index in plan.indexes:  # last, as an index is of no use without its shards
        convert_index(index)
    seconds = time.monotonic() - begin
    there = len(plan.files) - len(waiting)
    _say(
        console,
        f"{len(waiting)} files ({units.size(size)} of tensors) in {units.duration(seconds)}, each compared with its"
        " source" + (f"; {there} were there already (--overwrite writes them anew)" if there else ""),
    )
    if plan.output == plan.root and waiting:
        _say(console, "The pickles are still there: stock and warpload take the safetensors from now on.")


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)
