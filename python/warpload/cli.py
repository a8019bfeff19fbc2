"""The command line: `warpload demo` and `warpload prefix`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

application = typer.Typer(
    name="warpload",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)


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
) -> None:
    """Time warpload against stock diffusers on this machine and compare every tensor.

    Without --model it writes a pipeline of Stable Diffusion XL's architecture with random weights: about 7 GB, less
    on a small machine. Each load is a fresh process, stock and warpload in turn, with the files in the page cache.
    The pipeline is loaded in the dtype of its files, and in DTYPE.

    The exit status is 1 when any tensor differs, a load fails, or the core loaded nothing; 2 when there is no such
    model, or no place to write one; 130 after an interrupt.
    """
    from warpload.demo.session import DemoOptions, run_demo

    raise typer.Exit(run_demo(DemoOptions(model=model, dtype=dtype, runs=runs, folder=folder, keep=keep)))


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
