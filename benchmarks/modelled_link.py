"""Measures the share of a modelled link that loads reach; every run is kept.

    python -m benchmarks.modelled_link before=PROGRAM after=PROGRAM --folder FOLDER --output RESULT.json

Programs run in turn, each in a fresh process, the files locked in the page cache. `before` and `after` are any
two builds; one alone will do. See modelled_link.cpp for what is modelled, and README.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from warpload.demo import architecture
from warpload.measuring import machine

from .gpu import models

LARGE = models.LargeScale(double_layers=6, single_layers=12, text_layers=10)
BARS = {"first": 0.90, "again": 0.95}
_TIMEOUT = 300  # seconds for one process


def main(
    program: Annotated[list[str], typer.Argument(help="NAME=PATH of one or more builds of warpload_modelled_link.")],
    folder: Annotated[Path, typer.Option(help="Where the models are or go; they stay there.")],
    output: Annotated[Path, typer.Option(help="The JSON file.")],
    runs: Annotated[int, typer.Option(min=1)] = 5,
    link_gbps: Annotated[float, typer.Option(help="Of the modelled link.")] = 8.0,
    model: Annotated[list[str], typer.Option(help="sdxl, large; may be repeated.")] = ["sdxl", "large"],  # noqa: B006
    options: Annotated[str, typer.Option(help="Further options for every program, such as '--slot-mib 2'.")] = "",
) -> None:
    """Measure, print the medians and write every run; the exit status is 1 where the last program misses a bar."""
    programs = dict(item.split("=", 1) for item in program)
    result: dict[str, Any] = {
        "machine": machine.machine_description(),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "link_gbps": link_gbps,
        "options": options,
        "bars": BARS,
        "models": {},
    }
    for written in (_write(name, folder) for name in model):
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in programs}
        for _ in range(runs):
            for name, path in programs.items():
                found[name].append(_run(Path(path), written.folder, link_gbps, options))
                print(f"{written.name}, {name}: {_words(found[name][-1:])}", flush=True)
            result["models"][written.name] = {
                name: {"medians": _medians(results), "runs": results} for name, results in found.items()
            }
            # After every round: what ends the script costs one.
            output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    last = list(programs)[-1]
    missed = False
    for title, by_program in result["models"].items():
        for name, measured in by_program.items():
            print(f"{title}, {name}, medians: {_words(measured['runs'])}")
        missed |= any(by_program[last]["medians"][load]["share"] < bar for load, bar in BARS.items())
    raise typer.Exit(1 if missed else 0)


def _write(name: str, folder: Path) -> models.Model:
    folder.mkdir(parents=True, exist_ok=True)
    if name == "sdxl":
        return models.stable_diffusion_xl(folder / name, architecture.FULL.name)
    return models.flux(folder / name, LARGE)


def _run(program: Path, folder: Path, link_gbps: float, options: str) -> dict[str, Any]:
    command = [str(program), str(folder), "--link-gbps", str(link_gbps), "--json", *options.split()]
    before = os.getloadavg()[0]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}: {done.stderr.strip()}")
    result: dict[str, Any] = json.loads(done.stdout)
    return {"load_average": before, **result}


def _medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        load: {key: statistics.median(run[load][key] for run in runs) for key in runs[0][load]} for load in BARS
    } | {"ring_bytes": max(run["ring_bytes"] for run in runs)}


def _words(runs: list[dict[str, Any]]) -> str:
    medians = _medians(runs)
    shares = ", ".join(f"{load} {medians[load]['share']:.1%}" for load in BARS)
    return f"{shares}, ring {medians['ring_bytes'] / 2**20:.0f} MiB"


if __name__ == "__main__":
    typer.run(main)
