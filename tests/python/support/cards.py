"""A GPU's memory as torch would tell of it, in place of a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from warpload import devices

MIB, GIB = 2**20, 2**30


class Card:
    """What ``devices`` asks torch.cuda and the core, answered for a card of 10 GiB.

    Attributes:
        device: the card.
        snapshots: how many times the cache's blocks were asked for.
        beside_captures: whether calls of the driver would disturb nobody's graph now.
    """

    device = torch.device("cuda:3")
    stream = 0x77

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **figures: Any) -> None:
        found = {"free": 8 * GIB, "total": 10 * GIB, "allocated": GIB, "reserved": GIB, "fraction": 1.0, **figures}
        self.segments: list[dict[str, Any]] = found.get("segments", [])
        self.snapshots = 0
        self.beside_captures = False
        self.capturing = False
        answers = {
            "mem_get_info": lambda _: (found["free"], found["total"]),
            "memory_allocated": lambda _: found["allocated"],
            "memory_reserved": lambda _: found["reserved"],
            "get_per_process_memory_fraction": lambda _: found["fraction"],
            "memory_snapshot": self._snapshot,
            "current_stream": lambda _: SimpleNamespace(cuda_stream=self.stream),
            "is_current_stream_capturing": self._is_capturing,
            "device": lambda _: contextlib.nullcontext(),
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer)
        monkeypatch.setattr(devices, "core_device", lambda _: SimpleNamespace(beside_captures=self._beside))

    def check(self, *sizes: int) -> None:
        """Ask for room for segments."""
        devices._check_room(self.device, sizes)

    def _is_capturing(self) -> bool:
        assert self.beside_captures
        return self.capturing

    def _snapshot(self) -> list[dict[str, Any]]:
        self.snapshots += 1
        return self.segments

    @contextlib.contextmanager
    def _beside(self) -> Iterator[None]:
        self.beside_captures = True
        yield
        self.beside_captures = False


def segment(*blocks: int, **changes: Any) -> dict[str, Any]:
    """Return one of torch's allocations as a snapshot shows it; blocks in use are given as negative sizes."""
    return {
        "device": Card.device.index,
        "total_size": sum(map(abs, blocks)),
        "stream": Card.stream,
        "segment_type": "large",
        "segment_pool_id": (0, 0),
        "is_expandable": False,
        "blocks": [{"size": abs(size), "state": "active_allocated" if size < 0 else "inactive"} for size in blocks],
        **changes,
    }


def figures_of(segments: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what torch's counters say of such allocations."""
    blocks = [block for each in segments for block in each["blocks"]]
    return {
        "segments": list(segments),
        "reserved": sum(each["total_size"] for each in segments),
        "allocated": sum(block["size"] for block in blocks if block["state"] == "active_allocated"),
    }
