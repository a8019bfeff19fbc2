"""DeepFloyd IF: a U-Net on pixels behind T5, and the ones that enlarge its images."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDPMScheduler,
    IFImg2ImgPipeline,
    IFImg2ImgSuperResolutionPipeline,
    IFInpaintingPipeline,
    IFInpaintingSuperResolutionPipeline,
    IFPipeline,
    IFSuperResolutionPipeline,
)
from diffusers.pipelines.deepfloyd_if import IFWatermarker

from support import models, unet_models
from support.tokenizers import t5_tokenizer

from .registry import family


def deepfloyd_parts(in_channels: int = 3, **options: Any) -> dict[str, Any]:
    """Return the components that all of IF's pipelines share; `options` are the U-Net's."""
    unet = models.unet(
        in_channels=in_channels,
        out_channels=6,
        cross_attention_dim=32,  # its norm always has 32 groups
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        encoder_hid_dim=8,
        cross_attention_norm="group_norm",
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
        **options,
    )
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": models.t5_encoder(),
        "unet": unet,
        "scheduler": DDPMScheduler(variance_type="learned_range", thresholding=True, beta_schedule="squaredcos_cap_v2"),
        "safety_checker": None,  # transformers 5 loads no IFSafetyChecker
        "feature_extractor": unet_models.clip_image_processor(),
        "watermarker": IFWatermarker(),
        "requires_safety_checker": False,
    }


def super_resolution_parts() -> dict[str, Any]:
    """Return the components of the second stage, whose U-Net also takes the small image and its noise level."""
    return {
        **deepfloyd_parts(in_channels=6, class_embed_type="timestep"),
        "image_noising_scheduler": DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    }


@family("deepfloyd-if")
def text_to_image() -> IFPipeline:
    return IFPipeline(**deepfloyd_parts())


@family("deepfloyd-if-img2img")
def image_to_image() -> IFImg2ImgPipeline:
    return IFImg2ImgPipeline(**deepfloyd_parts())


@family("deepfloyd-if-inpainting")
def inpainting() -> IFInpaintingPipeline:
    return IFInpaintingPipeline(**deepfloyd_parts())


@family("deepfloyd-if-super-resolution")
def super_resolution() -> IFSuperResolutionPipeline:
    return IFSuperResolutionPipeline(**super_resolution_parts())


@family("deepfloyd-if-super-resolution-without-encoder")
def super_resolution_without_encoder() -> IFSuperResolutionPipeline:
    """Build a pipeline that is saved without the encoder, to take the first stage's embeddings."""
    absent = {"tokenizer": None, "text_encoder": None, "feature_extractor": None, "watermarker": None}
    return IFSuperResolutionPipeline(**{**super_resolution_parts(), **absent})


@family("deepfloyd-if-img2img-super-resolution")
def image_to_image_super_resolution() -> IFImg2ImgSuperResolutionPipeline:
    return IFImg2ImgSuperResolutionPipeline(**super_resolution_parts())


@family("deepfloyd-if-inpainting-super-resolution")
def inpainting_super_resolution() -> IFInpaintingSuperResolutionPipeline:
    return IFInpaintingSuperResolutionPipeline(**super_resolution_parts())
