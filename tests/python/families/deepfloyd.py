"""DeepFloyd IF: a U-Net on pixels behind T5, and the ones that enlarge its images."""

from __future__ import annotations

from support import models, unet_models
from support.parts import Part
from support.tokenizers import t5_tokenizer

from .registry import Parts, Table
from .stable_diffusion import UNCHECKED

COMMON: Parts = {
    "tokenizer": t5_tokenizer,
    "text_encoder": models.t5_encoder,
    "unet": models.unet.but(
        in_channels=3,
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
    ),
    "scheduler": Part(
        "DDPMScheduler", variance_type="learned_range", thresholding=True, beta_schedule="squaredcos_cap_v2"
    ),
    "feature_extractor": unet_models.clip_image_processor,
    "watermarker": Part("diffusers.pipelines.deepfloyd_if.IFWatermarker"),
    **UNCHECKED,  # transformers 5 loads no IFSafetyChecker
}

# The second stage, whose U-Net also takes the small image and its noise level.
SECOND: Parts = {
    **COMMON,
    "unet": COMMON["unet"].but(in_channels=6, class_embed_type="timestep"),
    "image_noising_scheduler": Part("DDPMScheduler", beta_schedule="squaredcos_cap_v2"),
}

# Saved without the encoder, to take the first stage's embeddings.
WITHOUT_ENCODER = dict.fromkeys(("tokenizer", "text_encoder", "feature_extractor", "watermarker"))

FAMILIES: Table = {
    "deepfloyd-if": ("IFPipeline", COMMON),
    "deepfloyd-if-img2img": ("IFImg2ImgPipeline", COMMON),
    "deepfloyd-if-inpainting": ("IFInpaintingPipeline", COMMON),
    "deepfloyd-if-super-resolution": ("IFSuperResolutionPipeline", SECOND),
    "deepfloyd-if-super-resolution-without-encoder": ("IFSuperResolutionPipeline", SECOND, WITHOUT_ENCODER),
    "deepfloyd-if-img2img-super-resolution": ("IFImg2ImgSuperResolutionPipeline", SECOND),
    "deepfloyd-if-inpainting-super-resolution": ("IFInpaintingSuperResolutionPipeline", SECOND),
}
