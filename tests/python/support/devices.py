"""Where loads go: a GPU, the CPU where loads treat it like one, or the host's memory as usual."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import warpload
from warpload import devices

from .processes import mapped_files

HOST, ARENA = "host", "cpu-arena"
CAST_SIDES = ["host", "device", "auto"]
GPU = pytest.param("cuda:0", marks=pytest.mark.gpu)


class Device:
    """One of the three, and the segments that loads have taken from torch's allocator since it was made.

    On the host that is none: tensors lie in their files' mappings or in an arena of the core's own. The working memory
    for casts, which loads keep for the next, is no segment.

    Attributes:
        name: what torch calls it.
        has_slots: whether loads fill its memory through slots.
        kind: what stock's ``device_map`` calls it.
        is_gpu: whether it is one.
        allocations: how many times a load asked for segments.
    """

    _kept: ClassVar[list[weakref.ref[torch.Tensor]]] = []  # of all tests so far: it outlives the one that made it

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_gpu = name.startswith("cuda")
        self.has_slots = name != "host"
        if self.is_gpu:
            assert torch.cuda.is_available(), "the tests marked gpu need one"
            torch.cuda.init()
        self.name = name if self.is_gpu else "cpu"
        self.kind = "cuda" if self.is_gpu else "cpu"
        self.allocations = 0
        self._segments: list[weakref.ref[torch.Tensor]] = []
        self._allocate, self._allocate_staging = devices.allocate, devices.allocate_staging
        monkeypatch.setattr(devices, "allocate", self._record)
        monkeypatch.setattr(devices, "allocate_staging", self._record_staging)
        if self.is_gpu:
            gc.collect()
        self._before = self._of_torch()

    def options(self, **changes: Any) -> warpload.LoadOptions:
        """Return options with which loads to this device go through slots, or on the host do not."""
        return warpload.LoadOptions(arena="always" if self.has_slots and not self.is_gpu else "auto", **changes)

    def map(self) -> dict[str, Any]:
        """Return the argument of ``from_pretrained`` that sends a pipeline there; the host is where they go anyway."""
        return {"device_map": self.kind} if self.has_slots else {}

    def on_host(self) -> warpload.LoadOptions:
        """Return options with which loads to the CPU map files as they usually do."""
        return warpload.LoadOptions(arena="auto")

    def segment_bytes(self) -> int:
        """Return the bytes of the segments that are alive."""
        gc.collect()
        return sum(segment.nbytes for segment in self._alive())

    def allocated(self) -> int:
        """Return the bytes of torch's allocator that are taken since the test began; on the CPU, of segments only."""
        gc.collect()
        return self._of_torch() - self._before if self.is_gpu else self.segment_bytes()

    def holds(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor lies in a segment of one of the loads."""
        address = tensor.data_ptr()
        return any(
            segment.data_ptr() <= address and address + tensor.nbytes <= segment.data_ptr() + segment.nbytes
            for segment in self._alive()
        )

    def holds_all(self, tensors: Iterable[torch.Tensor]) -> bool:
        """Tell whether all tensors that have elements lie in segments; on the host, that no load has taken any."""
        if not self.has_slots:
            return self.allocations == 0
        return all(self.holds(tensor) for tensor in tensors if tensor.numel())

    def _alive(self) -> list[torch.Tensor]:
        return [tensor for segment in self._segments if (tensor := segment()) is not None]

    def _record(self, places: Sequence[torch.device | None], sizes: Sequence[tuple[int, int]]) -> list[tuple[int, Any]]:
        self.allocations += 1
        found = self._allocate(places, sizes)
        self._segments += [weakref.ref(owner) for _, owner in found]
        return found

    def _record_staging(
        self, places: Sequence[torch.device | None], sizes: Sequence[tuple[int, int]]
    ) -> list[tuple[int, Any]]:
        found = self._allocate_staging(places, sizes)
        self._kept += [weakref.ref(owner) for _, owner in found]
        return found

    def _of_torch(self) -> int:
        if not self.is_gpu:
            return 0
        kept = sum(owner.nbytes for each in self._kept if (owner := each()) is not None)
        return torch.cuda.memory_allocated(self.name) - kept


def tensors_of(*modules: torch.nn.Module) -> list[torch.Tensor]:
    """Return the parameters and buffers of modules."""
    return [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]


def parameters_of(pipeline: Any) -> list[torch.Tensor]:
    """Return the parameters of a pipeline's models."""
    return [parameter for model in models_of(pipeline).values() for parameter in model.parameters()]


def models_of(pipeline: Any) -> dict[str, torch.nn.Module]:
    """Return a pipeline's models by name."""
    return {name: value for name, value in pipeline.components.items() if isinstance(value, torch.nn.Module)}


def maps_weights_of(folder: Path) -> bool:
    """Tell whether this process maps a weight file below the folder."""
    return any(str(folder) in line and line.endswith(".safetensors") for line in mapped_files().splitlines())


@contextlib.contextmanager
def refusing_segments(monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> Any:
    """Let torch run out of memory for segments inside the block, once it has given some.

    Yields the segments that it gave, as weak references.
    """
    original, given = torch.empty, []

    def empty(*arguments: Any, **keywords: Any) -> torch.Tensor:
        if keywords.get("dtype") is not torch.uint8:
            return original(*arguments, **keywords)
        if len(given) >= after:
            raise torch.OutOfMemoryError("the allocator has no more")
        made = original(*arguments, **keywords)
        given.append(weakref.ref(made))
        return made

    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", empty)
        yield given
