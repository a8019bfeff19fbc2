"""HunyuanImage 2.1 and its refiner: a transformer of which parts stay in float32, and guiders among the components."""

from __future__ import annotations

from typing import Any

from diffusers import AdaptiveProjectedMixGuidance, FlowMatchEulerDiscreteScheduler

from support import autoencoders, further_transformers, language_models, vision_language_models

from .shared_parts import register


def parts() -> dict[str, Any]:
    """Return parts whose transformer does without the layers for rendered text, which are 2048 wide at the least."""
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        "vae": autoencoders.hunyuan_image_vae(),
        "text_encoder": vision_language_models.qwen2_5_vl(),
        "tokenizer": language_models.qwen_tokenizer(),
        "text_encoder_2": language_models.byt5_encoder(),
        "tokenizer_2": language_models.byt5_tokenizer(),
        "transformer": further_transformers.hunyuan_image_transformer(),
    }


def parts_with_guiders() -> dict[str, Any]:
    return {
        **parts(),
        "guider": AdaptiveProjectedMixGuidance(guidance_scale=3.25, adaptive_projected_guidance_start_step=4),
        "ocr_guider": AdaptiveProjectedMixGuidance(guidance_scale=3.75, adaptive_projected_guidance_start_step=38),
    }


def distilled_parts() -> dict[str, Any]:
    transformer = further_transformers.hunyuan_image_transformer(guidance_embeds=True, use_meanflow=True)
    return {**parts(), "transformer": transformer}


def refiner_parts() -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=4.0),
        "vae": autoencoders.hunyuan_image_refiner_vae(),
        "text_encoder": vision_language_models.qwen2_5_vl(),
        "tokenizer": language_models.qwen_tokenizer(),
        "transformer": further_transformers.hunyuan_image_transformer(
            in_channels=8, out_channels=4, patch_size=(1, 1, 1), rope_axes_dim=(2, 1, 1)
        ),
    }


register(parts, {"hunyuan-image": "HunyuanImagePipeline"})
register(parts_with_guiders, {"hunyuan-image-guiders": "HunyuanImagePipeline"})
register(distilled_parts, {"hunyuan-image-distilled": "HunyuanImagePipeline"})
register(refiner_parts, {"hunyuan-image-refiner": "HunyuanImageRefinerPipeline"})
