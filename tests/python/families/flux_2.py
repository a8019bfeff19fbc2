"""Flux 2: a language model's hidden states, and an autoencoder whose batch norm has statistics in its file."""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from support import language_models, models, transformer_models, vision_language_models

from .shared_parts import register


def parts() -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "vae": models.vae_with_statistics(),
        "text_encoder": vision_language_models.mistral3(),
        "tokenizer": vision_language_models.pixtral_processor(),
        "transformer": transformer_models.flux_2_transformer(),
    }


def klein_parts() -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "vae": models.vae_with_statistics(),
        "text_encoder": language_models.qwen3_causal(layers=3),
        "tokenizer": language_models.qwen_tokenizer(),
        "transformer": transformer_models.flux_2_transformer(guidance_embeds=False),
    }


def distilled_klein_parts() -> dict[str, Any]:
    return {**klein_parts(), "is_distilled": True}


register(parts, {"flux-2": "Flux2Pipeline"})
register(
    klein_parts,
    {"flux-2-klein-base": "Flux2KleinPipeline", "flux-2-klein-inpaint": "Flux2KleinInpaintPipeline"},
)
register(
    distilled_klein_parts,
    {"flux-2-klein": "Flux2KleinPipeline", "flux-2-klein-key-values": "Flux2KleinKVPipeline"},
)
