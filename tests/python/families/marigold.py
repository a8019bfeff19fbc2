"""Marigold: depth, normals and intrinsic images from Stable Diffusion 2's components."""

from __future__ import annotations

from typing import Any

from diffusers import DDIMScheduler, MarigoldDepthPipeline, MarigoldIntrinsicsPipeline, MarigoldNormalsPipeline

from support import models

from .registry import family
from .stable_diffusion import text_parts


def marigold_parts(images: int) -> dict[str, Any]:
    """Return the components of a pipeline that predicts `images` latent images from one."""
    unet = models.unet(in_channels=4 * (1 + images), out_channels=4 * images, use_linear_projection=True)
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing", clip_sample=False)
    return text_parts(unet=unet, scheduler=scheduler)


@family("marigold-depth")
def depth() -> MarigoldDepthPipeline:
    return MarigoldDepthPipeline(
        **marigold_parts(1), prediction_type="depth", default_denoising_steps=4, default_processing_resolution=768
    )


@family("marigold-normals")
def normals() -> MarigoldNormalsPipeline:
    return MarigoldNormalsPipeline(**marigold_parts(1), prediction_type="normals", use_full_z_range=False)


@family("marigold-intrinsics")
def intrinsics() -> MarigoldIntrinsicsPipeline:
    """Build a pipeline whose index has a dictionary of lists and dictionaries."""
    properties = {
        "target_names": ["albedo", "roughness"],
        "albedo": {"prediction_space": "srgb", "up_to_scale": False},
        "roughness": {"prediction_space": "linear"},
    }
    return MarigoldIntrinsicsPipeline(
        **marigold_parts(2), prediction_type="intrinsics", target_properties=properties, default_denoising_steps=4
    )
