"""What torch's cache does to loads that follow each other in one process: load, drop, load.

    python benchmarks/gpu/load_drop_load.py --model FOLDER --device cuda:0 [--dtype bfloat16]

Loads every folder of weights below FOLDER (one segment each), drops them and loads them again: into the memory that the
first load has left in the cache; then with activations lying in it; then after the cache was emptied. One JSON object a
line goes to the standard output as soon as a phase is over:

    {"phase": "again", "seconds": 0.21, "bytes": ..., "allocated": ..., "reserved": ..., "largest_free": ...}

`allocated` and `reserved` are torch's counters, `largest_free` is the largest free piece of its cache; all three are
null on the CPU, where the loads go through slots into an arena as well, so that the program can be rehearsed. Needs
torch and warpload only. docs/memory.md says what to do about the figures.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.pop(0)  # started by its path: this folder's modules are no top-level ones

import torch

import warpload
from warpload import room

ACTIVATIONS = 16  # of each size, of which every other one stays
ACTIVATION_BYTES = (3 * 2**20, 24 * 2**20, 96 * 2**20)


class Session:
    """The weights and activations that are alive, and the phases so far."""

    def __init__(self, folders: list[list[Path]], device: str, dtype: torch.dtype | None) -> None:
        self._folders, self._device, self._dtype = folders, torch.device(device), dtype
        self._weights: list[dict[str, torch.Tensor]] = []
        self._activations: list[torch.Tensor] = []

    def run(self) -> None:
        """Go through the phases."""
        if self._device.type == "cuda":
            torch.ones(1, device=self._device).add_(1)
        self._phase("first", self._load)
        self._phase("dropped", self._drop)
        self._phase("again", self._load)
        self._phase("dropped again", self._drop)
        self._phase("activations", self._work)
        self._phase("beside activations", self._load)
        self._phase("dropped beside activations", self._drop)
        self._phase("emptied", self._empty)
        self._phase("after emptying", self._load)

    def _phase(self, name: str, act: Callable[[], None]) -> None:
        begin = time.monotonic_ns()
        act()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        seconds = (time.monotonic_ns() - begin) / 1e9
        print(json.dumps({"phase": name, "seconds": seconds, "bytes": self._bytes(), **self._cache()}), flush=True)

    def _load(self) -> None:
        for files in self._folders:
            self._weights.append(warpload.load_file(files, self._device, dtype=self._dtype))

    def _drop(self) -> None:
        self._weights.clear()
        gc.collect()

    def _work(self) -> None:
        """Take memory as a forward pass does: sizes mixed, and much of it given back in another order."""
        taken = [
            torch.empty(nbytes, dtype=torch.uint8, device=self._device)
            for _ in range(ACTIVATIONS)
            for nbytes in ACTIVATION_BYTES
        ]
        self._activations = taken[::2]

    def _empty(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _bytes(self) -> int:
        return sum(tensor.nbytes for tensors in self._weights for tensor in tensors.values())

    def _cache(self) -> dict[str, int | None]:
        if self._device.type != "cuda":
            return {"allocated": None, "reserved": None, "largest_free": None}
        stream = torch.cuda.current_stream(self._device).cuda_stream
        pieces = room.free_pieces(torch.cuda.memory_snapshot(), self._device.index or 0, stream)
        return {
            "allocated": torch.cuda.memory_allocated(self._device),
            "reserved": torch.cuda.memory_reserved(self._device),
            "largest_free": max((piece.size for piece in pieces), default=0),
        }


def weight_folders(model: Path) -> list[list[Path]]:
    """Return the weight files below a folder, those of one folder together."""
    by_folder: dict[Path, list[Path]] = {}
    for file in sorted(model.rglob("*.safetensors")):
        by_folder.setdefault(file.parent, []).append(file)
    return list(by_folder.values())


def main() -> None:
    """Run the phases that the command line asks for."""
    parser = argparse.ArgumentParser(prog="load_drop_load", description="Loads that follow each other in one process.")
    parser.add_argument(
        "--model", type=Path, required=True, help="folder with safetensors files, of a pipeline for example"
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtype", help="name of a dtype of torch's; without it, the files' own")
    arguments = parser.parse_args()
    folders = weight_folders(arguments.model)
    if not folders:
        parser.error(f"there is no safetensors file below {arguments.model}")
    dtype: Any = getattr(torch, arguments.dtype) if arguments.dtype else None
    with warpload.LoadOptions(arena="always"):
        Session(folders, arguments.device, dtype).run()


if __name__ == "__main__":
    main()
