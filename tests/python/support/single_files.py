"""Tiny models as single files in the layouts of their original checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import torch
from diffusers.loaders import single_file_utils
from safetensors.torch import load_file, save_file

from families import ltx as ltx_family

from . import checkpoints, models, original_layouts, unet_models
from .checkpoints import Tensors
from .original_layouts import ORIGINAL
from .parts import Part
from .pipelines import FAMILIES
from .pipelines import MODELS as MODELS_OF

_SD3 = models.sd3_transformer.but(qk_norm="rms_norm", dual_attention_layers=(0,))
_TRANSFORMER = ltx_family.COMMON["transformer"]

MODELS: dict[str, Part] = {
    "unet": models.unet,
    "unet-xl": unet_models.unet_xl,
    "vae": models.vae,
    "sd3": _SD3,
    "sd3-comfy": _SD3,
    "flux": models.flux_transformer,
    "flux-comfy": models.flux_transformer,
    "wan": models.wan_transformer,
    "wan-comfy": models.wan_transformer,
    "wan-vae": models.wan_vae.but(dim_mult=[1, 2, 4, 4]),  # as wide as published: where shortcuts are is in the rules
    "ltx": _TRANSFORMER,
    "ltx-vae": ltx_family.VAE,
}
"""By the layout of their files."""

_FLUX_WIDTH = 3072  # which diffusers' conversion of Flux has as a number


def write(layout: str, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Save a model with its configuration, and its tensors in their original layout too; return that file."""
    MODELS[layout](seed=1).save_pretrained(folder)
    file = folder / "original" / "model.safetensors"
    file.parent.mkdir()
    tensors = load_file(checkpoints.weight_file(folder))
    save(ORIGINAL[layout]({key: each.to(dtype) for key, each in tensors.items()}), file)
    return file


# How wide an encoder is tells stock which of a file's two it is.
_SECOND = models.clip_text_model_with_projection.but(hidden_size=16, projection_dim=16)
_UNET_XL = unet_models.unet_xl.but(cross_attention_dim=24, projection_class_embeddings_input_dim=40)
PIPELINES: dict[str, dict[str, Part]] = {
    "stable-diffusion": {},
    "stable-diffusion-xl": {"text_encoder_2": _SECOND, "unet": _UNET_XL},
}
"""Families that are published whole, with what has to differ from the family's parts."""


@dataclass(frozen=True)
class Published:
    """A pipeline.

    Attributes:
        kind: its class.
        folder: where it is saved in diffusers' layout.
        file: its models in one file, in float16.
        models: their names.
    """

    kind: str
    folder: str
    file: str
    models: frozenset[str]


def publish(family: str, place: Path) -> Published:
    """Save a pipeline in diffusers' layout, and as Stable Diffusion and SDXL are published, in an empty folder."""
    folder, file = place / "pipeline", place / "model.safetensors"
    FAMILIES[family](**PIPELINES[family]).save_pretrained(folder)
    names = MODELS_OF[family] - {"safety_checker"}
    tensors = {name: load_file(checkpoints.weight_file(folder / name)) for name in names}
    original = original_layouts.unet(tensors["unet"]) | original_layouts.vae(tensors["vae"])
    if "text_encoder_2" in tensors:
        original |= original_layouts.clip(tensors["text_encoder"], "conditioner.embedders.0.transformer.")
        original |= original_layouts.open_clip(tensors["text_encoder_2"], "conditioner.embedders.1.model.")
    else:
        original |= original_layouts.clip(tensors["text_encoder"], "cond_stage_model.transformer.")
    original["alphas_cumprod"] = torch.linspace(1, 0, 7)  # published files have more than models
    save({key: each.half() for key, each in original.items()}, file)
    return Published(FAMILIES[family].kind, str(folder), str(file), names)


def save(tensors: Tensors, file: Path) -> None:
    """Write tensors that may share memory."""
    save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, file)


@contextmanager
def narrow_flux() -> Iterator[None]:
    """Let diffusers convert a Flux of the width of the tiny one."""
    function: Any = single_file_utils.convert_flux_transformer_checkpoint_to_diffusers
    before: CodeType = function.__code__
    settings = models.flux_transformer.settings
    width = settings["attention_head_dim"] * settings["num_attention_heads"]
    assert _FLUX_WIDTH in before.co_consts
    function.__code__ = before.replace(
        co_consts=tuple(width if each == _FLUX_WIDTH else each for each in before.co_consts)
    )
    try:
        yield
    finally:
        function.__code__ = before
