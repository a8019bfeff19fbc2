"""Pipelines with perturbed attention guidance: the components of others, and the layers that it is applied to."""

from __future__ import annotations

from support import models
from support.parts import Part
from support.tokenizers import t5_tokenizer

from . import kolors, stable_diffusion, stable_diffusion_3, stable_diffusion_xl
from .controlnet import GUIDED, GUIDED_XL
from .registry import Parts, Table

SIGMA: Parts = {
    "tokenizer": t5_tokenizer,
    "text_encoder": models.t5_encoder,
    "vae": models.vae,
    "transformer": models.pixart_transformer,
    "scheduler": Part("DPMSolverMultistepScheduler"),
    "pag_applied_layers": "blocks.0",
}
VERSION_3: Parts = {**stable_diffusion_3.COMMON, "scheduler": Part("FlowMatchEulerDiscreteScheduler")}

FAMILIES: Table = {
    "stable-diffusion-pag": (
        "StableDiffusionPAGPipeline",
        stable_diffusion.COMMON,
        {"pag_applied_layers": ["down.block_1", "mid"]},
    ),
    "stable-diffusion-pag-img2img": ("StableDiffusionPAGImg2ImgPipeline", stable_diffusion.COMMON),
    "stable-diffusion-pag-inpaint": (
        "StableDiffusionPAGInpaintPipeline",
        stable_diffusion.COMMON,
        stable_diffusion.MASKED,
    ),
    "stable-diffusion-controlnet-pag": ("StableDiffusionControlNetPAGPipeline", GUIDED),
    "stable-diffusion-controlnet-pag-inpaint": ("StableDiffusionControlNetPAGInpaintPipeline", GUIDED),
    "stable-diffusion-xl-pag": ("StableDiffusionXLPAGPipeline", stable_diffusion_xl.COMMON),
    "stable-diffusion-xl-pag-img2img": ("StableDiffusionXLPAGImg2ImgPipeline", stable_diffusion_xl.COMMON),
    "stable-diffusion-xl-pag-inpaint": (
        "StableDiffusionXLPAGInpaintPipeline",
        stable_diffusion_xl.COMMON,
        stable_diffusion_xl.MASKED,
    ),
    "stable-diffusion-xl-controlnet-pag": ("StableDiffusionXLControlNetPAGPipeline", GUIDED_XL),
    "stable-diffusion-xl-controlnet-pag-img2img": ("StableDiffusionXLControlNetPAGImg2ImgPipeline", GUIDED_XL),
    "kolors-pag": ("KolorsPAGPipeline", kolors.COMMON),
    "pixart-sigma-pag": ("PixArtSigmaPAGPipeline", SIGMA),
    "stable-diffusion-3-pag": ("StableDiffusion3PAGPipeline", VERSION_3),
    "stable-diffusion-3-pag-img2img": ("StableDiffusion3PAGImg2ImgPipeline", VERSION_3),
}
