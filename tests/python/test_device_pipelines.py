"""What only loads to a device have: ways to name it, models apart, components that stay, transformers' warm-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers

import warpload
from support import models
from support.compare import assert_loaded_natively, assert_same_component
from support.devices import Device, models_of, parameters_of, tensors_of
from support.pipelines import MODELS, Saved
from warpload import devices

pytestmark = pytest.mark.slots


@pytest.mark.parametrize("spelling", ["name", "object", "dictionary", "default"])
def test_every_way_to_name_the_device_gives_the_same(spelling: str, device: Device, saved: Saved) -> None:
    """Stock takes the kind only; what the others give is compared with what that gives."""
    device_map = {
        "name": device.name,
        "object": torch.device(device.name),
        "dictionary": dict.fromkeys(MODELS["pixart"], device.name),
        "default": {"default": device.name},
    }[spelling]
    stock = diffusers.DiffusionPipeline.from_pretrained(saved("pixart"), device_map=device.kind, dtype=torch.float16)

    ours = warpload.DiffusionPipeline.from_pretrained(saved("pixart"), device_map=device_map, dtype=torch.float16)

    assert ours.hf_device_map == device_map
    assert_loaded_natively(warpload.last_report(), MODELS["pixart"])
    assert device.holds_all(parameters_of(ours))
    for name, expected in models_of(stock).items():
        mine = ours.components[name]
        for model in (mine, expected):  # how the device is spelt there is accelerate's affair
            vars(model).pop("hf_device_map", None)
        assert_same_component(mine, expected, name)


def test_components_not_named_stay_on_the_host(device: Device, saved: Saved) -> None:
    """The host's own tensors are views of the file's mapping even while others go to a device."""
    with device.on_host():
        expected = diffusers.DiffusionPipeline.from_pretrained(saved("pixart"))
    ours = warpload.DiffusionPipeline.from_pretrained(saved("pixart"), device_map={"vae": device.name})

    assert {name: next(model.parameters()).device.type for name, model in models_of(ours).items()} == {
        "vae": device.kind,
        "transformer": "cpu",
        "text_encoder": "cpu",
    }
    assert device.holds_all(ours.vae.parameters())
    assert not hasattr(ours.transformer, "hf_device_map")
    assert_same_component(ours.transformer, expected.transformer, "transformer")
    assert_same_component(ours.text_encoder, expected.text_encoder, "text_encoder")


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16])
@pytest.mark.parametrize("class_name", ["AutoModel", "WanTransformer3DModel"])
@pytest.mark.parametrize("as_dictionary", [False, True])
def test_models_of_diffusers_equal_stock(
    as_dictionary: bool, class_name: str, dtype: torch.dtype | None, device: Device, saved: Saved
) -> None:
    arguments = {"device_map": {"": device.name} if as_dictionary else device.name, "dtype": dtype}
    folder = str(saved("wan") / "transformer")
    stock = getattr(diffusers, class_name).from_pretrained(folder, **arguments)

    ours = getattr(warpload, class_name).from_pretrained(folder, **arguments)

    assert_same_component(ours, stock, "transformer")
    assert_loaded_natively(warpload.last_report(), {"WanTransformer3DModel"})
    assert device.holds_all(ours.parameters())


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16])
@pytest.mark.parametrize("class_name", ["AutoModel", "CLIPTextModel"])
def test_models_of_transformers_equal_stock(
    class_name: str, dtype: torch.dtype | None, device: Device, saved: Saved
) -> None:
    loader, folder = getattr(transformers, class_name), saved("stable-diffusion") / "text_encoder"
    arguments = {"device_map": device.name, **({} if dtype is None else {"dtype": dtype})}
    stock = loader.from_pretrained(folder, **arguments)

    with warpload.accelerated():
        ours = loader.from_pretrained(folder, **arguments)

    assert_same_component(ours, stock, "text_encoder")
    assert device.holds_all(ours.parameters())


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_a_model_whose_weights_are_tied_stays_tied(dtype: torch.dtype | None, device: Device, tmp_path: Path) -> None:
    models.causal_language_model().save_pretrained(tmp_path)
    arguments = {"device_map": device.name, **({} if dtype is None else {"dtype": dtype})}
    stock = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, **arguments)

    with warpload.accelerated():
        ours = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, **arguments)

    assert ours.lm_head.weight is ours.transformer.wte.weight
    assert_same_component(ours, stock, "gpt2")
    assert device.holds_all(ours.parameters())


def test_a_model_with_buffers_in_no_file_has_them_on_the_device(device: Device, saved: Saved) -> None:
    pipeline = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion-xl"), device_map=device.kind)

    found = {tensor.device for tensor in tensors_of(*models_of(pipeline).values())}
    assert found == {torch.device(device.name)}


def test_a_map_that_parts_a_model_is_placed_by_stock(device: Device, saved: Saved) -> None:
    device_map = {name: device.name for name, _ in models.unet().named_children()}
    arguments = {"subfolder": "unet", "device_map": device_map}
    stock = diffusers.UNet2DConditionModel.from_pretrained(saved("stable-diffusion"), **arguments)

    ours = warpload.UNet2DConditionModel.from_pretrained(saved("stable-diffusion"), **arguments)

    assert_same_component(ours, stock, "unet")
    assert "device_map" in warpload.last_report().placed_by_stock["unet"]


def test_a_bare_cuda_is_the_local_rank_for_transformers_and_the_current_device_for_diffusers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert devices.spelled_by_transformers("cuda") == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert devices.spelled_by_transformers("cuda") == "cuda:3"
    for other in ("cpu", "cuda:1", 1, torch.device("cuda"), {"": "cuda"}, None):
        assert devices.spelled_by_transformers(other) == other


# -- transformers' warm-up --------------------------------------------------------------------------------------------


@pytest.fixture
def warmed_up(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the calls of transformers' own warm-up of the allocator."""
    calls: list[Any] = []
    monkeypatch.setattr(
        "transformers.modeling_utils.caching_allocator_warmup", lambda *arguments: calls.append(arguments)
    )
    return calls


def test_no_memory_is_warmed_up_for_what_lies_in_a_segment(warmed_up: list[Any], device: Device, saved: Saved) -> None:
    warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), device_map=device.kind)
    with warpload.accelerated():
        folder = saved("stable-diffusion") / "text_encoder"
        transformers.CLIPTextModel.from_pretrained(folder, device_map=device.name)

    assert warmed_up == []


def test_memory_is_warmed_up_for_stocks_own_loads(warmed_up: list[Any], device: Device, saved: Saved) -> None:
    folder = saved("stable-diffusion") / "text_encoder"
    transformers.CLIPTextModel.from_pretrained(folder, device_map=device.name)
    assert len(warmed_up) == 1

    with warpload.accelerated():  # an argument that only stock understands
        transformers.CLIPTextModel.from_pretrained(folder, device_map=device.name, key_mapping={})
    assert len(warmed_up) == 2
