"""Z-Image: a Qwen 3 as the text encoder, and controlnets that share modules with the transformer."""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from support import image_encoders, language_models, models, transformer_models

from .shared_parts import register


def parts() -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "vae": models.vae(),
        "text_encoder": language_models.qwen3(),
        "tokenizer": language_models.qwen_tokenizer(),
        "transformer": transformer_models.z_image_transformer(),
    }


def omni_parts() -> dict[str, Any]:
    return {
        **parts(),
        "transformer": transformer_models.z_image_transformer(siglip_feat_dim=8),
        "siglip": image_encoders.siglip2_vision_model(),
        "siglip_processor": image_encoders.siglip2_image_processor(),
    }


def parts_with_controlnet() -> dict[str, Any]:
    return {**parts(), "controlnet": transformer_models.z_image_controlnet()}


def parts_with_refining_controlnet() -> dict[str, Any]:
    controlnet = transformer_models.z_image_controlnet(
        control_in_dim=9, add_control_noise_refiner="control_noise_refiner", control_refiner_layers_places=[0]
    )
    return {**parts(), "controlnet": controlnet}


register(
    parts,
    {
        "z-image": "ZImagePipeline",
        "z-image-img2img": "ZImageImg2ImgPipeline",
        "z-image-inpaint": "ZImageInpaintPipeline",
    },
)
register(omni_parts, {"z-image-omni": "ZImageOmniPipeline"})
register(parts_with_controlnet, {"z-image-controlnet": "ZImageControlNetPipeline"})
register(parts_with_refining_controlnet, {"z-image-controlnet-inpaint": "ZImageControlNetInpaintPipeline"})
