"""Who holds the memory of a load to a device: its tensors, as long as one lives, and nobody after a failure."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import warpload
from support.checkpoints import rewrite, weight_file
from support.compare import bytes_of
from support.devices import Device, models_of, refusing_segments, tensors_of
from support.pipelines import MODELS, Saved
from warpload import engine
from warpload.models import stock_load

pytestmark = pytest.mark.slots


def load(folder: Path, device: Device, **arguments: Any) -> Any:
    return warpload.DiffusionPipeline.from_pretrained(folder, device_map=device.kind, **arguments)


def test_a_file_is_one_segment_that_goes_with_its_last_tensor(device: Device, mixed: Path) -> None:
    loaded = warpload.load_file(mixed, device.name)
    whole = device.segment_bytes()
    expected = bytes_of(loaded["z.weight"])

    kept = loaded.pop("z.weight")
    del loaded

    assert device.allocations == 1
    assert device.segment_bytes() == whole > 0
    assert bytes_of(kept) == expected
    del kept
    assert device.allocated() == 0


def test_views_and_clones_hold_what_they_should(device: Device, mixed: Path) -> None:
    loaded = warpload.load_file(mixed, device.name)
    view, clone = loaded["z.weight"][1:], loaded["z.weight"].clone()
    del loaded
    assert device.holds(view)
    assert not device.holds(clone)

    del view

    assert device.segment_bytes() == 0


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_dropped_component_frees_its_segment_and_no_other(
    dtype: torch.dtype | None, device: Device, saved: Saved
) -> None:
    pipeline = load(saved("stable-diffusion-xl"), device, dtype=dtype)
    names = sorted(models_of(pipeline))
    assert len(names) == len(MODELS["stable-diffusion-xl"])
    bits = {name: bytes_of(next(getattr(pipeline, name).parameters())) for name in names}

    for position, name in enumerate(names):
        before = device.segment_bytes()
        weights = sum(parameter.nbytes for parameter in getattr(pipeline, name).parameters())
        setattr(pipeline, name, None)
        freed = before - device.segment_bytes()
        assert weights <= freed <= weights * 5, name  # tiny tensors, each aligned
        for other in names[position + 1 :]:
            assert device.holds_all(getattr(pipeline, other).parameters()), other
            assert bytes_of(next(getattr(pipeline, other).parameters())) == bits[other], other

    assert device.segment_bytes() == 0


def test_a_dropped_pipeline_leaves_nothing(device: Device, saved: Saved) -> None:
    pipeline = load(saved("stable-diffusion"), device, dtype=torch.float16)
    assert device.segment_bytes() > 0

    del pipeline

    assert device.segment_bytes() == 0
    assert device.allocated() == 0


def test_a_pipeline_made_from_another_shares_its_memory(device: Device, saved: Saved) -> None:
    pipeline = load(saved("stable-diffusion"), device)
    before = device.allocated()

    other = warpload.StableDiffusionImg2ImgPipeline.from_pipe(pipeline)

    assert type(other) is diffusers.StableDiffusionImg2ImgPipeline
    assert device.allocated() == before
    for name in MODELS["stable-diffusion"]:
        assert getattr(other, name) is getattr(pipeline, name)
    storages = [parameter.untyped_storage().data_ptr() for parameter in pipeline.unet.parameters()]
    del pipeline
    assert device.allocated() == before
    assert [parameter.untyped_storage().data_ptr() for parameter in other.unet.parameters()] == storages


# -- what the core does not place, or planned wrongly ------------------------------------------------------------------


def test_a_model_that_stock_places_after_all_has_given_its_segment_back_by_then(
    device: Device, copied: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("stable-diffusion") / "unet"
    rewrite(weight_file(folder), lambda tensors: {**tensors, "unexpected": torch.zeros(3)})
    held: list[int] = []
    original = stock_load.load_by_stock
    monkeypatch.setattr(
        stock_load,
        "load_by_stock",
        lambda *arguments: held.append(device.segment_bytes()) or original(*arguments),
    )

    with device.options(), warpload.accelerated():
        diffusers.UNet2DConditionModel.from_pretrained(folder, device_map=device.name)

    assert device.allocations > 0
    assert held == [0]


def test_a_model_of_a_pipeline_that_stock_places_after_all_has_given_its_segment_back_by_then(
    device: Device, copied: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other models' segments, which the same load fills, stay."""
    folder = copied("stable-diffusion")
    pipeline = load(folder, device)
    whole = device.segment_bytes()
    pipeline.unet = None
    others = device.segment_bytes()
    del pipeline
    rewrite(weight_file(folder / "unet"), lambda tensors: {**tensors, "unexpected": torch.zeros(3)})
    held: list[int] = []
    original = stock_load.load_by_stock
    monkeypatch.setattr(
        stock_load,
        "load_by_stock",
        lambda *arguments: held.append(device.segment_bytes()) or original(*arguments),
    )

    load(folder, device)

    assert 0 < others < whole
    assert held == [others]


@pytest.mark.parametrize("family", ["pixart", "stable-diffusion-3", "flux"])
def test_layers_that_t5_keeps_in_float32_are_planned_so(family: str, device: Device, saved: Saved) -> None:
    with device.options():
        load(saved(family), device, dtype=torch.float16)

    assert device.allocations == 1


def test_a_wrong_guess_of_most_of_a_model_leaves_one_segment_of_it(
    device: Device, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warpload.stock.kept_in_float32._KEPT_BY_TRANSFORMERS", {})
    folder = saved("pixart")

    with device.options():
        pipeline = load(folder, device, dtype=torch.float16)

    weights = sum(tensor.nbytes for tensor in tensors_of(*models_of(pipeline).values()))
    assert device.allocations == 2
    assert device.segment_bytes() < 1.01 * weights + 4096 * len(tensors_of(*models_of(pipeline).values()))


# -- failures ---------------------------------------------------------------------------------------------------------


def truncate_once_open(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    """Cut a file when it has been opened and found valid: its reads fail in the midst of the load."""
    original = engine.open_checkpoint

    def opened(source: Any, **rules: Any) -> Any:
        checkpoint = original(source, **rules)
        if source == file:
            os.truncate(file, file.stat().st_size // 2)
        return checkpoint

    monkeypatch.setattr(engine, "open_checkpoint", opened)


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_a_file_that_shrinks_meanwhile_leaves_nothing_even_while_its_error_is_kept(
    dtype: torch.dtype | None, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shrinking.safetensors"
    from safetensors.torch import save_file

    save_file({"a": torch.randn(1_000_000), "b": torch.randn(1_000_000)}, file)
    truncate_once_open(monkeypatch, file)

    with pytest.raises(warpload.IoError) as caught:
        warpload.load_file(file, device.name, dtype=dtype)

    assert device.allocations == 1
    assert caught.value.path == str(file)
    assert caught.value.__traceback__ is not None
    assert device.allocated() == 0


@pytest.mark.parametrize("dtype", [None, torch.float16])
@pytest.mark.parametrize("component", ["vae", "text_encoder"])
def test_a_pipeline_of_which_a_file_shrinks_leaves_nothing(
    component: str, dtype: torch.dtype | None, device: Device, copied: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("stable-diffusion")
    file = weight_file(folder / component)
    truncate_once_open(monkeypatch, file)

    with pytest.raises(warpload.IoError) as caught:
        load(folder, device, dtype=dtype)
    assert caught.value.path == str(file)
    assert device.allocations > 0

    del caught
    assert device.allocated() == 0


def test_a_truncated_file_takes_no_memory_at_all(device: Device, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    file = weight_file(folder / "unet")
    os.truncate(file, file.stat().st_size - 5)

    with pytest.raises(warpload.FormatError, match="5 bytes are missing"):
        load(folder, device)

    assert device.allocated() == 0


@pytest.mark.parametrize("given", [0, 1, 3])
def test_a_segment_that_does_not_fit_gives_back_those_that_did(
    given: int, device: Device, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing_segments(monkeypatch, after=given) as segments, pytest.raises(warpload.OutOfMemoryError):
        load(saved("stable-diffusion"), device)
    gc.collect()

    assert [segment() for segment in segments] == [None] * given
    assert device.allocated() == 0
    assert load(saved("stable-diffusion"), device).unet is not None


def failing(kind: type[BaseException], at: int) -> Callable[..., Any]:
    """Return a stand-in for `engine.wait_arrival` that fails at one of its calls."""
    original, calls = engine.wait_arrival, []

    def wait(*arguments: Any) -> Any:
        calls.append(arguments[1])
        if len(calls) > at:
            raise kind("the device is gone")
        return original(*arguments)

    return wait


@pytest.mark.parametrize("kind", [warpload.DeviceError, KeyboardInterrupt])
def test_a_load_that_fails_while_it_waits_leaves_nothing(
    kind: type[BaseException], device: Device, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "wait_arrival", failing(kind, 0))

    with pytest.raises(kind, match="gone") as caught:
        warpload.load_file(mixed, device.name)

    assert caught.value.__traceback__ is not None
    assert device.allocated() == 0


@pytest.mark.parametrize("at", [0, 1])
def test_a_pipeline_that_fails_while_it_waits_leaves_nothing(
    at: int, device: Device, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "wait_arrival", failing(warpload.DeviceError, at))

    with pytest.raises(warpload.DeviceError, match="gone"):
        load(saved("stable-diffusion"), device)

    assert device.allocated() == 0
