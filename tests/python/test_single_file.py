"""``from_single_file``: of files in diffusers' own layout, of text encoders beside given models, of what is no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

import warpload
from support import checkpoints
from support.compare import assert_loaded_natively, assert_same_model, assert_same_pipeline
from support.pipelines import Saved
from support.said import warnings_of

CLASSES = {
    "unet": ("stable-diffusion", "UNet2DConditionModel"),
    "vae": ("stable-diffusion", "AutoencoderKL"),
    "transformer": ("flux", "FluxTransformer2DModel"),
}


def single_file(folder: Path, name: str, file: Path) -> Path:
    """Write a component's weights to one file, as checkpoints outside of diffusers' layout are."""
    tensors = {key: tensor.clone() for key, tensor in load_file(checkpoints.weight_file(folder / name)).items()}
    save_file(tensors, file)
    return file


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CLASSES)
def test_models_equal_stock(name: str, dtype: torch.dtype | None, saved: Saved, tmp_path: Path) -> None:
    family, class_name = CLASSES[name]
    file = single_file(saved(family), name, tmp_path / "model.safetensors")
    arguments: dict[str, Any] = {"config": str(saved(family)), "subfolder": name, "dtype": dtype}

    stock = getattr(diffusers, class_name).from_single_file(str(file), **arguments)
    ours = getattr(warpload, class_name).from_single_file(str(file), **arguments)

    assert_same_model(ours, stock)
    report = warpload.last_report()
    assert_loaded_natively(report, {class_name})
    assert report is not None
    assert report.placed_by_stock == {}


@pytest.mark.parametrize("disable_mmap", [False, True])
def test_without_mapping_it_equals_stock(
    disable_mmap: bool, saved: Saved, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    file = single_file(saved("stable-diffusion"), "vae", tmp_path / "model.safetensors")
    arguments: dict[str, Any] = {"config": str(saved("stable-diffusion")), "subfolder": "vae"}

    stock = diffusers.AutoencoderKL.from_single_file(str(file), disable_mmap=disable_mmap, **arguments)
    ours = warpload.AutoencoderKL.from_single_file(str(file), disable_mmap=disable_mmap, **arguments)

    assert_same_model(ours, stock)
    del stock
    report = warpload.last_report()
    assert report is not None
    assert report.components == {"AutoencoderKL": "native"}
    assert report.placed_by_stock == {}
    assert warnings_of(log) == []
    if disable_mmap:
        assert str(file) not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_a_pipeline_equals_stock(dtype: torch.dtype | None, saved: Saved, tmp_path: Path) -> None:
    """The file has the text encoder in the layout of the original Stable Diffusion; the other models are given."""
    folder = saved("stable-diffusion")
    tensors = load_file(checkpoints.weight_file(folder / "text_encoder"))
    prefix = "cond_stage_model.transformer.text_model."
    renamed = {f"{prefix}{name.removeprefix('text_model.')}": tensor.clone() for name, tensor in tensors.items()}
    save_file(renamed, tmp_path / "model.safetensors")
    given = diffusers.DiffusionPipeline.from_pretrained(folder, text_encoder=None, safety_checker=None)
    arguments: dict[str, Any] = {"config": str(folder), "unet": given.unet, "vae": given.vae, "dtype": dtype}

    file = str(tmp_path / "model.safetensors")
    stock = diffusers.StableDiffusionPipeline.from_single_file(file, **arguments)
    ours = warpload.StableDiffusionPipeline.from_single_file(file, **arguments)

    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"text_encoder"})


def test_a_pickle_is_stocks(saved: Saved, tmp_path: Path) -> None:
    tensors = load_file(checkpoints.weight_file(saved("stable-diffusion") / "vae"))
    torch.save(tensors, tmp_path / "model.ckpt")
    arguments: dict[str, Any] = {"config": str(saved("stable-diffusion")), "subfolder": "vae"}

    stock = diffusers.AutoencoderKL.from_single_file(str(tmp_path / "model.ckpt"), **arguments)
    ours = warpload.AutoencoderKL.from_single_file(str(tmp_path / "model.ckpt"), **arguments)

    assert_same_model(ours, stock)
    assert warpload.last_report().components["AutoencoderKL"].startswith("stock: no safetensors, but model.ckpt")


def test_a_dictionary_of_tensors_is_taken_as_by_stock(saved: Saved) -> None:
    tensors = load_file(checkpoints.weight_file(saved("stable-diffusion") / "vae"))
    arguments: dict[str, Any] = {"config": str(saved("stable-diffusion")), "subfolder": "vae"}

    stock = diffusers.AutoencoderKL.from_single_file(dict(tensors), **arguments)
    ours = warpload.AutoencoderKL.from_single_file(dict(tensors), **arguments)

    assert_same_model(ours, stock)


def test_a_broken_file_fails_as_with_stock(saved: Saved, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    arguments: dict[str, Any] = {"config": str(saved("stable-diffusion")), "subfolder": "vae"}

    with pytest.raises(OSError, match="git-lfs") as stock:
        diffusers.AutoencoderKL.from_single_file(str(file), **arguments)
    with pytest.raises(OSError, match="git-lfs") as ours:
        warpload.AutoencoderKL.from_single_file(str(file), **arguments)

    assert str(ours.value) == str(stock.value)
