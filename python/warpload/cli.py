"""The command line: `warpload demo`, `bench`, `inspect`, `verify`, `trace`, `convert`, `doctor` and `prefix`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

application = typer.Typer(
    name="warpload",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)

# What several commands take.
_Source = Annotated[
    str,
    typer.Argument(
        metavar="PATH_OR_ID", help="A pipeline's or a model's folder, a file, or a Hub id that is in the cache."
    ),
]
_DType = Annotated[
    str, typer.Option(metavar="DTYPE", help="Load in this dtype: float16, bfloat16, float32; none leaves it out.")
]
_Variant = Annotated[str | None, typer.Option(metavar="NAME", help="Of the files, as from_pretrained takes it: fp16.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        import warpload

        typer.echo(f"warpload {warpload.__version__}")
        raise typer.Exit


@application.callback()
def warpload_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Load diffusion pipelines faster than stock diffusers, bit for bit the same."""


@application.command()
def demo(
    model: Annotated[
        str | None,
        typer.Option(metavar="PATH_OR_ID", help="A pipeline's folder or Hub id.", show_default="synthetic weights"),
    ] = None,
    dtype: Annotated[
        str, typer.Option(metavar="DTYPE", help="Load in this dtype too: float16, bfloat16 or float32.")
    ] = "bfloat16",
    runs: Annotated[int, typer.Option(min=1, help="Timed loads of each loader; the table has medians.")] = 3,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where to put the synthetic pipeline.", show_default="~/.cache/warpload/demo"),
    ] = None,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--no-keep",
            help="Keep the synthetic pipeline or delete it.",
            show_default="deleted if this run wrote it",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the medians and the verdict as JSON; all else goes to stderr.")
    ] = False,
) -> None:
    """Time warpload against stock diffusers on this machine and compare every tensor.

    Without --model it writes a pipeline of Stable Diffusion XL's architecture with random weights: about 7 GB, less
    on a small machine. Each load is a fresh process, stock and warpload in turn, with the files in the page cache.
    The pipeline is loaded in the dtype of its files, and in DTYPE. The last line is the verdict, in a sentence.

    The exit status is 1 when any tensor differs, a load fails, or the core loaded nothing; 2 when there is no such
    model, or no place to write one; 130 after an interrupt.
    """
    from warpload.demo.session import DemoOptions, run_demo

    options = DemoOptions(model=model, dtype=dtype, runs=runs, folder=folder, keep=keep, as_json=as_json)
    raise typer.Exit(run_demo(options))


@application.command()
def bench(
    model: Annotated[
        str | None,
        typer.Argument(metavar="[PATH_OR_ID]", help="A pipeline's folder or Hub id.", show_default="synthetic weights"),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A contender; may be repeated.", show_default="all that load to the CPU"),
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="files, pipeline, start, memory or growth; may be repeated.",
            show_default="all but growth",
        ),
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Of growth: bytes, tensors, shards or components; may be repeated.", show_default="all"
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DTYPE",
            help="Of the result: float16, bfloat16 or float32; may be repeated.",
            show_default="that of the files, and bfloat16",
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Rounds; every contender loads once in each.")] = 3,
    cache: Annotated[str, typer.Option(metavar="STATE", help="Of the page cache before each load: warm or cold.")] = (
        "warm"
    ),
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every run there.")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the figures there (PNG); needs matplotlib.")
    ] = None,
    packages: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Has a folder NAME of each contender that has packages of its own."),
    ] = None,
    floor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The program warpload_floor, to compare with the least work.")
    ] = None,
    scale: Annotated[
        str, typer.Option(metavar="NAME", help="Of the synthetic pipeline: auto, full, medium, small or tiny.")
    ] = "auto",
    shards: Annotated[int, typer.Option(min=1, help="Files of the synthetic UNet.")] = 1,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where the synthetic pipeline is or goes, where it stays; other files go beside it and are deleted.",
            show_default="~/.cache/warpload/demo",
        ),
    ] = None,
) -> None:
    """Time warpload against every other loader, on this machine and on a pipeline of yours.

    Each load is a fresh process, the contenders in turn, and the tensors of each are compared with stock's. Times are
    until the result is ready, and until one byte of every page of it was read, as who only maps files is ready before
    they are read. A contender that fails or is not installed is reported with its own message.

    For example:

    - `warpload bench`: a synthetic Stable Diffusion XL against everybody who is installed

    - `warpload bench my/pipeline --against stock --scenario start`: how long does my script wait?

    - `warpload bench my/pipeline --cache cold --json out.json --plot out.png`: from the disk

    - `warpload bench --scenario growth --against safetensors`: what do a tensor, a shard, a component cost?

    The exit status is 1 when warpload fails or its tensors are not stock's; 2 when something is asked for that is not
    there; 130 after an interrupt.
    """
    from warpload.bench.session import BenchOptions, run_bench

    options = BenchOptions(
        model=model,
        against=tuple(against or ()),
        scenarios=tuple(scenario or ()),
        axes=tuple(axis or ()),
        dtypes=tuple(dtype or ()),
        runs=runs,
        cache=cache,
        json=json,
        plot=plot,
        scale=scale,
        shards=shards,
        folder=folder,
        packages=packages,
        floor=floor,
    )
    raise typer.Exit(run_bench(options))


@application.command()
def inspect(
    source: _Source,
    variant: _Variant = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Write what was found as JSON.")] = False,
) -> None:
    """Show what lies in a pipeline, a model or a file of weights, and what a load would do with it.

    Components with their classes, the files that each is loaded from, tensors and bytes by dtype; who loads it, and
    why if that is not the core alone; where the tensors begin in each file, and whether they lie so that they can be
    mapped. Only headers, indexes and configurations are read. Nothing is fetched, and no library is imported.

    For example:

    - `warpload inspect my/pipeline`: will it be fast, and if not, why?

    - `warpload inspect stabilityai/stable-diffusion-xl-base-1.0 --variant fp16`: of the Hub's cache

    - `warpload inspect lora.safetensors --tensors | less`: one file, tensor by tensor

    - `warpload inspect my/pipeline --json | jq '.components[] | select(.loads != "native")'`

    The exit status is 1 when something of it cannot be loaded; 2 when there is no such thing; 130 after an interrupt.
    """
    from warpload.inspecting.inspection import InspectOptions, run_inspect

    raise typer.Exit(run_inspect(InspectOptions(source=source, variant=variant, tensors=tensors, json=json)))


@application.command()
def verify(
    source: _Source,
    dtype: _DType = "none",
    variant: _Variant = None,
    hashes: Annotated[
        bool, typer.Option("--hashes", help="Compare the files with the Hub's, too, by their hashes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Write what was found as JSON.")] = False,
) -> None:
    """Load something by stock and by warpload, each in a fresh process, and compare everything.

    Classes, configurations, every parameter and buffer with its bytes, dtype, strides and requires_grad, ties, training
    flags. A file is loaded by load_file, and by the safetensors or the gguf package.

    With --hashes every file is hashed before, and compared with what the Hub says of it; offline with what the cache
    knows: SHA-256 of large files, git's hash of the others.

    For example:

    - `warpload verify my/pipeline`: are they the same?

    - `warpload verify stabilityai/stable-diffusion-xl-base-1.0 --dtype float16 --hashes`: and are the files the Hub's?

    - `warpload verify lora.safetensors && echo same`

    The exit status is 1 when anything differs, a load fails, or the core loaded nothing; 2 when there is no such thing,
    or no hash is known; 130 after an interrupt.
    """
    from warpload.verifying.verification import VerifyOptions, run_verify

    options = VerifyOptions(source=source, dtype=dtype, variant=variant, hashes=hashes, json=json)
    raise typer.Exit(run_verify(options))


@application.command()
def trace(
    source: _Source,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Write the timeline there: .json, or .html, a page."),
    ],
    dtype: _DType = "none",
    variant: _Variant = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Where to, such as cuda.", show_default="the CPU")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it there, too (PNG); needs matplotlib.")
    ] = None,
) -> None:
    """Load something by warpload, and write when what happened: imports, building, waits, and what each thread did.

    A file that ends with .json is in Chrome's trace format, which https://ui.perfetto.dev opens; one with .html is a
    page that shows the timeline in any browser, without a network. In a program `LoadReport.save_trace` writes both.

    For example:

    - `warpload trace my/pipeline -o load.html --dtype bfloat16`: where does the time go?

    - `warpload trace stabilityai/stable-diffusion-xl-base-1.0 -o load.json --variant fp16 --device cuda`

    - `warpload trace my/pipeline -o load.json --plot load.png`: with a picture

    The exit status is 1 when the load fails, of which what happened until then is written, or a file cannot be written;
    2 when there is no such thing, or something else is asked for that cannot be; 130 after an interrupt.
    """
    from warpload.tracing.trace_command import TraceOptions, run_trace

    options = TraceOptions(source=source, output=output, dtype=dtype, variant=variant, device=device, plot=plot)
    raise typer.Exit(run_trace(options))


@application.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="PATH", help="A pipeline's or a model's folder, or one file.")],
    output: Annotated[
        Path | None,
        typer.Option(help="Another folder, which gets all other files too; or another file.", show_default="beside"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write anew what is there already.")] = False,
) -> None:
    """Write safetensors of weights that were saved as pickles (.bin, .ckpt, .pt), which the core never opens.

    Each file is read by torch's weights-only reader, as stock reads it, and gets its new name once every byte of what
    was written has been compared with it. All names stay; tensors that are one in a model are one again when it is
    loaded. The pickles are left where they are.

    For example:

    - `warpload convert my/pipeline`: pytorch_model.bin gets a model.safetensors beside it, and so on

    - `warpload convert my/pipeline --output my/pipeline-safetensors`: a pipeline without pickles

    - `warpload convert lora.bin`: one file

    The exit status is 1 when a file cannot be converted; 2 when there is nothing to convert; 130 after an interrupt.
    """
    from warpload.converting.session import ConvertOptions, run_convert

    raise typer.Exit(run_convert(ConvertOptions(source=source, output=output, overwrite=overwrite)))


@application.command()
def doctor(
    place: Annotated[
        str | None,
        typer.Argument(metavar="[PATH]", help="A pipeline's or a model's folder, or one file.", show_default="none"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Look at what loads depend on here: libraries, memory, limits of a container, the GPU's driver, a place on a disk.

    Two seconds are spent on measuring memory and the disk. With PATH it says what a load from there takes at least:
    its file system, and how much of the weights is in the page cache. Each line that is not as it might be has advice.

    For example:

    - `warpload doctor`: the machine

    - `warpload doctor my/pipeline`: the machine, and what to expect of this pipeline

    - `warpload doctor my/pipeline --json | jq .machine`: for a program

    The exit status is 1 when something costs much time or breaks loads; 2 when there is no such file or folder.
    """
    from warpload.doctoring.examination import run_doctor

    raise typer.Exit(run_doctor(place, as_json=as_json))


@application.command()
def prefix() -> None:
    """Print the folder that holds the C++ library, for CMAKE_PREFIX_PATH.

    The headers are in its include/, the libraries in its lib/, and lib/pkgconfig is for PKG_CONFIG_PATH.
    """
    folder = _installed_prefix()
    if folder is None:
        typer.echo("warpload prefix: this package was built without its C++ library (WARPLOAD_INSTALL=OFF)", err=True)
        raise typer.Exit(1)
    typer.echo(folder)


def _installed_prefix() -> Path | None:
    # Beside the extension: where an editable installation's Python files are, nothing is installed.
    extension = find_spec("warpload._core")
    if extension is None or extension.origin is None:
        return None
    folder = Path(extension.origin).parent
    return folder if (folder / "lib" / "cmake" / "warpload" / "warploadConfig.cmake").is_file() else None


def main() -> None:
    """Run the command line."""
    application(prog_name="warpload")


if __name__ == "__main__":
    main()
