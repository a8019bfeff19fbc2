"""Chroma: Flux without its CLIP encoder, and with one network that makes every block's modulation."""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from support import image_encoders, models, transformer_models
from support.tokenizers import t5_tokenizer

from .shared_parts import register


def parts() -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(use_beta_sigmas=False, shift=1.0),
        "vae": models.vae(latent_channels=1),
        "text_encoder": models.t5_encoder(),
        "tokenizer": t5_tokenizer(),
        "transformer": transformer_models.chroma_transformer(),
    }


def parts_with_image_encoder() -> dict[str, Any]:
    return {
        **parts(),
        "image_encoder": image_encoders.clip_vision_model(),
        "feature_extractor": image_encoders.clip_image_processor(),
    }


register(
    parts,
    {
        "chroma": "ChromaPipeline",
        "chroma-img2img": "ChromaImg2ImgPipeline",
        "chroma-inpaint": "ChromaInpaintPipeline",
    },
)
register(parts_with_image_encoder, {"chroma-image-encoder": "ChromaPipeline"})
