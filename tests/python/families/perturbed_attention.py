"""Pipelines with perturbed attention guidance: the components of others, and the layers that it is applied to."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    KolorsPAGPipeline,
    PixArtSigmaPAGPipeline,
    StableDiffusion3PAGImg2ImgPipeline,
    StableDiffusion3PAGPipeline,
    StableDiffusionControlNetPAGInpaintPipeline,
    StableDiffusionControlNetPAGPipeline,
    StableDiffusionPAGImg2ImgPipeline,
    StableDiffusionPAGInpaintPipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionXLControlNetPAGImg2ImgPipeline,
    StableDiffusionXLControlNetPAGPipeline,
    StableDiffusionXLPAGImg2ImgPipeline,
    StableDiffusionXLPAGInpaintPipeline,
    StableDiffusionXLPAGPipeline,
)

from support import models, unet_models
from support.tokenizers import clip_tokenizer, t5_tokenizer

from .controlnet import controlnet_parts, controlnet_xl_parts
from .kolors import kolors_parts
from .registry import family
from .stable_diffusion import stable_diffusion_parts
from .stable_diffusion_xl import stable_diffusion_xl_parts


@family("stable-diffusion-pag")
def text_to_image() -> StableDiffusionPAGPipeline:
    return StableDiffusionPAGPipeline(**stable_diffusion_parts(), pag_applied_layers=["down.block_1", "mid"])


@family("stable-diffusion-pag-img2img")
def image_to_image() -> StableDiffusionPAGImg2ImgPipeline:
    return StableDiffusionPAGImg2ImgPipeline(**stable_diffusion_parts())


@family("stable-diffusion-pag-inpaint")
def inpaint() -> StableDiffusionPAGInpaintPipeline:
    return StableDiffusionPAGInpaintPipeline(**stable_diffusion_parts(unet=models.unet(in_channels=9)))


@family("stable-diffusion-controlnet-pag")
def controlnet() -> StableDiffusionControlNetPAGPipeline:
    return StableDiffusionControlNetPAGPipeline(**controlnet_parts())


@family("stable-diffusion-controlnet-pag-inpaint")
def controlnet_inpaint() -> StableDiffusionControlNetPAGInpaintPipeline:
    return StableDiffusionControlNetPAGInpaintPipeline(**controlnet_parts())


@family("stable-diffusion-xl-pag")
def text_to_image_xl() -> StableDiffusionXLPAGPipeline:
    return StableDiffusionXLPAGPipeline(**stable_diffusion_xl_parts())


@family("stable-diffusion-xl-pag-img2img")
def image_to_image_xl() -> StableDiffusionXLPAGImg2ImgPipeline:
    return StableDiffusionXLPAGImg2ImgPipeline(**stable_diffusion_xl_parts())


@family("stable-diffusion-xl-pag-inpaint")
def inpaint_xl() -> StableDiffusionXLPAGInpaintPipeline:
    unet = unet_models.unet_xl(in_channels=9)
    return StableDiffusionXLPAGInpaintPipeline(**stable_diffusion_xl_parts(unet=unet))


@family("stable-diffusion-xl-controlnet-pag")
def controlnet_xl() -> StableDiffusionXLControlNetPAGPipeline:
    return StableDiffusionXLControlNetPAGPipeline(**controlnet_xl_parts())


@family("stable-diffusion-xl-controlnet-pag-img2img")
def controlnet_image_to_image_xl() -> StableDiffusionXLControlNetPAGImg2ImgPipeline:
    return StableDiffusionXLControlNetPAGImg2ImgPipeline(**controlnet_xl_parts())


@family("kolors-pag")
def kolors() -> KolorsPAGPipeline:
    return KolorsPAGPipeline(**kolors_parts())


@family("pixart-sigma-pag")
def pixart_sigma() -> PixArtSigmaPAGPipeline:
    return PixArtSigmaPAGPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=models.t5_encoder(),
        vae=models.vae(),
        transformer=models.pixart_transformer(),
        scheduler=DPMSolverMultistepScheduler(),
        pag_applied_layers="blocks.0",
    )


def stable_diffusion_3_parts() -> dict[str, Any]:
    """Return the components of Stable Diffusion 3 as these pipelines take them."""
    return {
        "transformer": models.sd3_transformer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "vae": models.vae(),
        "text_encoder": models.clip_text_model_with_projection(seed=20),
        "text_encoder_2": models.clip_text_model_with_projection(seed=21),
        "text_encoder_3": models.t5_encoder(hidden_size=16),
        "tokenizer": clip_tokenizer(),
        "tokenizer_2": clip_tokenizer(pad_token="a"),
        "tokenizer_3": t5_tokenizer(),
    }


@family("stable-diffusion-3-pag")
def stable_diffusion_3() -> StableDiffusion3PAGPipeline:
    return StableDiffusion3PAGPipeline(**stable_diffusion_3_parts())


@family("stable-diffusion-3-pag-img2img")
def stable_diffusion_3_image_to_image() -> StableDiffusion3PAGImg2ImgPipeline:
    return StableDiffusion3PAGImg2ImgPipeline(**stable_diffusion_3_parts())
