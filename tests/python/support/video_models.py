"""Tiny models that several families of video pipelines share, beside those of `models`."""

from __future__ import annotations

from . import models
from .parts import Part

# What a transformer that also takes an image has.
IMAGE_CONDITIONED = {"in_channels": 12, "image_dim": 8, "added_kv_proj_dim": 24}

# A mean and a deviation for each of its latent channels, which some pipelines read.
wan_vae = models.wan_vae.but(latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[1.1, 1.2, 1.3, 1.4])
# The residual autoencoder of Wan 2.2's smaller model, which patches its frames.
wan_vae_2_2 = wan_vae.but(is_residual=True, in_channels=12, out_channels=12, patch_size=2, scale_factor_spatial=16)

hunyuan_video_vae = Part(
    "AutoencoderKLHunyuanVideo",
    latent_channels=4,
    down_block_types=("HunyuanVideoDownBlock3D",) * 4,
    up_block_types=("HunyuanVideoUpBlock3D",) * 4,
    block_out_channels=(4, 4, 4, 4),
    layers_per_block=1,
    norm_num_groups=2,
)
