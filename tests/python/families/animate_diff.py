"""AnimateDiff: motion modules in the U-Nets of Stable Diffusion and Stable Diffusion XL."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AnimateDiffControlNetPipeline,
    AnimateDiffPAGPipeline,
    AnimateDiffPipeline,
    AnimateDiffSDXLPipeline,
    AnimateDiffSparseControlNetPipeline,
    AnimateDiffVideoToVideoControlNetPipeline,
    AnimateDiffVideoToVideoPipeline,
    DDIMScheduler,
    MotionAdapter,
    SparseControlNetModel,
)

from support import models, unet_models
from support.models import randomised
from support.tokenizers import clip_tokenizer

from .registry import family


def motion_adapter(seed: int = 40, **options: Any) -> MotionAdapter:
    return randomised(
        MotionAdapter(
            block_out_channels=(4, 8),
            motion_layers_per_block=1,
            motion_norm_num_groups=2,
            motion_num_attention_heads=2,
            motion_max_seq_length=4,
            **options,
        ),
        seed,
    )


def sparse_controlnet(seed: int = 42) -> SparseControlNetModel:
    return randomised(
        SparseControlNetModel(
            block_out_channels=(4, 8),
            down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion"),
            layers_per_block=1,
            norm_num_groups=2,
            cross_attention_dim=8,
            attention_head_dim=2,
            motion_max_seq_length=4,
            motion_num_attention_heads=2,
        ),
        seed,
    )


def parts() -> dict[str, Any]:
    return {
        "vae": models.vae(),
        "text_encoder": models.clip_text_model(),
        "tokenizer": clip_tokenizer(),
        "unet": models.unet(),
        "motion_adapter": motion_adapter(),
        "scheduler": DDIMScheduler(beta_schedule="linear", steps_offset=1, clip_sample=False),
    }


@family("animate-diff")
def animate_diff() -> AnimateDiffPipeline:
    return AnimateDiffPipeline(**parts())


@family("animate-diff-with-image-encoder")
def animate_diff_with_image_encoder() -> AnimateDiffPipeline:
    return AnimateDiffPipeline(
        **parts(),
        feature_extractor=unet_models.clip_image_processor(),
        image_encoder=unet_models.clip_vision_model_with_projection(),
    )


@family("animate-diff-sdxl")
def animate_diff_sdxl() -> AnimateDiffSDXLPipeline:
    changes = {
        "unet": unet_models.unet_xl(),
        "motion_adapter": motion_adapter(use_motion_mid_block=False),
        "text_encoder_2": models.clip_text_model_with_projection(),
        "tokenizer_2": clip_tokenizer(pad_token="a"),
    }
    return AnimateDiffSDXLPipeline(**{**parts(), **changes})


@family("animate-diff-pag")
def animate_diff_pag() -> AnimateDiffPAGPipeline:
    return AnimateDiffPAGPipeline(**parts())


@family("animate-diff-controlnet")
def animate_diff_controlnet() -> AnimateDiffControlNetPipeline:
    return AnimateDiffControlNetPipeline(**parts(), controlnet=unet_models.controlnet())


@family("animate-diff-controlnets")
def animate_diff_controlnets() -> AnimateDiffControlNetPipeline:
    return AnimateDiffControlNetPipeline(**parts(), controlnet=[unet_models.controlnet(50), unet_models.controlnet(51)])


@family("animate-diff-sparse-controlnet")
def animate_diff_sparse_controlnet() -> AnimateDiffSparseControlNetPipeline:
    return AnimateDiffSparseControlNetPipeline(**parts(), controlnet=sparse_controlnet())


@family("animate-diff-video-to-video")
def animate_diff_video_to_video() -> AnimateDiffVideoToVideoPipeline:
    return AnimateDiffVideoToVideoPipeline(**parts())


@family("animate-diff-video-to-video-controlnet")
def animate_diff_video_to_video_controlnet() -> AnimateDiffVideoToVideoControlNetPipeline:
    return AnimateDiffVideoToVideoControlNetPipeline(**parts(), controlnet=unet_models.controlnet())
