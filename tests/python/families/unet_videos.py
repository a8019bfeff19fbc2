"""Video pipelines of three-dimensional U-Nets and of Stable Diffusion's: ModelScope, I2VGen-XL, PIA and others."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDIMScheduler,
    I2VGenXLPipeline,
    I2VGenXLUNet,
    PIAPipeline,
    TextToVideoSDPipeline,
    TextToVideoZeroPipeline,
    TextToVideoZeroSDXLPipeline,
    UNet3DConditionModel,
    VideoToVideoSDPipeline,
)

from support import models, unet_models
from support.models import randomised
from support.tokenizers import clip_tokenizer

from .animate_diff import motion_adapter
from .registry import family

# Each of these U-Nets has group norms of 32 groups in its temporal convolutions, whatever the settings.
UNET_3D: dict[str, Any] = {
    "sample_size": 8,
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "block_out_channels": (32, 32),
    "layers_per_block": 1,
    "cross_attention_dim": 8,
    "attention_head_dim": 16,
}


def parts(**changes: Any) -> dict[str, Any]:
    usual = {
        "vae": models.vae(),
        "text_encoder": models.clip_text_model(),
        "tokenizer": clip_tokenizer(),
        "scheduler": DDIMScheduler(beta_schedule="scaled_linear", steps_offset=1, clip_sample=False),
    }
    return {**usual, **changes}


def unet_3d() -> UNet3DConditionModel:
    return randomised(UNet3DConditionModel(**UNET_3D), seed=40)


@family("text-to-video-sd")
def text_to_video_sd() -> TextToVideoSDPipeline:
    return TextToVideoSDPipeline(**parts(unet=unet_3d()))


@family("video-to-video-sd")
def video_to_video_sd() -> VideoToVideoSDPipeline:
    return VideoToVideoSDPipeline(**parts(unet=unet_3d()))


@family("i2vgen-xl")
def i2vgen_xl() -> I2VGenXLPipeline:
    return I2VGenXLPipeline(
        **parts(unet=randomised(I2VGenXLUNet(**UNET_3D), seed=40)),
        image_encoder=unet_models.clip_vision_model_with_projection(),
        feature_extractor=unet_models.clip_image_processor(),
    )


@family("pia")
def pia() -> PIAPipeline:
    """Return the pipeline whose motion adapter has the U-Net's first convolution, for five more channels."""
    return PIAPipeline(**parts(unet=models.unet()), motion_adapter=motion_adapter(conv_in_channels=9))


@family("text-to-video-zero")
def text_to_video_zero() -> TextToVideoZeroPipeline:
    return TextToVideoZeroPipeline(
        **parts(unet=models.unet()),
        safety_checker=models.safety_checker(),
        feature_extractor=unet_models.clip_image_processor(),
    )


@family("text-to-video-zero-sdxl")
def text_to_video_zero_sdxl() -> TextToVideoZeroSDXLPipeline:
    return TextToVideoZeroSDXLPipeline(
        **parts(unet=unet_models.unet_xl()),
        text_encoder_2=models.clip_text_model_with_projection(),
        tokenizer_2=clip_tokenizer(pad_token="a"),
        add_watermarker=False,
    )
