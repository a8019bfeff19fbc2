"""Tiny encoders of images, with the processors that prepare images for them."""

from __future__ import annotations

from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Siglip2ImageProcessor,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from .models import randomised

VISION_OPTIONS = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "patch_size": 4,
}


def clip_vision_model(seed: int = 131) -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(image_size=8, projection_dim=8, **VISION_OPTIONS)
    return randomised(CLIPVisionModelWithProjection(config), seed)


def siglip_vision_model(seed: int = 132) -> SiglipVisionModel:
    return randomised(SiglipVisionModel(SiglipVisionConfig(image_size=8, **VISION_OPTIONS)), seed)


def siglip2_vision_model(seed: int = 133) -> Siglip2VisionModel:
    return randomised(Siglip2VisionModel(Siglip2VisionConfig(num_patches=4, **VISION_OPTIONS)), seed)


def clip_image_processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})


def siglip_image_processor() -> SiglipImageProcessor:
    return SiglipImageProcessor(size={"height": 8, "width": 8})


def siglip2_image_processor() -> Siglip2ImageProcessor:
    return Siglip2ImageProcessor(patch_size=4, max_num_patches=4)
