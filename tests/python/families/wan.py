"""Wan 2.1 and 2.2: text, image and video to video, VACE and Animate."""

from __future__ import annotations

from typing import Any

from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanAnimatePipeline,
    WanAnimateTransformer3DModel,
    WanImageToVideoPipeline,
    WanPipeline,
    WanVACEPipeline,
    WanVACETransformer3DModel,
    WanVideoToVideoPipeline,
)

from support import models, unet_models, video_models
from support.tokenizers import t5_tokenizer

from .registry import family


def parts(**changes: Any) -> dict[str, Any]:
    """Return what Wan's pipelines have in common, with `changes`."""
    usual = {
        "tokenizer": t5_tokenizer(),
        "text_encoder": models.umt5_encoder(),
        "vae": models.wan_vae(),
        "scheduler": UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    }
    return {**usual, **changes}


def clip_image_parts() -> dict[str, Any]:
    return {
        "image_encoder": unet_models.clip_vision_model(),
        "image_processor": unet_models.clip_image_processor(),
    }


def vace_transformer(seed: int) -> WanVACETransformer3DModel:
    return video_models.wan_transformer(seed, WanVACETransformer3DModel, vace_layers=[0, 1], vace_in_channels=12)


@family("wan-2.1-text-to-video")
def wan_2_1_text_to_video() -> WanPipeline:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=7.0)
    return WanPipeline(**parts(scheduler=scheduler, transformer=models.wan_transformer()))


@family("wan-2.2-text-to-video")
def wan_2_2_text_to_video() -> WanPipeline:
    return WanPipeline(
        **parts(transformer=models.wan_transformer(), transformer_2=video_models.wan_transformer()),
        boundary_ratio=0.875,
    )


@family("wan-2.2-text-to-video-low-noise-only")
def wan_2_2_text_to_video_low_noise_only() -> WanPipeline:
    return WanPipeline(**parts(transformer=None, transformer_2=video_models.wan_transformer()), boundary_ratio=1.0)


@family("wan-2.2-text-image-to-video")
def wan_2_2_text_image_to_video() -> WanPipeline:
    vae = video_models.wan_vae_2_2()
    return WanPipeline(**parts(vae=vae, transformer=models.wan_transformer()), expand_timesteps=True)


@family("wan-2.1-image-to-video")
def wan_2_1_image_to_video() -> WanImageToVideoPipeline:
    transformer = video_models.wan_transformer(in_channels=12, image_dim=8, added_kv_proj_dim=24)
    return WanImageToVideoPipeline(**parts(**clip_image_parts(), transformer=transformer))


@family("wan-2.1-first-last-frame-to-video")
def wan_2_1_first_last_frame_to_video() -> WanImageToVideoPipeline:
    transformer = video_models.wan_transformer(
        in_channels=12, image_dim=8, added_kv_proj_dim=24, pos_embed_seq_len=2 * 5
    )
    return WanImageToVideoPipeline(**parts(**clip_image_parts(), transformer=transformer))


@family("wan-2.2-image-to-video")
def wan_2_2_image_to_video() -> WanImageToVideoPipeline:
    return WanImageToVideoPipeline(
        **parts(
            transformer=video_models.wan_transformer(40, in_channels=12),
            transformer_2=video_models.wan_transformer(41, in_channels=12),
        ),
        boundary_ratio=0.9,
    )


@family("wan-2.2-image-to-video-low-noise-only")
def wan_2_2_image_to_video_low_noise_only() -> WanImageToVideoPipeline:
    transformer = video_models.wan_transformer(in_channels=12)
    return WanImageToVideoPipeline(**parts(transformer=None, transformer_2=transformer), boundary_ratio=1.0)


@family("wan-2.2-image-to-video-expanded-timesteps")
def wan_2_2_image_to_video_expanded_timesteps() -> WanImageToVideoPipeline:
    vae = video_models.wan_vae_2_2()
    return WanImageToVideoPipeline(**parts(vae=vae, transformer=models.wan_transformer()), expand_timesteps=True)


@family("wan-video-to-video")
def wan_video_to_video() -> WanVideoToVideoPipeline:
    return WanVideoToVideoPipeline(**parts(transformer=models.wan_transformer()))


@family("wan-2.1-vace")
def wan_2_1_vace() -> WanVACEPipeline:
    return WanVACEPipeline(**parts(transformer=vace_transformer(40)))


@family("wan-2.2-vace")
def wan_2_2_vace() -> WanVACEPipeline:
    return WanVACEPipeline(
        **parts(transformer=vace_transformer(40), transformer_2=vace_transformer(41)), boundary_ratio=0.875
    )


@family("wan-animate")
def wan_animate() -> WanAnimatePipeline:
    transformer = video_models.wan_transformer(
        kind=WanAnimateTransformer3DModel,
        in_channels=12,
        latent_channels=4,
        image_dim=8,
        added_kv_proj_dim=24,
        motion_encoder_channel_sizes={"4": 4, "8": 4, "16": 4},
        motion_encoder_size=16,
        motion_style_dim=4,
        motion_dim=4,
        motion_encoder_dim=4,
        face_encoder_hidden_dim=4,
        face_encoder_num_heads=2,
        inject_face_latents_blocks=2,
    )
    return WanAnimatePipeline(**parts(**clip_image_parts(), transformer=transformer))
