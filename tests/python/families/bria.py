"""Bria: one T5 encoder in the first generation, language models in Fibo."""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from support import further_transformers, image_encoders, language_models, models, vision_language_models
from support.tokenizers import t5_tokenizer

from .shared_parts import register


def parts() -> dict[str, Any]:
    return {
        "transformer": further_transformers.bria_transformer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "vae": models.vae(),
        "text_encoder": models.t5_encoder(),
        "tokenizer": t5_tokenizer(),
    }


def parts_with_image_encoder() -> dict[str, Any]:
    return {
        **parts(),
        "image_encoder": image_encoders.clip_vision_model(),
        "feature_extractor": image_encoders.clip_image_processor(),
    }


def fibo_parts() -> dict[str, Any]:
    return {
        "transformer": further_transformers.bria_fibo_transformer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "vae": models.wan_vae(),
        "text_encoder": language_models.smollm3(layers=2),
        "tokenizer": language_models.fast_tokenizer(),
    }


def fibo_2_parts() -> dict[str, Any]:
    return {
        "transformer": further_transformers.bria_fibo_2_transformer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "vae": models.vae_with_statistics(),
        "text_encoder": vision_language_models.qwen3_vl(layers=2),
        "processor": vision_language_models.qwen3_vl_processor(),
    }


register(parts, {"bria": "BriaPipeline"})
register(parts_with_image_encoder, {"bria-image-encoder": "BriaPipeline"})
register(fibo_parts, {"bria-fibo": "BriaFiboPipeline", "bria-fibo-edit": "BriaFiboEditPipeline"})
register(fibo_2_parts, {"bria-fibo-2": "BriaFibo2Pipeline"})
