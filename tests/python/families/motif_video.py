"""Motif Video: text and image to video, with a guider among its components."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AdaptiveProjectedGuidance,
    FlowMatchEulerDiscreteScheduler,
    MotifVideoImage2VideoPipeline,
    MotifVideoPipeline,
    MotifVideoTransformer3DModel,
)
from transformers import T5Gemma2Encoder, T5Gemma2EncoderConfig

from support import language_models, video_models
from support.models import randomised

from .registry import family


def t5gemma2_encoder(seed: int = 50) -> T5Gemma2Encoder:
    text = {**language_models.decoder_options(), "head_dim": 4, "query_pre_attn_scalar": 4, "dropout_rate": 0.0}
    config = T5Gemma2EncoderConfig(
        text_config=text, vision_config=video_models.siglip_vision_config().to_dict(), mm_tokens_per_image=4
    )
    return randomised(T5Gemma2Encoder(config), seed)


def parts(**options: Any) -> dict[str, Any]:
    transformer = MotifVideoTransformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_single_layers=1,
        mlp_ratio=1.0,
        patch_size=1,
        text_embed_dim=8,
        rope_axes_dim=(2, 2, 4),
        **options,
    )
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=15.0),
        "vae": video_models.wan_vae(),
        "text_encoder": t5gemma2_encoder(),
        "tokenizer": language_models.gemma_tokenizer(),
        "transformer": randomised(transformer, seed=51),
        "guider": AdaptiveProjectedGuidance(guidance_scale=8.0),
    }


@family("motif-video")
def motif_video() -> MotifVideoPipeline:
    return MotifVideoPipeline(**parts())


@family("motif-video-image-to-video")
def motif_video_image_to_video() -> MotifVideoImage2VideoPipeline:
    return MotifVideoImage2VideoPipeline(
        **parts(image_embed_dim=8), feature_extractor=video_models.siglip_image_processor()
    )
