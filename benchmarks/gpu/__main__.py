"""Measures loads to a GPU against the machine's limits: `python -m benchmarks.gpu OUTPUT` in the repository's root.

`--device cpu --scale tiny` sends everything through the same code without a GPU; such figures mean nothing.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from warpload.demo import architecture, system

from . import ceilings, models, report
from .loaders import LOADERS, MEASURED
from .measure import Record, Settings, measure
from .record import gpu_description, merge

PIPELINES = ("sdxl", "large")
_SMALL_COPY = 8 << 20
_DISK_PROGRAM = Path("build/benchmarks/warpload_disk_ceiling")
_CONSOLE = Console(width=160)


def main(
    output: Annotated[Path, typer.Argument(help="Folder of the JSON file.")],
    device: Annotated[str, typer.Option(help="A CUDA device; or cpu, to try the code.")] = "cuda:0",
    scale: Annotated[str, typer.Option(help="auto: full size as far as there is room; tiny: megabytes.")] = "auto",
    pipeline: Annotated[list[str], typer.Option(help="sdxl, large; may be repeated.")] = list(PIPELINES),  # noqa: B006
    loader: Annotated[list[str], typer.Option(help="May be repeated.")] = list(MEASURED),  # noqa: B006
    runs: Annotated[int, typer.Option(min=1, help="Rounds at most; every loader runs once in each.")] = 5,
    budget: Annotated[float, typer.Option(help="Seconds for everything; what does not fit is left out.")] = 540.0,
    large_gigabytes: Annotated[float, typer.Option(help="The most that the large pipeline has.")] = 25.0,
    folder: Annotated[Path | None, typer.Option(help="Where the pipelines are or go; they stay there.")] = None,
    disk_program: Annotated[Path, typer.Option(help="The program warpload_disk_ceiling.")] = _DISK_PROGRAM,
    overlay: Annotated[Path | None, typer.Option(help="Folder with safetensors 0.9, for its prefetch.")] = None,
) -> None:
    """Measure, show and write.

    The exit status is 1 when warpload or stock diffusers fails, or any loader's tensors are not those of the files.
    """
    deadline = time.monotonic() + budget
    for chosen, known in ((loader, tuple(LOADERS)), (pipeline, PIPELINES), ([scale], ("auto", "tiny"))):
        if unknown := [name for name in chosen if name not in known]:
            raise typer.BadParameter(f"{', '.join(unknown)} is not one of {', '.join(known)}")
    description = _describe(device)
    failed = False
    with tempfile.TemporaryDirectory(prefix="warpload-gpu-") as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        found = [_write(name, place, device, scale, large_gigabytes * 1e9) for name in PIPELINES if name in pipeline]
        limits, details = _limits(found[0], device, scale, disk_program)
        for number, model in enumerate(found):
            # The time that is left is divided among the pipelines that are left.
            until = time.monotonic() + (deadline - time.monotonic()) / (len(found) - number)
            record = measure(model, loader, Settings(device, runs, until, overlay, _say))
            part = _part(model, limits, details, record)
            # Written at once: a run that is interrupted later keeps what it has measured.
            content = part if model.folder.name == "sdxl" else {"large": part}
            file = merge(output, {**description, **content})
            _show(part, limits)
            failed |= bool(record.wrong) or _failed_at_home(record)
    _say(f"every run is in {file}")
    raise typer.Exit(1 if failed else 0)


def _say(line: str) -> None:
    _CONSOLE.print(line, markup=False, highlight=False, soft_wrap=True)


def _describe(device: str) -> dict[str, Any]:
    import torch

    if device != "cpu" and not torch.cuda.is_available():
        raise typer.BadParameter(f"--device is {device}, and torch sees no GPU")
    return {**gpu_description(device), "machine": system.machine_description()}


def _write(name: str, place: Path, device: str, scale: str, limit: float) -> models.Model:
    """Write a pipeline that fits here, unless it is there."""
    folder = place / name
    begin = time.monotonic()
    if name == "sdxl":
        held = system.total_size(system.weight_files(folder)) if folder.exists() else 0
        room = models.session.free_disk(folder) + held
        size = "tiny" if scale == "tiny" else architecture.choose_scale(system.available_memory(), room).name
        model = models.stable_diffusion_xl(folder, size)
    else:
        chosen = models.TINY_LARGE if scale == "tiny" else models.choose_large(folder, _device_bytes(device), limit)
        model = models.flux(folder, chosen)
    seconds = time.monotonic() - begin
    _say(f"{model.name}, random weights: {model.nbytes / 1e9:.1f} GB in {len(model.files)} files ({seconds:.0f} s)")
    return model


def _device_bytes(device: str) -> int:
    """Return the size of the device's memory, without making a context on it."""
    if device == "cpu":
        return system.available_memory() // 2
    import torch

    size: int = torch.cuda.get_device_properties(device).total_memory
    return size


def _limits(
    model: models.Model, device: str, scale: str, disk_program: Path
) -> tuple[report.Limits, list[dict[str, Any]]]:
    """Measure the limits; returns them with every trial."""
    small = {"copy_bytes": _SMALL_COPY} if scale == "tiny" else {}
    measured = [ceilings.host_to_device(device, **small), ceilings.page_cache_copy(model.files)]
    try:
        measured.append(ceilings.disk(disk_program.absolute(), model.files))
    except ceilings.CeilingError as error:
        _say(f"no limit of the disk: {error}")
    for ceiling in measured:
        _say(f"limit, {ceiling.name}: {ceiling.gbps:.2f} GB/s ({ceiling.setting})")
    rates = [ceiling.gbps for ceiling in measured]
    limits = report.Limits(rates[0], rates[1], rates[2] if len(rates) > 2 else None)
    return limits, [ceiling.to_json() for ceiling in measured]


def _part(model: models.Model, limits: report.Limits, details: list[dict[str, Any]], record: Record) -> dict[str, Any]:
    """Return what the JSON file gets of one pipeline, with the limits of the same run."""
    found = report.figures(model, limits, record.runs)
    return {
        "model": model.to_json(),
        **asdict(limits),
        **found,
        "bars": [bar.to_json() for bar in report.bars(model, found)],
        "not_measured": record.not_measured,
        "verified_tensors": record.verified,
        "wrong_tensors": record.wrong,
        "packages": record.versions,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]]),
        "ceilings": details,
        "runs": record.runs,
    }


def _show(part: dict[str, Any], limits: report.Limits) -> None:
    _CONSOLE.print(report.table(part, limits))
    for name, reason in part["not_measured"].items():
        _say(f"{name}: {reason}")
    for bar in part["bars"]:
        _say(str(report.Bar(bar["name"], bar["wanted"], bar["measured"])))


def _failed_at_home(record: Record) -> bool:
    """Tell whether a loader failed that cannot be missing: ours, or stock. No time for one is no failure."""
    return any(
        name.startswith(("warpload", "stock")) and reason.startswith(("failed", "not installed"))
        for name, reason in record.not_measured.items()
    )


if __name__ == "__main__":
    typer.run(main)
