"""Stable Diffusion XL: base, refiner and inpainting."""

from __future__ import annotations

from typing import Any

from diffusers import (
    EulerDiscreteScheduler,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLInstructPix2PixPipeline,
    StableDiffusionXLPipeline,
)

from support import models, unet_models
from support.tokenizers import clip_tokenizer

from .registry import family


def stable_diffusion_xl_parts(**changes: Any) -> dict[str, Any]:
    """Return the components that the pipelines around Stable Diffusion XL share, but for `changes`."""
    parts = {
        "vae": models.vae(),
        "text_encoder": models.clip_text_model(),
        "text_encoder_2": models.clip_text_model_with_projection(),
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(pad_token="a"),
        "unet": unet_models.unet_xl(),
        "scheduler": EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1),
    }
    return {**parts, **changes}


def refiner_parts() -> dict[str, Any]:
    """Return the components of the refiner, which lacks the first encoder and tokenizer."""
    unet = models.unet(**unet_models.REFINER_CONDITIONED)
    return stable_diffusion_xl_parts(unet=unet, text_encoder=None, tokenizer=None)


@family("stable-diffusion-xl")
def text_to_image() -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline(**stable_diffusion_xl_parts())


@family("stable-diffusion-xl-image-encoder")
def with_image_encoder() -> StableDiffusionXLPipeline:
    """Build a pipeline with the encoder that image prompts need."""
    return StableDiffusionXLPipeline(
        **stable_diffusion_xl_parts(),
        image_encoder=unet_models.clip_vision_model_with_projection(),
        feature_extractor=unet_models.clip_image_processor(),
    )


@family("stable-diffusion-xl-img2img")
def image_to_image() -> StableDiffusionXLImg2ImgPipeline:
    return StableDiffusionXLImg2ImgPipeline(**stable_diffusion_xl_parts())


@family("stable-diffusion-xl-refiner")
def refiner() -> StableDiffusionXLImg2ImgPipeline:
    return StableDiffusionXLImg2ImgPipeline(
        **refiner_parts(), requires_aesthetics_score=True, force_zeros_for_empty_prompt=False
    )


@family("stable-diffusion-xl-inpaint")
def inpaint() -> StableDiffusionXLInpaintPipeline:
    """Build a pipeline whose U-Net also takes the mask and the masked image."""
    return StableDiffusionXLInpaintPipeline(**stable_diffusion_xl_parts(unet=unet_models.unet_xl(in_channels=9)))


@family("stable-diffusion-xl-instruct-pix2pix")
def instruct_pix2pix() -> StableDiffusionXLInstructPix2PixPipeline:
    """Build a pipeline whose U-Net also takes the image to edit."""
    unet = unet_models.unet_xl(in_channels=8)
    return StableDiffusionXLInstructPix2PixPipeline(**stable_diffusion_xl_parts(unet=unet), is_cosxl_edit=True)
