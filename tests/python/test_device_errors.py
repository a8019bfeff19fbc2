"""What a load to a device says when there is no room: one error that is warpload's, torch's and Python's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import warpload
from support.devices import Device, refusing_segments
from support.pipelines import Saved
from warpload import devices

GIB = 2**30


def assert_is_out_of_memory(error: BaseException) -> None:
    assert isinstance(error, warpload.OutOfMemoryError)
    assert isinstance(error, torch.OutOfMemoryError)
    assert isinstance(error, MemoryError)
    assert isinstance(error, warpload.WarploadError)


@pytest.mark.parametrize("caught_as", [warpload.OutOfMemoryError, torch.OutOfMemoryError, MemoryError])
def test_torchs_refusal_is_an_error_of_all_three_families(
    caught_as: type[BaseException], device: Device, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing_segments(monkeypatch), pytest.raises(caught_as) as caught:
        warpload.load_file(mixed, device.name)

    assert_is_out_of_memory(caught.value)
    assert "the allocator has no more" in str(caught.value)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    size = int(str(caught.value).split("an arena of ")[1].split(" bytes")[0])
    assert size >= sum(tensor.nbytes for tensor in warpload.load_file(mixed).values())


def test_the_cpus_own_refusal_is_one_too(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's allocator for the host raises a RuntimeError without a class of its own."""

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch, warpload.LoadOptions(arena="always"):
        patch.setattr(torch, "empty", refuse)
        with pytest.raises(warpload.OutOfMemoryError, match="DefaultCPUAllocator") as caught:
            warpload.load_file(mixed)

    assert_is_out_of_memory(caught.value)


def test_a_pipeline_that_does_not_fit_raises_the_same(
    device: Device, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing_segments(monkeypatch), pytest.raises(warpload.OutOfMemoryError) as caught:
        warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), device_map=device.kind)

    assert_is_out_of_memory(caught.value)


class _Card:
    """What torch says of a GPU's memory, in place of a GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **figures: Any) -> None:
        found = {"free": 8 * GIB, "total": 10 * GIB, "allocated": GIB, "reserved": GIB, "fraction": 1.0, **figures}
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (found["free"], found["total"]))
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: found["allocated"])
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: found["reserved"])
        monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _: found["fraction"])

    def check(self, nbytes: int) -> None:
        devices._check_room(torch.device("cuda:3"), nbytes)


def test_what_fits_into_the_free_memory_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    card = _Card(monkeypatch)

    card.check(8 * GIB)
    with pytest.raises(warpload.OutOfMemoryError):
        card.check(8 * GIB + 1)


def test_what_torch_has_to_spare_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    card = _Card(monkeypatch, free=GIB, allocated=2 * GIB, reserved=7 * GIB)

    card.check(6 * GIB)
    with pytest.raises(warpload.OutOfMemoryError):
        card.check(6 * GIB + 1)


def test_torchs_limit_for_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    card = _Card(monkeypatch, fraction=0.5)

    card.check(4 * GIB)
    with pytest.raises(warpload.OutOfMemoryError):
        card.check(4 * GIB + 1)


def test_the_refusal_names_the_device_the_sizes_and_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(warpload.OutOfMemoryError) as caught:
        _Card(monkeypatch, free=3 * GIB, reserved=2 * GIB).check(20 * GIB)

    assert_is_out_of_memory(caught.value)
    for said in ("cuda:3", str(20 * GIB), str(3 * GIB), str(10 * GIB), str(GIB), str(9 * GIB), "fewer components"):
        assert said in str(caught.value), said


def test_room_is_checked_before_anything_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    _Card(monkeypatch, free=0)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: pytest.fail("memory was asked for"))
    places = [torch.device("cpu"), torch.device("cuda:0")]

    with pytest.raises(warpload.OutOfMemoryError):
        devices.allocate(places, [(0, 100), (1, 100)])


@pytest.mark.parametrize("device", ["cuda:0", 0, torch.device("cuda", 0)])
def test_where_there_is_no_gpu_the_device_is_not_ours(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert devices.arena_device(device) is None


@pytest.mark.parametrize("device", ["nonsense", object(), "cuda:x", 3.5])
def test_what_torch_does_not_know_is_no_device_of_ours(device: Any) -> None:
    with warpload.LoadOptions(arena="always"):
        assert devices.arena_device(device) is None
