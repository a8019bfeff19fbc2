"""Stable Diffusion XL: base, refiner, inpainting and editing."""

from __future__ import annotations

from support import models, unet_models
from support.parts import Part
from support.tokenizers import clip_tokenizer

from .registry import Parts, Table
from .stable_diffusion import SDE

COMMON: Parts = {
    "vae": models.vae,
    "text_encoder": models.clip_text_model,
    "tokenizer": clip_tokenizer,
    **unet_models.SECOND_TEXT_ENCODER,
    "unet": unet_models.unet_xl,
    "scheduler": Part("EulerDiscreteScheduler", timestep_spacing="leading", steps_offset=1),
}

# A U-Net that also takes the mask and the masked image.
MASKED = {"unet": unet_models.unet_xl.but(in_channels=9)}
EDITED = {"unet": unet_models.unet_xl.but(in_channels=8), "is_cosxl_edit": True}

# The refiner lacks the first encoder and tokenizer.
REFINER: Parts = {
    "unet": unet_models.unet_refiner,
    "text_encoder": None,
    "tokenizer": None,
    "requires_aesthetics_score": True,
    "force_zeros_for_empty_prompt": False,
}

FAMILIES: Table = {
    "stable-diffusion-xl": ("StableDiffusionXLPipeline", COMMON),
    "stable-diffusion-xl-image-encoder": ("StableDiffusionXLPipeline", COMMON, unet_models.IMAGE_ENCODER),
    "stable-diffusion-xl-img2img": ("StableDiffusionXLImg2ImgPipeline", COMMON),
    "stable-diffusion-xl-refiner": ("StableDiffusionXLImg2ImgPipeline", COMMON, REFINER),
    "stable-diffusion-xl-inpaint": ("StableDiffusionXLInpaintPipeline", COMMON, MASKED),
    "stable-diffusion-xl-instruct-pix2pix": ("StableDiffusionXLInstructPix2PixPipeline", COMMON, EDITED),
    "stable-diffusion-xl-ledits-pp": ("LEditsPPPipelineStableDiffusionXL", COMMON, SDE),
}
