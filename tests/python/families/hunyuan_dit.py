"""HunyuanDiT: a BERT and a T5 encoder, and a transformer with connections that skip its middle."""

from __future__ import annotations

from typing import Any

from diffusers import DDPMScheduler

from support import image_encoders, language_models, models, transformer_models
from support.tokenizers import t5_tokenizer

from .shared_parts import register


def parts() -> dict[str, Any]:
    return {
        "vae": models.vae(),
        "text_encoder": language_models.bert(),
        "tokenizer": language_models.bert_tokenizer(),
        "text_encoder_2": models.t5_encoder(),
        "tokenizer_2": t5_tokenizer(),
        "transformer": transformer_models.hunyuan_dit_transformer(),
        "scheduler": DDPMScheduler(prediction_type="v_prediction"),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def parts_with_safety_checker() -> dict[str, Any]:
    return {
        **parts(),
        "safety_checker": models.safety_checker(),
        "feature_extractor": image_encoders.clip_image_processor(),
        "requires_safety_checker": True,
    }


def parts_of_1_2() -> dict[str, Any]:
    """Return the parts of version 1.2, whose transformer takes neither the style nor the image's size."""
    transformer = transformer_models.hunyuan_dit_transformer(use_style_cond_and_image_meta_size=False)
    return {**parts(), "transformer": transformer}


def parts_with_controlnet() -> dict[str, Any]:
    return {**parts(), "controlnet": transformer_models.hunyuan_dit_controlnet()}


register(parts, {"hunyuan-dit": "HunyuanDiTPipeline", "hunyuan-dit-pag": "HunyuanDiTPAGPipeline"})
register(parts_with_safety_checker, {"hunyuan-dit-safety-checker": "HunyuanDiTPipeline"})
register(parts_of_1_2, {"hunyuan-dit-1.2": "HunyuanDiTPipeline"})
register(parts_with_controlnet, {"hunyuan-dit-controlnet": "HunyuanDiTControlNetPipeline"})
