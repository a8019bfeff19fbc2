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

pytestmark = pytest.mark.slots


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


@pytest.mark.parametrize("device", ["cuda:0", 0, torch.device("cuda", 0)])
def test_where_there_is_no_gpu_the_device_is_not_ours(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert devices.arena_device(device) is None


@pytest.mark.parametrize("device", ["nonsense", object(), "cuda:x", 3.5])
def test_what_torch_does_not_know_is_no_device_of_ours(device: Any) -> None:
    with warpload.LoadOptions(arena="always"):
        assert devices.arena_device(device) is None
