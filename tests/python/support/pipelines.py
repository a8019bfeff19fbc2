"""Tiny pipelines of the families that differ in how they are loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import models, unet_models
from .parts import Part, Pipeline
from .tokenizers import clip_tokenizer, t5_tokenizer

FLOW = Part("FlowMatchEulerDiscreteScheduler")
CLIP = {"text_encoder": models.clip_text_model, "tokenizer": clip_tokenizer}
T5 = {"text_encoder": models.t5_encoder, "tokenizer": t5_tokenizer}

stable_diffusion = Pipeline(
    "StableDiffusionPipeline",
    CLIP,
    {
        "vae": models.vae,
        "unet": models.unet,
        "scheduler": Part("DDIMScheduler", steps_offset=1, clip_sample=False),
        "safety_checker": models.safety_checker,
        "feature_extractor": unet_models.clip_image_processor,
    },
)

FAMILIES: dict[str, Pipeline] = {
    "stable-diffusion": stable_diffusion,
    "stable-diffusion-xl": Pipeline(
        "StableDiffusionXLPipeline",
        CLIP,
        unet_models.SECOND_TEXT_ENCODER,
        {
            "vae": models.vae,
            "unet": unet_models.unet_xl,
            "scheduler": Part("EulerDiscreteScheduler"),
            "add_watermarker": False,
        },
    ),
    "stable-diffusion-3": Pipeline(
        "StableDiffusion3Pipeline",
        unet_models.SECOND_TEXT_ENCODER,
        {
            "transformer": models.sd3_transformer,
            "scheduler": FLOW,
            "vae": models.vae,
            "text_encoder": models.clip_text_model_with_projection,
            "text_encoder_3": models.t5_encoder.but(d_model=16),
            "tokenizer": clip_tokenizer,
            "tokenizer_3": t5_tokenizer,
        },
    ),
    "flux": Pipeline(
        "FluxPipeline",
        CLIP,
        {"transformer": models.flux_transformer, "scheduler": FLOW, "vae": models.flux_vae},
        {f"{name}_2": part for name, part in T5.items()},
    ),
    "wan": Pipeline(
        "WanPipeline",
        T5,
        {"transformer": models.wan_transformer, "scheduler": FLOW.but(shift=7.0), "vae": models.wan_vae},
        {"text_encoder": models.umt5_encoder},
    ),
    "pixart": Pipeline(
        "PixArtAlphaPipeline",
        T5,
        {
            "transformer": models.pixart_transformer,
            "scheduler": Part("DPMSolverMultistepScheduler"),
            "vae": models.vae,
        },
    ),
    "ddpm": Pipeline("DDPMPipeline", {"unet": models.unconditional_unet, "scheduler": Part("DDPMScheduler")}),
}

# Of each family, the components that have weights.
MODELS: dict[str, frozenset[str]] = {
    "stable-diffusion": frozenset({"vae", "text_encoder", "unet", "safety_checker"}),
    "stable-diffusion-xl": frozenset({"vae", "text_encoder", "text_encoder_2", "unet"}),
    "stable-diffusion-3": frozenset({"transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3"}),
    "flux": frozenset({"transformer", "vae", "text_encoder", "text_encoder_2"}),
    "wan": frozenset({"transformer", "vae", "text_encoder"}),
    "pixart": frozenset({"transformer", "vae", "text_encoder"}),
    "ddpm": frozenset({"unet"}),
}

# A fixture's value: from a family's name to the folder of its pipeline.
Saved = Callable[[str], Path]

# Ways to ask for a dtype.
DTYPES: dict[str, dict[str, Any]] = {
    "no-dtype": {},
    "float32": {"dtype": torch.float32},
    "float16": {"dtype": torch.float16},
    "bfloat16": {"dtype": torch.bfloat16},
    "dictionary-with-default": {"dtype": {"default": torch.bfloat16, "vae": torch.float32, "unet": torch.float16}},
    "dictionary-without-default": {"dtype": {"vae": torch.float16, "text_encoder": torch.bfloat16}},
}
