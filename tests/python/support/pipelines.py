"""Tiny pipelines of the families that differ in how they are loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    PixArtAlphaPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    WanPipeline,
)
from transformers import CLIPImageProcessor

from . import models
from .tokenizers import clip_tokenizer, t5_tokenizer


def stable_diffusion(**changes: Any) -> StableDiffusionPipeline:
    parts = {
        "vae": models.vae(),
        "text_encoder": models.clip_text_model(),
        "tokenizer": clip_tokenizer(),
        "unet": models.unet(),
        "scheduler": DDIMScheduler(steps_offset=1, clip_sample=False),
        "safety_checker": models.safety_checker(),
        "feature_extractor": CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}),
    }
    return StableDiffusionPipeline(**{**parts, **changes})


def stable_diffusion_xl() -> StableDiffusionXLPipeline:
    conditioned = {
        "cross_attention_dim": 16,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 4,
        "projection_class_embeddings_input_dim": 32,
        "transformer_layers_per_block": (1, 2),
        "use_linear_projection": True,
    }
    return StableDiffusionXLPipeline(
        vae=models.vae(),
        text_encoder=models.clip_text_model(),
        text_encoder_2=models.clip_text_model_with_projection(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(pad_token="a"),
        unet=models.unet(**conditioned),
        scheduler=EulerDiscreteScheduler(),
        add_watermarker=False,
    )


def stable_diffusion_3() -> StableDiffusion3Pipeline:
    return StableDiffusion3Pipeline(
        transformer=models.sd3_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=models.vae(),
        text_encoder=models.clip_text_model_with_projection(seed=20),
        text_encoder_2=models.clip_text_model_with_projection(seed=21),
        text_encoder_3=models.t5_encoder(hidden_size=16),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(pad_token="a"),
        tokenizer_3=t5_tokenizer(),
    )


def flux() -> FluxPipeline:
    return FluxPipeline(
        transformer=models.flux_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=models.vae(latent_channels=1),
        text_encoder=models.clip_text_model(),
        text_encoder_2=models.t5_encoder(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(),
    )


def wan() -> WanPipeline:
    return WanPipeline(
        transformer=models.wan_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        vae=models.wan_vae(),
        text_encoder=models.umt5_encoder(),
        tokenizer=t5_tokenizer(),
    )


def pixart() -> PixArtAlphaPipeline:
    return PixArtAlphaPipeline(
        transformer=models.pixart_transformer(),
        scheduler=DPMSolverMultistepScheduler(),
        vae=models.vae(),
        text_encoder=models.t5_encoder(),
        tokenizer=t5_tokenizer(),
    )


def ddpm() -> DDPMPipeline:
    return DDPMPipeline(unet=models.unconditional_unet(), scheduler=DDPMScheduler())


FAMILIES: dict[str, Callable[[], DiffusionPipeline]] = {
    "stable-diffusion": stable_diffusion,
    "stable-diffusion-xl": stable_diffusion_xl,
    "stable-diffusion-3": stable_diffusion_3,
    "flux": flux,
    "wan": wan,
    "pixart": pixart,
    "ddpm": ddpm,
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
