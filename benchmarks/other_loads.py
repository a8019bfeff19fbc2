"""Modular pipelines, and pickles before and after ``warpload convert``: seconds by stock and through the core.

    python benchmarks/other_loads.py ~/.cache/warpload/demo --json other_loads.json

Each takes its turn in one process in which everything is imported, the files in the page cache. A pickled copy of the
pipeline and its conversion are written beside each other for the while, each of the pipeline's size.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import safetensors.torch
import torch

import warpload
from warpload.measuring.digest import read_every_page
from warpload.measuring.memory_reserve import MemoryReserve

# What a load may take; see MemoryReserve.
_MOST_BYTES = 8 << 30


def timed(load: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds until a pipeline is ready, and until its tensors were used."""
    gc.collect()
    begin = time.perf_counter()
    pipeline = load()
    ready = time.perf_counter() - begin
    read_every_page(pipeline)
    return ready, time.perf_counter() - begin


def in_turn(loads: dict[str, Callable[[], Any]], runs: int) -> dict[str, list[tuple[float, float]]]:
    """Return the times of each; a first round that imports what is needed does not count."""
    rounds: list[dict[str, tuple[float, float]]] = []
    with MemoryReserve() as reserve:
        for _ in range(runs + 1):
            rounds.append({})
            for who, load in loads.items():
                reserve.refill(_MOST_BYTES)
                rounds[-1][who] = timed(load)
    return {who: [each[who] for each in rounds[1:]] for who in loads}


def modular(folder: Path, dtype: torch.dtype, runs: int) -> dict[str, list[tuple[float, float]]]:
    """Load all components of a modular pipeline."""

    def stock() -> Any:
        pipeline = diffusers.ModularPipeline.from_pretrained(str(folder))
        pipeline.load_components(dtype=dtype)
        return pipeline

    def ours() -> Any:
        with warpload.accelerated():
            return stock()

    return in_turn({"stock": stock, "warpload": ours}, runs)


def pickle_folder(folder: Path, pickled: Path) -> None:
    """Copy a pipeline with its weights as pickles, under the names that each library gives them."""
    shutil.copytree(folder, pickled, ignore=shutil.ignore_patterns("*.safetensors"))
    for file in folder.rglob("*.safetensors"):
        name = "pytorch_model.bin" if file.name == "model.safetensors" else f"{file.stem}.bin"
        torch.save(safetensors.torch.load_file(file), pickled / file.parent.relative_to(folder) / name)


def pickles(folder: Path, dtype: torch.dtype, runs: int, place: Path) -> dict[str, list[tuple[float, float]]]:
    """Load a pickled copy of a pipeline by stock and by us, and what ``warpload convert`` has made of it."""
    pickled, converted = place / "pickled", place / "converted"
    pickle_folder(folder, pickled)
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "warpload", "convert", str(pickled), "--output", str(converted)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    print(f"converted in {time.perf_counter() - begin:.1f} s")
    load, ours = diffusers.DiffusionPipeline.from_pretrained, warpload.DiffusionPipeline.from_pretrained
    return in_turn(
        {
            "stock": lambda: load(pickled, dtype=dtype, use_safetensors=False),
            "warpload, pickled": lambda: ours(pickled, dtype=dtype),
            "warpload, converted": lambda: ours(converted, dtype=dtype),
        },
        runs,
    )


def show(name: str, found: dict[str, list[tuple[float, float]]]) -> None:
    """Print the medians."""
    for who, each in found.items():
        ready, used = (statistics.median(column) for column in zip(*each, strict=True))
        print(f"{name:<20} {who:<20} ready {ready:6.2f} s, used {used:6.2f} s, {len(each)} runs", flush=True)


def main() -> None:
    """Measure, print, and keep every run where a file for it is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a pipeline in diffusers' layout that has modular blocks")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--place", type=Path, help="where the pickled copy goes for the while")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = {}
    for dtype in (torch.float16, torch.bfloat16):
        name = f"modular, {str(dtype).removeprefix('torch.')}"
        found[name] = modular(given.folder, dtype, given.runs)
        show(name, found[name])
    with tempfile.TemporaryDirectory(dir=given.place) as place:
        for dtype in (torch.float16,):
            name = f"pickles, {str(dtype).removeprefix('torch.')}"
            found[name] = pickles(given.folder, dtype, given.runs, Path(place))
            show(name, found[name])
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
