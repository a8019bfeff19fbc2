"""Tiny models as single files in the layouts of their original checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
from .parts import Part
from .pipelines import FAMILIES
from .pipelines import MODELS as MODELS_OF
from .renamed_layouts import LAYOUTS, WIDTHS

ORIGINAL = original_layouts.ORIGINAL | {name: layout.original for name, layout in LAYOUTS.items()}

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
    **{name: layout.part for name, layout in LAYOUTS.items()},
}
"""By the layout of their files."""


def write(layout: str, folder: Path, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
    """Save a model with its configuration, and its tensors in their original layout too; return that file."""
    MODELS[layout](seed=1, **changes).save_pretrained(folder)
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
    "stable-diffusion-3": {
        "text_encoder_2": _SECOND,
        "text_encoder_3": models.t5_encoder.but(d_model=24),
        "transformer": _SD3.but(joint_attention_dim=24, pooled_projection_dim=24),
        "vae": models.vae.but(shift_factor=0.0609),
    },
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


def publish(family: str, place: Path, **changes: dict[str, Any]) -> Published:
    """Save a pipeline in diffusers' layout, and as it is published in one file, in an empty folder.

    Args:
        family: its name.
        place: the folder.
        changes: of the settings of its parts.
    """
    folder, file = place / "pipeline", place / "model.safetensors"
    parts = {**FAMILIES[family].parts, **PIPELINES[family]}
    parts |= {name: parts[name].but(**settings) for name, settings in changes.items()}
    FAMILIES[family](**parts).save_pretrained(folder)
    names = MODELS_OF[family] - {"safety_checker"}
    tensors = {name: load_file(checkpoints.weight_file(folder / name)) for name in names}
    save({key: each.half() for key, each in _in_one(tensors).items()}, file)
    return Published(FAMILIES[family].kind, str(folder), str(file), names)


def _in_one(models: dict[str, Tensors]) -> Tensors:
    """Return the tensors of a pipeline's models as Stable Diffusion, SDXL and SD3 are published."""
    original = original_layouts.vae(models["vae"])
    if "transformer" in models:
        original |= original_layouts.prefixed(original_layouts.sd3(models["transformer"]), original_layouts.COMFY)
        first = {key: each for key, each in models["text_encoder"].items() if "text_projection" not in key}
        for name, tensors in {"clip_l": first, "clip_g": models["text_encoder_2"]}.items():
            original |= original_layouts.prefixed(tensors, f"text_encoders.{name}.transformer.")
        return original | original_layouts.t5(models["text_encoder_3"])
    original |= original_layouts.unet(models["unet"])
    original["alphas_cumprod"] = torch.linspace(1, 0, 7)  # published files have more than models
    if "text_encoder_2" not in models:
        return original | original_layouts.clip(models["text_encoder"], "cond_stage_model.transformer.")
    original |= original_layouts.clip(models["text_encoder"], "conditioner.embedders.0.transformer.")
    return original | original_layouts.open_clip(models["text_encoder_2"], "conditioner.embedders.1.model.")


def save(tensors: Tensors, file: Path) -> None:
    """Write tensors that may share memory."""
    save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, file)


@contextmanager
def narrow() -> Iterator[None]:
    """Let diffusers convert models of the widths of the tiny ones."""
    with ExitStack() as narrowed:
        for name, widths in WIDTHS.items():
            function: Any = getattr(single_file_utils, name)
            before: CodeType = function.__code__
            function.__code__ = _narrowed(before, widths)
            assert function.__code__ != before
            narrowed.callback(setattr, function, "__code__", before)
        yield


def _narrowed(code: CodeType, widths: Mapping[int, int]) -> CodeType:
    """Return a function's code, and that of those in it, with other numbers."""

    def other(constant: Any) -> Any:
        if isinstance(constant, CodeType):
            return _narrowed(constant, widths)
        return widths.get(constant, constant) if type(constant) is int else constant

    return code.replace(co_consts=tuple(map(other, code.co_consts)))
