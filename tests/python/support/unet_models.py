"""Tiny models of the pipelines around U-Nets: encoders of images, ControlNets, priors and quantised autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffusers import (
    ControlNetModel,
    PriorTransformer,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

from . import models

XL_CONDITIONED: dict[str, Any] = {
    "cross_attention_dim": 16,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 32,
    "transformer_layers_per_block": (1, 2),
    "use_linear_projection": True,
}
"""What SDXL adds to a U-Net or a ControlNet: the pooled text and six sizes."""

REFINER_CONDITIONED: dict[str, Any] = {
    **XL_CONDITIONED,
    "cross_attention_dim": 8,
    "projection_class_embeddings_input_dim": 28,
}
"""The refiner has one text encoder, and five numbers instead of six."""


def unet_xl(seed: int = 7, **options: Any) -> UNet2DConditionModel:
    return models.unet(seed, **{**XL_CONDITIONED, **options})


def unconditional_unet(seed: int = 8, **options: Any) -> UNet2DModel:
    """Return the U-Net of a pipeline without a prompt; `options` replace its settings."""
    settings: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (4, 8),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "attention_head_dim": 4,
    }
    return models.randomised(UNet2DModel(**{**settings, **options}), seed)


def controlnet(seed: int = 30, **options: Any) -> ControlNetModel:
    """Return a ControlNet for `models.unet`, or for `unet_xl` with the options `XL_CONDITIONED`."""
    settings: dict[str, Any] = {
        "block_out_channels": (4, 8),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "conditioning_embedding_out_channels": (2, 4),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "cross_attention_dim": 8,
        "attention_head_dim": 2,
    }
    return models.randomised(ControlNetModel(**{**settings, **options}), seed)


def clip_vision_config(hidden_size: int = 8, **options: Any) -> CLIPVisionConfig:
    settings: dict[str, Any] = {
        "hidden_size": hidden_size,
        "intermediate_size": 16,
        "projection_dim": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
    }
    return CLIPVisionConfig(**{**settings, **options})


def clip_vision_model(seed: int = 31) -> CLIPVisionModel:
    return models.randomised(CLIPVisionModel(clip_vision_config()), seed)


def clip_vision_model_with_projection(seed: int = 32, **options: Any) -> CLIPVisionModelWithProjection:
    return models.randomised(CLIPVisionModelWithProjection(clip_vision_config(**options)), seed)


def clip_image_processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})


def prior_transformer(seed: int = 33, **options: Any) -> PriorTransformer:
    """Return the model that makes an image's embedding from a text's."""
    settings: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 4,
        "num_layers": 1,
        "embedding_dim": 8,
        "num_embeddings": 77,
    }
    return models.randomised(PriorTransformer(**{**settings, **options}), seed)


def vq_model(seed: int = 34, block_out_channels: Sequence[int] = (4, 8), **options: Any) -> VQModel:
    """Return a quantised autoencoder; with `norm_type="spatial"`, the one of Kandinsky."""
    levels = len(block_out_channels)
    settings: dict[str, Any] = {
        "block_out_channels": tuple(block_out_channels),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "latent_channels": 4,
        "norm_num_groups": 2,
        "num_vq_embeddings": 8,
        "sample_size": 16,
    }
    return models.randomised(VQModel(**{**settings, **options}), seed)
