"""Loads one pipeline with stock and with warpload in several dtypes, in fresh processes, and compares every tensor.

The counterpart of `warpload bench` for more dtypes: that one says how fast, this one that it is right. Not timed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from warpload.measuring.comparison import LOADERS, judge
from warpload.measuring.fresh_process import ContenderError
from warpload.measuring.runs import Conditions, Request, run_contender

# The files' own dtypes, each dtype by itself, and a dictionary by component.
DTYPES = ("none", "float16", "bfloat16", "float32", "default=bfloat16,vae=float32,text_encoder_2=float16")


def main(
    model: Annotated[Path, typer.Option(help="A pipeline's folder.")],
    dtype: Annotated[list[str], typer.Option(help="May be repeated; a dictionary as NAME=DTYPE,...")] = list(DTYPES),  # noqa: B006
) -> None:
    """Compare class by class and tensor by tensor; the exit status is 1 when anything differs."""
    console = Console()
    equal = True
    with Conditions(model.absolute()) as conditions:
        for wanted in dtype:
            try:
                runs = [run_contender(Request(loader, wanted, "load", digest=True), conditions) for loader in LOADERS]
            except ContenderError as error:
                console.print(str(error), markup=False, highlight=False)
                raise typer.Exit(1) from error
            comparison = judge(wanted, runs)
            own = runs[LOADERS.index("warpload")]
            native = sum(how == "native" for how in own.components.values())
            verdict = "differ" if comparison.differences else "equal, bit for bit"
            console.print(
                f"{wanted}: {comparison.tensor_count} tensors {verdict}; {native} of {len(own.components)} components "
                "native",
                highlight=False,
                soft_wrap=True,
            )
            for line in comparison.differences[:10]:
                console.print(f"  {line}", style="red", markup=False)
            equal = equal and not comparison.differences
    raise typer.Exit(0 if equal else 1)


if __name__ == "__main__":
    typer.run(main)
