"""Tiny models of the pipelines around U-Nets: encoders of images, ControlNets, priors and quantised autoencoders."""

from __future__ import annotations

from typing import Any

from .models import DOWN_AND_UP, SMALL, clip_text_model_with_projection, unet
from .parts import Part
from .tokenizers import padded_clip_tokenizer

XL_CONDITIONED: dict[str, Any] = {
    "cross_attention_dim": 16,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 32,
    "transformer_layers_per_block": (1, 2),
    "use_linear_projection": True,
}
"""What SDXL adds to a U-Net or a ControlNet: the pooled text and six sizes."""

unet_xl = unet.but(**XL_CONDITIONED)
# The refiner has one text encoder, and five numbers instead of six.
unet_refiner = unet_xl.but(cross_attention_dim=8, projection_class_embeddings_input_dim=28)

controlnet = Part(
    "ControlNetModel",
    block_out_channels=(4, 8),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    conditioning_embedding_out_channels=(2, 4),
    layers_per_block=1,
    norm_num_groups=2,
    cross_attention_dim=8,
    attention_head_dim=2,
)
controlnet_xl = controlnet.but(**XL_CONDITIONED)

CLIP_VISION: dict[str, Any] = {**SMALL, "projection_dim": 8, "image_size": 8, "patch_size": 4}
SIGLIP_VISION: dict[str, Any] = {**SMALL, "image_size": 8, "patch_size": 4}

clip_vision_model = Part("CLIPVisionModel", **CLIP_VISION)
clip_vision_model_with_projection = Part("CLIPVisionModelWithProjection", **CLIP_VISION)
clip_image_processor = Part("CLIPImageProcessor", size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
siglip_vision_model = Part("SiglipVisionModel", **SIGLIP_VISION)
siglip_image_processor = Part("SiglipImageProcessor", size={"height": 8, "width": 8})

IMAGE_ENCODER: dict[str, Any] = {
    "image_encoder": clip_vision_model_with_projection,
    "feature_extractor": clip_image_processor,
}
"""What image prompts need."""

SIGLIP_ENCODER: dict[str, Any] = {"image_encoder": siglip_vision_model, "feature_extractor": siglip_image_processor}

SECOND_TEXT_ENCODER: dict[str, Any] = {
    "text_encoder_2": clip_text_model_with_projection,
    "tokenizer_2": padded_clip_tokenizer,
}

# The model that makes an image's embedding from a text's.
prior_transformer = Part(
    "PriorTransformer", num_attention_heads=2, attention_head_dim=4, num_layers=1, embedding_dim=8, num_embeddings=77
)

# A quantised autoencoder.
vq_model = Part("VQModel", **DOWN_AND_UP, latent_channels=4, norm_num_groups=2, num_vq_embeddings=8, sample_size=16)
