"""Working memory for casts on a device: whose it is, how long it is kept, and what happens without it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import warpload
from support.compare import bytes_of
from support.devices import Device
from warpload import devices

pytestmark = pytest.mark.slots

SLOTS = 4  # a copy stream each


class Staging:
    """The pieces of working memory that loads have taken, as weak references."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pieces: list[weakref.ref[torch.Tensor]] = []
        self._allocate = devices.allocate_staging
        monkeypatch.setattr(devices, "allocate_staging", self._record)
        warpload.release_pinned_memory()  # what earlier tests have left

    @property
    def alive(self) -> int:
        gc.collect()
        return sum(piece() is not None for piece in self.pieces)

    def _record(self, places: Sequence[torch.device | None], sizes: Sequence[tuple[int, int]]) -> list[tuple[int, Any]]:
        found = self._allocate(places, sizes)
        self.pieces += [weakref.ref(owner) for _, owner in found]
        return found


@pytest.fixture
def staging(monkeypatch: pytest.MonkeyPatch) -> Staging:
    return Staging(monkeypatch)


@pytest.fixture
def values(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """Return a file of several tensors, one of which takes several slots, and what is in that."""
    tensor = torch.randn(4 << 20)
    others = {f"other{number}": torch.randn(5) for number in range(9)}
    safetensors.torch.save_file({"t": tensor, **others}, tmp_path / "values.safetensors")
    return tmp_path / "values.safetensors", tensor


def load(device: Device, file: Path) -> torch.Tensor:
    with device.options(device_casts="device"):
        return warpload.load_file(file, device.name, dtype=torch.bfloat16)["t"]


def test_is_taken_once_kept_for_later_loads_and_given_back_on_demand(
    device: Device, staging: Staging, values: tuple[Path, torch.Tensor]
) -> None:
    file, expected = values

    for _ in range(3):
        assert bytes_of(load(device, file)) == bytes_of(expected.to(torch.bfloat16))

    assert len(staging.pieces) == staging.alive == 1
    warpload.release_pinned_memory()
    assert staging.alive == 0
    assert bytes_of(load(device, file)) == bytes_of(expected.to(torch.bfloat16))
    assert len(staging.pieces) == 2


def test_is_not_taken_where_nothing_is_cast(
    device: Device, staging: Staging, values: tuple[Path, torch.Tensor]
) -> None:
    file, expected = values

    with device.options(device_casts="device"):
        loaded = warpload.load_file(file, device.name)["t"]

    assert bytes_of(loaded) == bytes_of(expected)
    assert staging.pieces == []


@pytest.mark.parametrize("casts", ["device", "auto"])
def test_workers_cast_where_there_is_no_memory_for_it(
    casts: str, device: Device, values: tuple[Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, expected = values
    asked = []

    def refuse(*arguments: Any) -> Any:
        asked.append(arguments)
        raise warpload.OutOfMemoryError("nothing is left for casts")

    warpload.release_pinned_memory()
    monkeypatch.setattr(devices, "allocate_staging", refuse)
    with device.options(device_casts=casts, threads=3):  # a loader that has measured nothing yet
        loaded = warpload.load_file(file, device.name, dtype=torch.bfloat16)["t"]

    assert len(asked) == 1  # and not for every tensor
    assert bytes_of(loaded) == bytes_of(expected.to(torch.bfloat16))


def test_any_other_error_of_the_allocator_ends_the_load(
    device: Device, values: tuple[Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("a fault of the allocator")

    warpload.release_pinned_memory()
    monkeypatch.setattr(devices, "allocate_staging", fail)

    with pytest.raises(ZeroDivisionError):
        load(device, values[0])


@pytest.mark.gpu
def test_counts_as_torchs_memory_on_a_gpu(gpu: Device, staging: Staging, values: tuple[Path, torch.Tensor]) -> None:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()  # torch may hand out a cached piece whole that is larger than what is asked for
    before = torch.cuda.memory_allocated()

    loaded = load(gpu, values[0])
    with_staging = torch.cuda.memory_allocated()
    warpload.release_pinned_memory()
    weights = torch.cuda.memory_allocated() - before

    assert 0 < with_staging - before - weights <= SLOTS * (4 << 20)
    assert loaded.nbytes <= weights <= loaded.nbytes + 10 * 512  # nine small tensors lie in its segment
