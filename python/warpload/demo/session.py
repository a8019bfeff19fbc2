"""What `warpload demo` does: get a pipeline, compare the loaders on it, show the tables, tidy up."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from warpload import consoles
from warpload.demo import architecture, verdict
from warpload.demo.model import ModelError, find_model
from warpload.demo.synthetic import read_marker, write_synthetic_pipeline
from warpload.demo.table import comparison_table
from warpload.errors import WarploadError
from warpload.measuring import machine, weights
from warpload.measuring.comparison import Comparison, compare
from warpload.measuring.fresh_process import ContenderError
from warpload.measuring.runs import ELEMENT_SIZES, Conditions
from warpload.refusing import refuse


@dataclass(frozen=True)
class DemoOptions:
    """The options of `warpload demo`; see there."""

    model: str | None = None
    dtype: str = "bfloat16"
    runs: int = 3
    folder: Path | None = None
    keep: bool | None = None
    as_json: bool = False


def default_folder() -> Path:
    """Return where the synthetic pipeline goes unless another folder is named."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "warpload" / "demo"


def run_demo(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demonstration; returns the process's exit status."""
    # Of JSON the output is nothing else.
    console = console or (consoles.for_messages() if options.as_json else consoles.for_results())
    if options.dtype not in ELEMENT_SIZES or options.dtype == "none":
        return refuse(console, f"--dtype is {options.dtype!r}, not float16, bfloat16 or float32", 2)
    try:
        with _pipeline(options, console) as model:
            return _compare_all(model, options, console)
    except KeyboardInterrupt:
        return refuse(console, "interrupted", 130)
    except ContenderError as error:
        return refuse(console, f"a load failed: {error.reason}", 1)
    except ModelError as error:
        return refuse(console, str(error), 2)
    except (OSError, ValueError, WarploadError) as error:
        return refuse(console, str(error), 1)


def _compare_all(model: Path, options: DemoOptions, console: Console) -> int:
    own_dtype = weights.files_dtype(model)
    busy = os.getloadavg()[0]
    if busy > len(os.sched_getaffinity(0)) / 2:
        console.print(f"The machine is busy (load average {busy:.1f}): the times will be too long and unsteady.")
    comparisons: list[Comparison] = []
    with Conditions(model) as conditions:
        for dtype in dict.fromkeys((own_dtype, options.dtype)):
            same = " (the dtype of the files)" if dtype == own_dtype else f" (cast from {own_dtype})"
            with console.status("") as status:
                comparison = compare(conditions, dtype, options.runs, announce=status.update)
            console.print()
            console.print(comparison_table(comparison, f"{dtype}{same}"))
            comparisons.append(comparison)
            if not comparison.is_of_the_core:
                break
    console.print()
    console.print("Load: everything imported before the clock. Whole script: from the start of the interpreter.")
    console.print(verdict.verdict(comparisons), style="bold", highlight=False)
    told = verdict.as_dict(model, comparisons)
    if options.as_json:
        print(json.dumps(told, indent=2))
    return 0 if told["identical"] else 1


@contextlib.contextmanager
def _pipeline(options: DemoOptions, console: Console) -> Iterator[Path]:
    """Give the folder to load from; writes it first, and deletes it afterwards, when it is the synthetic one."""
    if options.model is not None:
        yield find_model(options.model)
        return
    folder = (options.folder or default_folder()).expanduser().absolute()
    written = False
    try:
        try:
            written = _write(folder, options, console)
        except OSError as error:
            reason = error.strerror or error
            raise ModelError(
                f"no pipeline can be written to {folder}: {reason} (name another place by --folder, or a pipeline of"
                " yours by --model)"
            ) from error
        yield folder
    finally:
        delete = written if options.keep is None else not options.keep
        if delete and read_marker(folder) is not None:
            shutil.rmtree(folder)
            console.print(f"deleted {folder} (--keep keeps it)", highlight=False)


def _write(folder: Path, options: DemoOptions, console: Console) -> bool:
    """Write the synthetic pipeline that fits this machine, unless it is there; says what it is."""
    existing = read_marker(folder)
    held = 0 if existing is None else weights.total_size(weights.weight_files(folder))
    scale = architecture.choose_scale(
        machine.available_memory(),
        machine.free_disk(folder) + held,
        result_element_size=ELEMENT_SIZES[options.dtype] or 2,
    )
    console.print(
        f"Synthetic weights (random, not a trained model): {scale.description()}, {scale.parameters / 1e9:.2f} B "
        f"parameters, float16, {scale.parameters * 2 / 1e9:.1f} GB, in {folder}",
        highlight=False,
    )
    columns = (TextColumn("writing"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("writing", total=scale.parameters * 2)
        return write_synthetic_pipeline(
            folder,
            scale=scale,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
