"""The steps of the suite, one command each: `python -m benchmarks.gpu STEP`.

`suite` runs them in their order. Each adds its results to the journal that --journal names. With `--device cpu`
everything goes through the same code without a GPU; such figures mean nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from .journal import Journal
from .place import Place

# Here and in each command nothing is imported that may be missing before the step `install` has run.
_TINY_COPY = 8 << 20
_TINY_SLOT = 1 << 20

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
JournalOption = Annotated[Path, typer.Option(help="File of JSON lines that gets the results.")]
DeviceOption = Annotated[str, typer.Option(help="A CUDA device; or cpu, to try the code.")]
ScaleOption = Annotated[str, typer.Option(help="auto: full size as far as there is room; tiny: megabytes.")]
ModelsOption = Annotated[Path, typer.Option(help="Where the pipelines are or go; they stay there.")]
KitOption = Annotated[Path, typer.Option(help="As `make gpu-kit` makes it.")]
WorkOption = Annotated[Path, typer.Option(help="Folder for everything that is installed, built or written.")]
SecondsOption = Annotated[float, typer.Option(help="Seconds for it; what does not fit is left out.")]
PipelineArgument = Annotated[str, typer.Argument(help="sdxl or large.")]
DiskOption = Annotated[Path, typer.Option(help="The program warpload_disk_ceiling.")]


@app.command()
def facts(
    journal: JournalOption,
    models: ModelsOption,
    touch_gigabytes: Annotated[float, typer.Option(help="Memory to touch, as far as it is there.")] = 60.0,
) -> None:
    """Note what the machine is and does."""
    from .facts import note_facts

    note_facts(Journal(journal), models, int(touch_gigabytes * 2**30))


@app.command()
def pinning(
    journal: JournalOption,
    library: Annotated[str, typer.Option(help="The driver.")] = "libcuda.so.1",
    scale: ScaleOption = "auto",
) -> None:
    """Note what pinning costs; tiny: with the tests' fake driver."""
    from . import pinning

    if scale == "tiny":
        pinning.give_fake_a_device(library)
    pinning.note_pinning(Journal(journal), library, _TINY_SLOT if scale == "tiny" else pinning.SLOT_BYTES)


@app.command()
def install(journal: JournalOption, kit: KitOption, work: WorkOption) -> None:
    """Install what the kit brings."""
    from .install import install

    install(Journal(journal), Place(kit, work))


@app.command()
def smoke(journal: JournalOption, device: DeviceOption = "cuda:0") -> None:
    """Load mixed dtypes and a tiny pipeline, and compare every bit."""
    from .smoke import smoke

    raise typer.Exit(0 if smoke(Journal(journal), device) else 1)


@app.command()
def ctest(
    journal: JournalOption,
    kit: KitOption,
    work: WorkOption,
    label: Annotated[str, typer.Option(help="Of the cases: gpu, fakecuda.")] = "gpu",
) -> None:
    """Run the C++ cases."""
    from .run_tests import run_ctest

    raise typer.Exit(0 if run_ctest(Journal(journal), Place(kit, work), label) else 1)


@app.command()
def pytest(
    kit: KitOption,
    work: WorkOption,
    part: Annotated[str, typer.Argument(help="first: what only a GPU shows; others; full-size: loads of 7 GB.")],
    rehearse: Annotated[bool, typer.Option(help="Find the GPU's tests, and run one file's on the CPU.")] = False,
) -> None:
    """Run the GPU's tests of Python; the journal is the one that the environment names."""
    from .run_tests import GPU_TESTS, PARTS, run_pytest, tests_of

    if part not in PARTS:
        raise typer.BadParameter(f"{part} is not one of {', '.join(PARTS)}")
    place = Place(kit, work)
    marker, files = tests_of(part)
    passed = run_pytest(place, marker, files, parallel=part == "others", collect_only=rehearse)
    if rehearse and part == "others":
        passed &= run_pytest(place, "not gpu", [str(GPU_TESTS / "test_load_file.py")], parallel=True)
    raise typer.Exit(0 if passed else 1)


@app.command()
def write(
    pipeline: PipelineArgument,
    models: ModelsOption,
    device: DeviceOption = "cuda:0",
    scale: ScaleOption = "auto",
    large_gigabytes: Annotated[float, typer.Option(help="The most that the large pipeline has.")] = 15.0,
) -> None:
    """Write a pipeline with random weights, unless it is there."""
    from .models import write_model

    begin = time.monotonic()
    model = write_model(pipeline, models, device, scale, large_gigabytes * 1e9)
    seconds = time.monotonic() - begin
    print(f"{model.name}: {model.nbytes / 1e9:.1f} GB in {len(model.files)} files ({seconds:.0f} s)")


@app.command()
def limits(
    journal: JournalOption, models: ModelsOption, device: DeviceOption = "cuda:0", scale: ScaleOption = "auto"
) -> None:
    """Measure the copy to the device and the copy out of the page cache."""
    from .ceilings import COPY_BYTES, note_limits
    from .models import written_model

    copy_bytes = _TINY_COPY if scale == "tiny" else COPY_BYTES
    note_limits(Journal(journal), device, written_model("sdxl", models), copy_bytes)


@app.command()
def measure(
    pipeline: PipelineArgument,
    journal: JournalOption,
    models: ModelsOption,
    seconds: SecondsOption,
    disk_program: DiskOption,
    device: DeviceOption = "cuda:0",
    case: Annotated[list[str], typer.Option(help="warm, pipeline, cold; may be repeated.")] = ["warm"],  # noqa: B006
    loader: Annotated[list[str] | None, typer.Option(help="May be repeated; else all.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="At most.")] = 3,
    overlay: Annotated[Path | None, typer.Option(help="Folder with safetensors 0.9, for its prefetch.")] = None,
    checked: Annotated[bool, typer.Option(help="Compare each contender's tensors with the files'.")] = False,
) -> None:
    """Load a pipeline by every contender, in turn."""
    from .loaders import LOADERS, MEASURED
    from .measure import CASES, Settings, measure
    from .models import written_model

    chosen = loader or list(MEASURED)
    for words, known in ((chosen, tuple(LOADERS)), (case, CASES)):
        if unknown := [word for word in words if word not in known]:
            raise typer.BadParameter(f"{', '.join(unknown)} is not one of {', '.join(known)}")
    packages = overlay if overlay is not None and overlay.is_dir() else None
    settings = Settings(Journal(journal), device, time.monotonic() + seconds, packages, disk_program.absolute())
    measure(written_model(pipeline, models), case, chosen, rounds, settings, checked=checked)


@app.command()
def sweep(
    journal: JournalOption,
    kit: KitOption,
    work: WorkOption,
    seconds: SecondsOption,
    scale: ScaleOption = "auto",
) -> None:
    """Load with other sizes of ring and slots, other numbers of threads and streams; tiny: onto a modelled link."""
    from .sweep import sweep

    place = Place(kit, work)
    link = ["--link-gbps", "8"] if scale == "tiny" else ["--gpu"]
    found = sweep(Journal(journal), place.link_program, place.models / "sdxl", link, seconds)
    raise typer.Exit(0 if found else 1)


@app.command()
def load_drop_load(journal: JournalOption, models: ModelsOption, device: DeviceOption = "cuda:0") -> None:
    """Load, drop and load again in one process: what torch's cache does to it."""
    from .sweep import note_load_drop_load

    raise typer.Exit(0 if note_load_drop_load(Journal(journal), models / "sdxl", device) else 1)


@app.command()
def sanitize(journal: JournalOption, kit: KitOption, work: WorkOption, seconds: SecondsOption) -> None:
    """Run the GPU's C++ cases under compute-sanitizer."""
    from .run_tests import run_sanitizer

    raise typer.Exit(0 if run_sanitizer(Journal(journal), Place(kit, work), seconds) else 1)


if __name__ == "__main__":
    app()
