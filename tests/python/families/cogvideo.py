"""CogVideoX: text, image and video to video, and Fun's control; ConsisID, which is built upon it."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXFunControlPipeline,
    CogVideoXImageToVideoPipeline,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    CogVideoXVideoToVideoPipeline,
    ConsisIDPipeline,
    ConsisIDTransformer3DModel,
)
from diffusers.models.modeling_utils import ModelMixin

from support import models
from support.models import randomised
from support.tokenizers import t5_tokenizer

from .registry import family

# What the later models have, that place their tokens by rotation.
ROTARY = {"attention_head_dim": 16, "num_attention_heads": 1, "use_rotary_positional_embeddings": True}


def vae(seed: int = 40) -> AutoencoderKLCogVideoX:
    return randomised(
        AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(4, 4, 4, 4),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            sample_height=16,
            sample_width=16,
        ),
        seed,
    )


def transformer(seed: int = 41, kind: type[ModelMixin] = CogVideoXTransformer3DModel, **options: Any) -> ModelMixin:
    settings: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "in_channels": 4,
        "out_channels": 4,
        "time_embed_dim": 2,
        "text_embed_dim": 8,
        "num_layers": 1,
        "sample_width": 2,
        "sample_height": 2,
        "sample_frames": 9,
        "max_text_seq_length": 8,
    }
    return randomised(kind(**{**settings, **options}), seed)


def parts(**changes: Any) -> dict[str, Any]:
    usual = {
        "tokenizer": t5_tokenizer(),
        "text_encoder": models.t5_encoder(),
        "vae": vae(),
        "transformer": transformer(),
        "scheduler": CogVideoXDPMScheduler(),
    }
    return {**usual, **changes}


@family("cogvideox")
def cogvideox() -> CogVideoXPipeline:
    return CogVideoXPipeline(**parts(scheduler=CogVideoXDDIMScheduler()))


@family("cogvideox-rotary")
def cogvideox_rotary() -> CogVideoXPipeline:
    return CogVideoXPipeline(**parts(transformer=transformer(**ROTARY)))


@family("cogvideox-1.5")
def cogvideox_1_5() -> CogVideoXPipeline:
    return CogVideoXPipeline(**parts(transformer=transformer(**ROTARY, patch_size_t=2, patch_bias=False)))


@family("cogvideox-image-to-video")
def cogvideox_image_to_video() -> CogVideoXImageToVideoPipeline:
    model = transformer(**ROTARY, in_channels=8, use_learned_positional_embeddings=True)
    return CogVideoXImageToVideoPipeline(**parts(transformer=model))


@family("cogvideox-1.5-image-to-video")
def cogvideox_1_5_image_to_video() -> CogVideoXImageToVideoPipeline:
    model = transformer(**ROTARY, in_channels=8, ofs_embed_dim=4, patch_size_t=2, patch_bias=False)
    return CogVideoXImageToVideoPipeline(**parts(transformer=model))


@family("cogvideox-video-to-video")
def cogvideox_video_to_video() -> CogVideoXVideoToVideoPipeline:
    return CogVideoXVideoToVideoPipeline(**parts())


@family("cogvideox-fun-control")
def cogvideox_fun_control() -> CogVideoXFunControlPipeline:
    return CogVideoXFunControlPipeline(**parts(transformer=transformer(in_channels=8)))


@family("consis-id")
def consis_id() -> ConsisIDPipeline:
    model = transformer(
        kind=ConsisIDTransformer3DModel,
        **ROTARY,
        in_channels=8,
        use_learned_positional_embeddings=True,
        is_train_face=True,
        cross_attn_interval=1,
        cross_attn_dim_head=4,
        cross_attn_num_heads=2,
        LFE_id_dim=4,
        LFE_vit_dim=4,
        LFE_depth=5,
        LFE_dim_head=4,
        LFE_num_heads=2,
        LFE_num_id_token=1,
        LFE_num_querie=1,
        LFE_output_dim=8,
        LFE_ff_mult=1,
        LFE_num_scale=1,
    )
    return ConsisIDPipeline(**parts(transformer=model))
