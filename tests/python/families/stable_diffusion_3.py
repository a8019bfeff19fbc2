"""Stable Diffusion 3: two CLIP encoders and a T5 encoder, of which transformers keeps parts in float32."""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from support import image_encoders, models, transformer_models
from support.tokenizers import clip_tokenizer, t5_tokenizer

from .shared_parts import register


def parts() -> dict[str, Any]:
    return {
        "transformer": models.sd3_transformer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "vae": models.vae(),
        "text_encoder": models.clip_text_model_with_projection(seed=20),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": models.clip_text_model_with_projection(seed=21),
        "tokenizer_2": clip_tokenizer(pad_token="a"),
        "text_encoder_3": models.t5_encoder(hidden_size=16),
        "tokenizer_3": t5_tokenizer(),
    }


def parts_of_3_5() -> dict[str, Any]:
    """Return the parts of version 3.5: its transformer has normalised queries and blocks with two attentions."""
    return {**parts(), "transformer": transformer_models.sd3_5_transformer()}


def parts_with_image_encoder() -> dict[str, Any]:
    return {
        **parts(),
        "image_encoder": image_encoders.siglip_vision_model(),
        "feature_extractor": image_encoders.siglip_image_processor(),
    }


def parts_with_controlnet() -> dict[str, Any]:
    return {**parts(), "controlnet": transformer_models.sd3_controlnet()}


register(
    parts,
    {
        "stable-diffusion-3": "StableDiffusion3Pipeline",
        "stable-diffusion-3-img2img": "StableDiffusion3Img2ImgPipeline",
        "stable-diffusion-3-inpaint": "StableDiffusion3InpaintPipeline",
    },
)
register(parts_of_3_5, {"stable-diffusion-3.5": "StableDiffusion3Pipeline"})
register(parts_with_image_encoder, {"stable-diffusion-3-image-encoder": "StableDiffusion3Pipeline"})
register(
    parts_with_controlnet,
    {
        "stable-diffusion-3-controlnet": "StableDiffusion3ControlNetPipeline",
        "stable-diffusion-3-controlnet-inpaint": "StableDiffusion3ControlNetInpaintingPipeline",
    },
)
