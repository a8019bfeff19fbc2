"""Video pipelines with models of their own: Allegro, EasyAnimate, Latte, Mochi and Sana Video."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AllegroPipeline,
    AllegroTransformer3DModel,
    AutoencoderKLAllegro,
    AutoencoderKLMagvit,
    AutoencoderKLMochi,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EasyAnimateControlPipeline,
    EasyAnimateInpaintPipeline,
    EasyAnimatePipeline,
    EasyAnimateTransformer3DModel,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LattePipeline,
    LatteTransformer3DModel,
    MochiPipeline,
    MochiTransformer3DModel,
    SanaImageToVideoPipeline,
    SanaVideoPipeline,
    SanaVideoTransformer3DModel,
)

from support import language_models, models, video_models
from support.models import randomised
from support.tokenizers import t5_tokenizer

from .registry import family


def t5_parts() -> dict[str, Any]:
    return {"text_encoder": models.t5_encoder(), "tokenizer": t5_tokenizer()}


@family("allegro")
def allegro() -> AllegroPipeline:
    transformer = AllegroTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        cross_attention_dim=24,
        sample_height=8,
        sample_width=8,
        sample_frames=8,
        caption_channels=8,
    )
    vae = AutoencoderKLAllegro(block_out_channels=(4, 4, 4, 4), layers_per_block=1, norm_num_groups=2, sample_size=32)
    return AllegroPipeline(
        **t5_parts(),
        vae=randomised(vae, seed=40),
        transformer=randomised(transformer, seed=41),
        scheduler=EulerAncestralDiscreteScheduler(),
    )


@family("latte")
def latte() -> LattePipeline:
    transformer = LatteTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=8,
        attention_bias=True,
        sample_size=8,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        caption_channels=8,
        video_length=2,
    )
    return LattePipeline(
        **t5_parts(), vae=models.vae(), transformer=randomised(transformer, seed=40), scheduler=DDIMScheduler()
    )


@family("mochi")
def mochi() -> MochiPipeline:
    transformer = MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=8,
        text_embed_dim=8,
        time_embed_dim=4,
        max_sequence_length=8,
    )
    # Its group norms have 32 groups, whatever the settings.
    vae = AutoencoderKLMochi(
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    return MochiPipeline(
        **t5_parts(),
        vae=randomised(vae, seed=40),
        transformer=randomised(transformer, seed=41),
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
    )


def easy_animate_parts(in_channels: int = 4) -> dict[str, Any]:
    vae = AutoencoderKLMagvit(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("SpatialDownBlock3D", *("SpatialTemporalDownBlock3D",) * 3),
        up_block_types=("SpatialUpBlock3D", *("SpatialTemporalUpBlock3D",) * 3),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
    )
    transformer = EasyAnimateTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=in_channels,
        out_channels=4,
        patch_size=2,
        sample_width=16,
        sample_height=16,
        num_layers=1,
        mmdit_layers=1,
        time_embed_dim=2,
        text_embed_dim=8,
        add_norm_text_encoder=True,
    )
    return {
        "vae": randomised(vae, seed=40),
        "text_encoder": language_models.bert(),
        "tokenizer": language_models.bert_tokenizer(),
        "transformer": randomised(transformer, seed=41),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
    }


@family("easy-animate")
def easy_animate() -> EasyAnimatePipeline:
    return EasyAnimatePipeline(**easy_animate_parts())


@family("easy-animate-qwen2-vl")
def easy_animate_qwen2_vl() -> EasyAnimatePipeline:
    """Return the pipeline of EasyAnimate 5.1, which has a vision-language model for BERT."""
    encoder = {"text_encoder": video_models.qwen2_vl(), "tokenizer": language_models.qwen_tokenizer()}
    return EasyAnimatePipeline(**{**easy_animate_parts(), **encoder})


@family("easy-animate-inpaint")
def easy_animate_inpaint() -> EasyAnimateInpaintPipeline:
    return EasyAnimateInpaintPipeline(**easy_animate_parts(in_channels=9))


@family("easy-animate-control")
def easy_animate_control() -> EasyAnimateControlPipeline:
    return EasyAnimateControlPipeline(**easy_animate_parts(in_channels=8))


def sana_video_parts() -> dict[str, Any]:
    transformer = SanaVideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=8,
        mlp_ratio=1.0,
        sample_size=8,
        rope_max_seq_len=16,
    )
    return {
        "tokenizer": language_models.gemma_tokenizer(),
        "text_encoder": language_models.gemma2(),
        "vae": models.wan_vae(),
        "transformer": randomised(transformer, seed=40),
    }


@family("sana-video")
def sana_video() -> SanaVideoPipeline:
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=8.0)
    return SanaVideoPipeline(**sana_video_parts(), scheduler=scheduler)


@family("sana-image-to-video")
def sana_image_to_video() -> SanaImageToVideoPipeline:
    return SanaImageToVideoPipeline(**sana_video_parts(), scheduler=FlowMatchEulerDiscreteScheduler())
