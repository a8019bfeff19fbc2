"""Stable Diffusion 3: two CLIP encoders and a T5 encoder, of which transformers keeps parts in float32."""

from __future__ import annotations

from support import models, unet_models
from support.parts import Part
from support.tokenizers import clip_tokenizer, t5_tokenizer

from .registry import Parts, Table

COMMON: Parts = {
    "transformer": models.sd3_transformer,
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", shift=3.0),
    "vae": models.vae,
    "text_encoder": models.clip_text_model_with_projection,
    "tokenizer": clip_tokenizer,
    **unet_models.SECOND_TEXT_ENCODER,
    "text_encoder_3": models.t5_encoder.but(d_model=16),
    "tokenizer_3": t5_tokenizer,
}
# The transformer of version 3.5 has normalised queries and blocks with two attentions.
VERSION_3_5 = {"transformer": models.sd3_transformer.but(dual_attention_layers=(0,), qk_norm="rms_norm")}
CONTROLNET = {"controlnet": models.sd3_transformer.of("SD3ControlNetModel", num_layers=1)}

FAMILIES: Table = {
    "stable-diffusion-3": ("StableDiffusion3Pipeline", COMMON),
    "stable-diffusion-3-img2img": ("StableDiffusion3Img2ImgPipeline", COMMON),
    "stable-diffusion-3-inpaint": ("StableDiffusion3InpaintPipeline", COMMON),
    "stable-diffusion-3.5": ("StableDiffusion3Pipeline", COMMON, VERSION_3_5),
    "stable-diffusion-3-image-encoder": ("StableDiffusion3Pipeline", COMMON, unet_models.SIGLIP_ENCODER),
    "stable-diffusion-3-controlnet": ("StableDiffusion3ControlNetPipeline", COMMON, CONTROLNET),
    "stable-diffusion-3-controlnet-inpaint": ("StableDiffusion3ControlNetInpaintingPipeline", COMMON, CONTROLNET),
}
