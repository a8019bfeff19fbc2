"""CogView 3 Plus and CogView 4."""

from __future__ import annotations

from typing import Any

from diffusers import CogVideoXDDIMScheduler, FlowMatchEulerDiscreteScheduler

from support import further_transformers, language_models, models
from support.tokenizers import t5_tokenizer

from .shared_parts import register


def parts_of_3_plus() -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": models.t5_encoder(),
        "vae": models.vae(),
        "transformer": further_transformers.cogview_3_plus_transformer(),
        "scheduler": CogVideoXDDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True),
    }


def parts_of_4() -> dict[str, Any]:
    return {
        "tokenizer": language_models.fast_tokenizer(("<|endoftext|>", "[gMASK]", "<sop>")),
        "text_encoder": language_models.glm(),
        "vae": models.vae(),
        "transformer": further_transformers.cogview_4_transformer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(base_shift=0.25, max_shift=0.75, use_dynamic_shifting=True),
    }


def control_parts_of_4() -> dict[str, Any]:
    return {**parts_of_4(), "transformer": further_transformers.cogview_4_transformer(in_channels=8)}


register(parts_of_3_plus, {"cogview-3-plus": "CogView3PlusPipeline"})
register(parts_of_4, {"cogview-4": "CogView4Pipeline"})
register(control_parts_of_4, {"cogview-4-control": "CogView4ControlPipeline"})
