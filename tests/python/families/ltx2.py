"""LTX 2: sound and video from text, images and videos, its latent upsampler and its diffusion decoder."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2ConditionPipeline,
    LTX2DFRPipeline,
    LTX2DFRTemporalRefinePipeline,
    LTX2HDRPipeline,
    LTX2ImageToVideoPipeline,
    LTX2InContextPipeline,
    LTX2LatentUpsamplePipeline,
    LTX2Pipeline,
    LTX2VideoDiffusionDecodePipeline,
    LTX2VideoDiffusionDecoderModel,
    LTX2VideoTransformer3DModel,
    LTXEulerAncestralRFScheduler,
)
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.ltx2 import (
    LTX2DurationHead,
    LTX2LatentUpsamplerModel,
    LTX2TextConnectors,
    LTX2Vocoder,
    LTX2VocoderWithBWE,
)

from support import language_models, video_models
from support.models import randomised

from .registry import family


def vae(seed: int = 50) -> AutoencoderKLLTX2Video:
    return randomised(
        AutoencoderKLLTX2Video(
            latent_channels=4,
            block_out_channels=(4,),
            down_block_types=("LTX2VideoDownBlock3D",),
            decoder_block_out_channels=(4,),
            layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            spatio_temporal_scaling=(True,),
            decoder_spatio_temporal_scaling=(True,),
            decoder_inject_noise=(False, False),
            downsample_type=("spatial",),
            upsample_type=("spatiotemporal",),
            upsample_residual=(False,),
            upsample_factor=(1,),
            patch_size=1,
        ),
        seed,
    )


def audio_vae(seed: int = 51) -> AutoencoderKLLTX2Audio:
    return randomised(
        AutoencoderKLLTX2Audio(
            base_channels=4, ch_mult=(1,), num_res_blocks=1, resolution=32, latent_channels=2, mel_bins=8
        ),
        seed,
    )


def transformer(seed: int = 52, kind: type[ModelMixin] = LTX2VideoTransformer3DModel, **options: Any) -> ModelMixin:
    settings: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 4,
        "cross_attention_dim": 8,
        "audio_in_channels": 4,
        "audio_out_channels": 4,
        "audio_num_attention_heads": 2,
        "audio_attention_head_dim": 4,
        "audio_cross_attention_dim": 8,
        "num_layers": 1,
        "caption_channels": 8,
        "rope_type": "split",
    }
    return randomised(kind(**{**settings, **options}), seed)


def connectors(seed: int = 53, layers: int = 1) -> LTX2TextConnectors:
    """Return the model that reads what each of the text encoder's `layers`, and its embedding, give."""
    sides = {
        f"{side}_connector_{name}": value
        for side in ("video", "audio")
        for name, value in {
            "num_attention_heads": 2,
            "attention_head_dim": 4,
            "num_layers": 1,
            "num_learnable_registers": 4,
        }.items()
    }
    return randomised(
        LTX2TextConnectors(
            caption_channels=8,
            text_proj_in_factor=layers + 1,
            connector_rope_base_seq_len=16,
            rope_type="split",
            **sides,
        ),
        seed,
    )


def vocoder_settings() -> dict[str, Any]:
    return {
        "in_channels": 16,
        "hidden_channels": 8,
        "upsample_kernel_sizes": [4, 4],
        "upsample_factors": [2, 2],
        "resnet_kernel_sizes": [3],
        "resnet_dilations": [[1, 3]],
    }


def vocoder(seed: int = 54) -> LTX2Vocoder:
    return randomised(LTX2Vocoder(**vocoder_settings()), seed)


def vocoder_with_bandwidth_extension(seed: int = 55) -> LTX2VocoderWithBWE:
    """Return the vocoder that raises the sampling rate, with its window and filters among its buffers."""
    extension = {f"bwe_{name}": value for name, value in vocoder_settings().items()}
    return randomised(
        LTX2VocoderWithBWE(
            **vocoder_settings(), **extension, filter_length=16, hop_length=4, window_length=16, num_mel_channels=8
        ),
        seed,
    )


def duration_head(seed: int = 56) -> LTX2DurationHead:
    return randomised(
        LTX2DurationHead(
            video_cross_attention_dim=8,
            audio_cross_attention_dim=8,
            pooler_hidden_dim=8,
            num_pooler_heads=2,
            mlp_hidden_dim=8,
        ),
        seed,
    )


def latent_upsampler(seed: int = 57, **options: Any) -> LTX2LatentUpsamplerModel:
    return randomised(LTX2LatentUpsamplerModel(in_channels=4, mid_channels=32, num_blocks_per_stage=1, **options), seed)


def parts(**changes: Any) -> dict[str, Any]:
    usual = {
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.1),
        "vae": vae(),
        "audio_vae": audio_vae(),
        "text_encoder": video_models.gemma3(),
        "tokenizer": language_models.gemma_tokenizer(),
        "connectors": connectors(),
        "transformer": transformer(),
        "vocoder": vocoder(),
    }
    return {**usual, **changes}


@family("ltx2")
def ltx2() -> LTX2Pipeline:
    return LTX2Pipeline(**parts())


@family("ltx2-with-duration-head")
def ltx2_with_duration_head() -> LTX2Pipeline:
    gated = transformer(gated_attn=True, cross_attn_mod=True, audio_gated_attn=True, audio_cross_attn_mod=True)
    return LTX2Pipeline(
        **parts(transformer=gated, vocoder=vocoder_with_bandwidth_extension(), duration_head=duration_head())
    )


@family("ltx2-with-prompt-enhancer")
def ltx2_with_prompt_enhancer() -> LTX2Pipeline:
    return LTX2Pipeline(
        **parts(text_encoder=video_models.gemma4_unified(), connectors=connectors(layers=2)),
        prompt_enhancer=video_models.gemma4(),
    )


@family("ltx2-image-to-video")
def ltx2_image_to_video() -> LTX2ImageToVideoPipeline:
    return LTX2ImageToVideoPipeline(**parts())


@family("ltx2-condition")
def ltx2_condition() -> LTX2ConditionPipeline:
    return LTX2ConditionPipeline(**parts(), audio_scheduler=FlowMatchEulerDiscreteScheduler(shift=2.0))


@family("ltx2-in-context")
def ltx2_in_context() -> LTX2InContextPipeline:
    return LTX2InContextPipeline(**parts())


@family("ltx2-hdr")
def ltx2_hdr() -> LTX2HDRPipeline:
    return LTX2HDRPipeline(**parts())


@family("ltx2-dfr")
def ltx2_dfr() -> LTX2DFRPipeline:
    return LTX2DFRPipeline(**parts())


@family("ltx2-dfr-temporal-refine")
def ltx2_dfr_temporal_refine() -> LTX2DFRTemporalRefinePipeline:
    upsampler = latent_upsampler(spatial_upsample=False, temporal_upsample=True)
    return LTX2DFRTemporalRefinePipeline(
        **parts(scheduler=LTXEulerAncestralRFScheduler()), temporal_latent_upsampler=upsampler
    )


@family("ltx2-latent-upsample")
def ltx2_latent_upsample() -> LTX2LatentUpsamplePipeline:
    return LTX2LatentUpsamplePipeline(vae=vae(), latent_upsampler=latent_upsampler())


@family("ltx2-diffusion-decode")
def ltx2_diffusion_decode() -> LTX2VideoDiffusionDecodePipeline:
    decoder = LTX2VideoDiffusionDecoderModel(
        latent_channels=4,
        decoder_head_dim=8,
        decoder_stage_channels=(16, 8, 8, 8, 8),
        decoder_stage_depths=(1, 1, 1, 1, 1),
        decoder_stage_kernels=((3, 3, 3),) * 4,
        decoder_upsample_channel_reductions=(2, 1, 1, 1),
        decoder_stage5_kernel=(3, 3, 3),
        decoder_t_emb_dim=8,
    )
    return LTX2VideoDiffusionDecodePipeline(
        diffusion_decoder=randomised(decoder, seed=58), scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae()
    )
