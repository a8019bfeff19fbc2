"""Single models and schedulers: ``warpload.NAME.from_pretrained`` equals stock's and goes through the core."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers

import warpload
from support import checkpoints, models
from support.compare import assert_loaded_natively, assert_same_model, assert_same_pipeline
from support.loading import forbid_stock_readers
from support.pipelines import DTYPES, FAMILIES, MODELS, Saved

PLAIN_DTYPES = [name for name, arguments in DTYPES.items() if not isinstance(arguments.get("dtype"), dict)]


@pytest.mark.parametrize("dtype", PLAIN_DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_auto_model_of_every_component_equals_stock(family: str, dtype: str, saved: Saved) -> None:
    folder = saved(family)
    for name in sorted(MODELS[family] - {"safety_checker"}):  # a class of a pipeline's: stock's AutoModel finds none
        stock = diffusers.AutoModel.from_pretrained(str(folder), subfolder=name, **DTYPES[dtype])
        ours = warpload.AutoModel.from_pretrained(str(folder), subfolder=name, **DTYPES[dtype])

        assert_same_model(ours, stock, name)
        assert_loaded_natively(warpload.last_report(), {name})


@pytest.mark.parametrize("dtype", PLAIN_DTYPES)
def test_a_models_own_class_equals_stock(dtype: str, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved("stable-diffusion") / "unet"
    stock = diffusers.UNet2DConditionModel.from_pretrained(folder, **DTYPES[dtype])
    forbid_stock_readers(monkeypatch)

    ours = warpload.UNet2DConditionModel.from_pretrained(folder, **DTYPES[dtype])

    assert_same_model(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"UNet2DConditionModel"})


def test_loading_information_equals_stocks(saved: Saved) -> None:
    folder = saved("ddpm")
    arguments: dict[str, Any] = {"subfolder": "unet", "output_loading_info": True}

    stock, expected = diffusers.UNet2DModel.from_pretrained(folder, **arguments)
    ours, information = warpload.UNet2DModel.from_pretrained(folder, **arguments)

    assert information == expected
    assert_same_model(ours, stock)


def test_arguments_override_the_configuration_as_with_stock(saved: Saved) -> None:
    folder = saved("stable-diffusion") / "vae"

    stock = diffusers.AutoencoderKL.from_pretrained(folder, scaling_factor=0.5)
    ours = warpload.AutoencoderKL.from_pretrained(folder, scaling_factor=0.5)

    assert ours.config.scaling_factor == 0.5
    assert_same_model(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"AutoencoderKL"})


def test_mismatching_sizes_may_be_ignored_as_with_stock(saved: Saved) -> None:
    folder = saved("stable-diffusion") / "unet"
    arguments = {"in_channels": 9, "low_cpu_mem_usage": False, "ignore_mismatched_sizes": True}

    stock = diffusers.UNet2DConditionModel.from_pretrained(folder, **arguments)
    ours = warpload.UNet2DConditionModel.from_pretrained(folder, **arguments)

    new = "conv_in.weight"  # which stock draws at random
    assert ours.state_dict()[new].shape == stock.state_dict()[new].shape == (4, 9, 3, 3)
    for key, expected in stock.state_dict().items():
        assert key == new or torch.equal(ours.state_dict()[key], expected), key
    assert_loaded_natively(warpload.last_report(), {"UNet2DConditionModel"})


def test_mismatching_sizes_fail_with_stocks_message(saved: Saved) -> None:
    folder = saved("stable-diffusion") / "unet"

    with pytest.raises(ValueError, match="Cannot load") as stock:
        diffusers.UNet2DConditionModel.from_pretrained(folder, in_channels=9)
    with pytest.raises(ValueError, match="Cannot load") as ours:
        warpload.UNet2DConditionModel.from_pretrained(folder, in_channels=9)

    assert str(ours.value) == str(stock.value)


@pytest.mark.parametrize("name", ["HeunDiscreteScheduler", "EulerDiscreteScheduler", "DDIMScheduler"])
def test_schedulers_are_stocks(name: str, saved: Saved) -> None:
    folder = saved("stable-diffusion-xl")

    ours = getattr(warpload, name).from_pretrained(folder, subfolder="scheduler")
    stock = getattr(diffusers, name).from_pretrained(folder, subfolder="scheduler")

    assert type(ours) is getattr(diffusers, name)
    assert dict(ours.config) == dict(stock.config)
    again = getattr(warpload, name).from_config(stock.config)
    assert type(again) is type(stock)


def test_a_pipeline_takes_models_and_schedulers_loaded_apart_and_reads_nothing_of_theirs(copied: Saved) -> None:
    folder = copied("stable-diffusion-xl")
    vae = warpload.AutoModel.from_pretrained(str(folder), subfolder="vae", dtype=torch.float16)
    scheduler = warpload.HeunDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    for name in ("vae", "scheduler"):
        shutil.rmtree(folder / name)

    ours = warpload.DiffusionPipeline.from_pretrained(folder, vae=vae, scheduler=scheduler, dtype=torch.float16)

    assert ours.vae is vae
    assert ours.scheduler is scheduler
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion-xl"] - {"vae"})
    stock = diffusers.DiffusionPipeline.from_pretrained(folder, vae=vae, scheduler=scheduler, dtype=torch.float16)
    assert_same_pipeline(ours, stock)


def test_several_control_nets_in_one_folder_are_native(tmp_path: Path) -> None:
    nets = [models.randomised(diffusers.ControlNetModel.from_unet(models.unet()), seed) for seed in (60, 61)]
    diffusers.MultiControlNetModel(nets).save_pretrained(str(tmp_path / "controlnet"))

    stock = diffusers.MultiControlNetModel.from_pretrained(str(tmp_path / "controlnet"))
    ours = warpload.MultiControlNetModel.from_pretrained(str(tmp_path / "controlnet"))

    assert len(ours.nets) == len(stock.nets) == 2
    for mine, theirs in zip(ours.nets, stock.nets, strict=True):
        assert_same_model(mine, theirs)


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("source", ["safetensors", "sharded", "pickle"])
def test_transformers_own_classes_equal_stock(source: str, dtype: torch.dtype | None, tmp_path: Path) -> None:
    arguments = {"max_shard_size": "4KB"} if source == "sharded" else {}
    models.causal_language_model().save_pretrained(tmp_path / "text_encoder", **arguments)
    if source == "pickle":
        checkpoints.as_pickles(tmp_path, "text_encoder")
    folder = tmp_path / "text_encoder"

    stock = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=dtype)
    with warpload.accelerated():
        ours = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)

    assert_same_model(ours, stock)
    report = warpload.last_report()
    assert report is not None
    expected = "stock: no safetensors" if source == "pickle" else "native"
    assert list(report.components) == ["GPT2LMHeadModel"]
    assert report.components["GPT2LMHeadModel"].startswith(expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"attn_implementation": "eager"},
        {"output_attentions": True},
        {"output_loading_info": True},
        {"dtype": "auto"},
        {"dtype": "float16"},
        {"device_map": "cpu"},
        {"device_map": "auto"},
        {"key_mapping": {"^transformer": "transformer"}},
        {"weights_only": False},
        {"trust_remote_code": True},
    ],
    ids=str,
)
def test_transformers_arguments_fare_as_with_stock(arguments: dict[str, Any], tmp_path: Path) -> None:
    models.causal_language_model().save_pretrained(tmp_path)

    stock = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, **arguments)
    with warpload.accelerated():
        ours = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, **arguments)

    if isinstance(stock, tuple):
        (stock, expected), (ours, information) = stock, ours
        assert information == expected
    assert_same_model(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"GPT2LMHeadModel"})


def test_what_transformers_refuses_is_refused_alike(tmp_path: Path) -> None:
    models.causal_language_model().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()

    with pytest.raises(OSError, match="no file named") as stock:
        transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    with pytest.raises(OSError, match="no file named") as ours, warpload.accelerated():
        transformers.GPT2LMHeadModel.from_pretrained(tmp_path)

    assert str(ours.value) == str(stock.value)
