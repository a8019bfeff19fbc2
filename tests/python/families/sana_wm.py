"""SANA-WM's worlds from an image, and its refiner upon LTX 2."""

from __future__ import annotations

from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    SanaWMLTX2Refiner,
    SanaWMLTX2RefinerTransformer3DModel,
    SanaWMPipeline,
    SanaWMTransformer3DModel,
)

from support import language_models, video_models
from support.models import randomised

from . import ltx2
from .registry import family


@family("sana-wm")
def sana_wm() -> SanaWMPipeline:
    transformer = SanaWMTransformer3DModel(
        in_channels=4,
        num_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        softmax_every_n=2,
        linear_head_dim=8,
        chunk_plucker_channels=4,
        chunk_plucker_post_attn_blocks=1,
        image_size=64,
        caption_channels=8,
        mlp_ratio=1.0,
    )
    return SanaWMPipeline(
        tokenizer=language_models.gemma_tokenizer(),
        text_encoder=language_models.gemma2(),
        vae=ltx2.vae(),
        transformer=randomised(transformer, seed=40),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


@family("sana-wm-refiner")
def sana_wm_refiner() -> SanaWMLTX2Refiner:
    return SanaWMLTX2Refiner(
        transformer=ltx2.transformer(kind=SanaWMLTX2RefinerTransformer3DModel),
        connectors=ltx2.connectors(),
        tokenizer=language_models.gemma_tokenizer(),
        text_encoder=video_models.gemma3(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=ltx2.vae(),
    )
