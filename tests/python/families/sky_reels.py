"""SkyReels V2: text and image to video, and diffusion forcing."""

from __future__ import annotations

from typing import Any

from diffusers import (
    SkyReelsV2DiffusionForcingImageToVideoPipeline,
    SkyReelsV2DiffusionForcingPipeline,
    SkyReelsV2DiffusionForcingVideoToVideoPipeline,
    SkyReelsV2ImageToVideoPipeline,
    SkyReelsV2Pipeline,
    SkyReelsV2Transformer3DModel,
)

from support import unet_models, video_models

from . import wan
from .registry import family


def parts(**options: Any) -> dict[str, Any]:
    transformer = video_models.wan_transformer(kind=SkyReelsV2Transformer3DModel, **options)
    return wan.parts(transformer=transformer)


@family("sky-reels-v2")
def sky_reels_v2() -> SkyReelsV2Pipeline:
    return SkyReelsV2Pipeline(**parts())


@family("sky-reels-v2-image-to-video")
def sky_reels_v2_image_to_video() -> SkyReelsV2ImageToVideoPipeline:
    return SkyReelsV2ImageToVideoPipeline(
        **parts(in_channels=12, image_dim=8, added_kv_proj_dim=24),
        image_encoder=unet_models.clip_vision_model_with_projection(),
        image_processor=unet_models.clip_image_processor(),
    )


@family("sky-reels-v2-diffusion-forcing")
def sky_reels_v2_diffusion_forcing() -> SkyReelsV2DiffusionForcingPipeline:
    return SkyReelsV2DiffusionForcingPipeline(**parts(inject_sample_info=True))


@family("sky-reels-v2-diffusion-forcing-image-to-video")
def sky_reels_v2_diffusion_forcing_image_to_video() -> SkyReelsV2DiffusionForcingImageToVideoPipeline:
    return SkyReelsV2DiffusionForcingImageToVideoPipeline(**parts(inject_sample_info=True))


@family("sky-reels-v2-diffusion-forcing-video-to-video")
def sky_reels_v2_diffusion_forcing_video_to_video() -> SkyReelsV2DiffusionForcingVideoToVideoPipeline:
    return SkyReelsV2DiffusionForcingVideoToVideoPipeline(**parts(inject_sample_info=True))
