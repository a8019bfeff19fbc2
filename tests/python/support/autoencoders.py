"""Tiny autoencoders that image pipelines have instead of the usual one."""

from __future__ import annotations

import diffusers

from .models import randomised


def qwen_image_vae(seed: int = 171, **options: object) -> diffusers.AutoencoderKLQwenImage:
    settings = {
        "base_dim": 4,
        "z_dim": 4,
        "dim_mult": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "latents_mean": [0.1, 0.2, 0.3, 0.4],
        "latents_std": [1.5, 1.25, 1.75, 1.125],
    }
    return randomised(diffusers.AutoencoderKLQwenImage(**{**settings, **options}), seed)


def qwen_image_2_1_vae(seed: int = 172) -> diffusers.AutoencoderKLQwenImage21:
    model = diffusers.AutoencoderKLQwenImage21(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.1, 0.2, 0.3, 0.4],
        latents_std=[1.5, 1.25, 1.75, 1.125],
    )
    return randomised(model, seed)


def deep_compression_autoencoder(seed: int = 173) -> diffusers.AutoencoderDC:
    model = diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        upsample_block_type="interpolate",
        downsample_block_type="stride_conv",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    )
    return randomised(model, seed)


def tiny_autoencoder(seed: int = 174) -> diffusers.AutoencoderTiny:
    model = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(4, 4),
        decoder_block_out_channels=(4, 4),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    return randomised(model, seed)


def hunyuan_image_vae(seed: int = 175) -> diffusers.AutoencoderKLHunyuanImage:
    model = diffusers.AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 32),
        layers_per_block=1,
        spatial_compression_ratio=2,
        sample_size=16,
        scaling_factor=0.75289,
    )
    return randomised(model, seed)


def hunyuan_image_refiner_vae(seed: int = 176) -> diffusers.AutoencoderKLHunyuanImageRefiner:
    model = diffusers.AutoencoderKLHunyuanImageRefiner(
        latent_channels=4,
        block_out_channels=(8, 8),
        layers_per_block=1,
        spatial_compression_ratio=2,
        temporal_compression_ratio=2,
    )
    return randomised(model, seed)
