"""Lumina and Lumina 2: a Gemma as the text encoder, of the generation that the pipeline's is."""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from support import language_models, models, transformer_models

from .shared_parts import register


def parts() -> dict[str, Any]:
    return {
        "transformer": transformer_models.lumina_transformer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "vae": models.vae(),
        "text_encoder": language_models.gemma(),
        "tokenizer": language_models.gemma_tokenizer(),
    }


def parts_of_2() -> dict[str, Any]:
    return {
        "transformer": transformer_models.lumina_2_transformer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=6.0),
        "vae": models.vae(),
        "text_encoder": language_models.gemma2(),
        "tokenizer": language_models.gemma_tokenizer(),
    }


register(parts, {"lumina": "LuminaPipeline"})
register(parts_of_2, {"lumina-2": "Lumina2Pipeline"})
