"""Kandinsky 5's videos and images, and Kandinsky 6's videos with sound and its super resolution."""

from __future__ import annotations

from typing import Any

import diffusers
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    Kandinsky5I2IPipeline,
    Kandinsky5I2VPipeline,
    Kandinsky5T2IPipeline,
    Kandinsky5T2VPipeline,
    Kandinsky5Transformer3DModel,
)

from support import models, video_models, vision_language_models
from support.models import randomised
from support.tokenizers import clip_tokenizer

from .registry import family

# Of the transformers of both versions.
COMMON: dict[str, Any] = {
    "in_visual_dim": 4,
    "out_visual_dim": 4,
    "in_text_dim": 16,
    "in_text_dim2": 8,
    "time_dim": 8,
    "model_dim": 16,
    "ff_dim": 16,
    "num_text_blocks": 1,
    "num_visual_blocks": 1,
    "axes_dims": (2, 2, 4),
}


def transformer(seed: int = 50, **options: Any) -> Kandinsky5Transformer3DModel:
    return randomised(Kandinsky5Transformer3DModel(**COMMON, **options), seed)


def text_parts() -> dict[str, Any]:
    return {
        "text_encoder": vision_language_models.qwen2_5_vl(),
        "tokenizer": vision_language_models.qwen2_vl_processor(),
        "text_encoder_2": models.clip_text_model(),
        "tokenizer_2": clip_tokenizer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0),
    }


@family("kandinsky-5-text-to-video")
def kandinsky_5_text_to_video() -> Kandinsky5T2VPipeline:
    return Kandinsky5T2VPipeline(**text_parts(), vae=video_models.hunyuan_video_vae(), transformer=transformer())


@family("kandinsky-5-image-to-video")
def kandinsky_5_image_to_video() -> Kandinsky5I2VPipeline:
    conditioned = transformer(visual_cond=True)
    return Kandinsky5I2VPipeline(**text_parts(), vae=video_models.hunyuan_video_vae(), transformer=conditioned)


@family("kandinsky-5-text-to-image")
def kandinsky_5_text_to_image() -> Kandinsky5T2IPipeline:
    return Kandinsky5T2IPipeline(**text_parts(), vae=models.vae(), transformer=transformer())


@family("kandinsky-5-image-to-image")
def kandinsky_5_image_to_image() -> Kandinsky5I2IPipeline:
    return Kandinsky5I2IPipeline(**text_parts(), vae=models.vae(), transformer=transformer(visual_cond=True))


@family("kandinsky-6-video-with-sound")
def kandinsky_6_video_with_sound() -> diffusers.Kandinsky6TI2VAPipeline:
    sounding = diffusers.Kandinsky6Transformer3DModel(
        **COMMON,
        in_audio_dim=4,
        out_audio_dim=4,
        model_dim_a=8,
        time_dim_a=8,
        ff_dim_a=8,
        axes_dims_a=(2, 2, 4),
    )
    audio_vae = diffusers.MMAudioVAE(
        mel_bins=8, latent_channels=4, hidden_channels=8, channel_multipliers=(1, 2), n_fft=32
    )
    vocoder = diffusers.MMAudioVocoder(
        num_mels=8,
        upsample_initial_channel=8,
        upsample_rates=(2, 2),
        upsample_kernel_sizes=(4, 4),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3),),
    )
    parts = {**text_parts(), "tokenizer": vision_language_models.qwen2_5_vl_processor()}
    return diffusers.Kandinsky6TI2VAPipeline(
        **parts,
        vae=video_models.hunyuan_video_vae(),
        transformer=randomised(sounding, seed=51),
        audio_vae=randomised(audio_vae, seed=52),
        vocoder=randomised(vocoder, seed=53),
    )


@family("kandinsky-6-super-resolution")
def kandinsky_6_super_resolution() -> diffusers.Kandinsky6SRPipeline:
    upscaling = diffusers.Kandinsky6SRTransformer3DModel(
        in_visual_dim=4,
        out_visual_dim=8,
        time_dim=8,
        model_dim=16,
        ff_dim=16,
        num_visual_blocks=1,
        axes_dims=(2, 2, 4),
    )
    vae = diffusers.Kandinsky6SRVAE(
        latent_channels=4,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        layers_per_block=1,
    )
    upscaler = diffusers.Kandinsky6SRLatentUpscalerBank(
        in_channels=4,
        stage_channels=(8, 8, 8),
        num_pre_blocks=1,
        num_mid_blocks=1,
        num_post_blocks=1,
        num_x2_adapter_blocks=1,
    )
    return diffusers.Kandinsky6SRPipeline(
        transformer=randomised(upscaling, seed=51),
        vae=randomised(vae, seed=52),
        scheduler=diffusers.PiflowScheduler(),
        latent_upscaler=randomised(upscaler, seed=53),
    )
