"""PixArt: a T5 encoder and a transformer with cross-attention."""

from __future__ import annotations

from typing import Any

from diffusers import DPMSolverMultistepScheduler

from support import models, transformer_models
from support.tokenizers import t5_tokenizer

from .shared_parts import register


def parts() -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": models.t5_encoder(),
        "vae": models.vae(),
        "transformer": transformer_models.pixart_transformer(),
        "scheduler": DPMSolverMultistepScheduler(),
    }


def parts_with_image_size() -> dict[str, Any]:
    return {**parts(), "transformer": transformer_models.pixart_alpha_transformer()}


def parts_without_text() -> dict[str, Any]:
    """Return the parts of a pipeline that is given the prompt's embeddings."""
    return {**parts(), "tokenizer": None, "text_encoder": None}


register(parts, {"pixart-alpha": "PixArtAlphaPipeline", "pixart-sigma": "PixArtSigmaPipeline"})
register(parts_with_image_size, {"pixart-alpha-image-size": "PixArtAlphaPipeline"})
register(parts_without_text, {"pixart-sigma-without-text": "PixArtSigmaPipeline"})
