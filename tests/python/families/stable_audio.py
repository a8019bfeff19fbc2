"""Stable Audio and Stable Audio 3."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderOobleck,
    AutoencoderSAME,
    CosineDPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableAudio3AudioToAudioPipeline,
    StableAudio3DiTModel,
    StableAudio3DurationEmbedder,
    StableAudio3InpaintPipeline,
    StableAudio3Pipeline,
    StableAudioDiTModel,
    StableAudioPipeline,
    StableAudioProjectionModel,
)

from support import audio_models, language_models, models
from support.models import randomised
from support.tokenizers import t5_tokenizer

from .registry import family


def vae(seed: int = 40) -> AutoencoderOobleck:
    return randomised(
        AutoencoderOobleck(
            encoder_hidden_size=4,
            downsampling_ratios=[1, 2],
            channel_multiples=[1, 2],
            decoder_channels=4,
            decoder_input_channels=4,
            sampling_rate=8,
        ),
        seed,
    )


def transformer(seed: int = 41) -> StableAudioDiTModel:
    return randomised(
        StableAudioDiTModel(
            sample_size=4,
            in_channels=4,
            num_layers=2,
            attention_head_dim=4,
            num_attention_heads=2,
            num_key_value_attention_heads=1,
            out_channels=4,
            cross_attention_dim=4,
            time_proj_dim=8,
            global_states_input_dim=8,
            cross_attention_input_dim=4,
        ),
        seed,
    )


def projection_model(seed: int = 42) -> StableAudioProjectionModel:
    return randomised(
        StableAudioProjectionModel(text_encoder_dim=8, conditioning_dim=4, min_value=0, max_value=512), seed
    )


def parts() -> dict[str, Any]:
    return {
        "vae": vae(),
        "text_encoder": models.t5_encoder(),
        "projection_model": projection_model(),
        "tokenizer": t5_tokenizer(),
        "transformer": transformer(),
    }


@family("stable-audio")
def stable_audio() -> StableAudioPipeline:
    return StableAudioPipeline(**parts(), scheduler=EDMDPMSolverMultistepScheduler())


@family("stable-audio-with-published-scheduler")
def stable_audio_with_published_scheduler() -> StableAudioPipeline:
    scheduler = CosineDPMSolverMultistepScheduler(prediction_type="v_prediction", sigma_data=1.0)
    return StableAudioPipeline(**parts(), scheduler=scheduler)


def parts_3() -> dict[str, Any]:
    vae_3 = AutoencoderSAME(
        patch_size=2,
        encoder_channels=8,
        encoder_c_mults=(1,),
        encoder_strides=(2,),
        encoder_transformer_depths=(1,),
        latent_dim=4,
        dim_heads=4,
        ff_mult=1,
        sampling_rate=16,
    )
    transformer_3 = StableAudio3DiTModel(
        io_channels=4,
        embed_dim=16,
        depth=1,
        num_heads=2,
        cond_token_dim=8,
        global_cond_dim=8,
        local_add_cond_dim=5,
        timestep_features_dim=8,
        ff_mult=1.0,
        num_memory_tokens=2,
    )
    return {
        "vae": randomised(vae_3, seed=43),
        "text_encoder": audio_models.t5gemma_encoder_model(),
        "tokenizer": language_models.gemma_tokenizer(),
        "duration_embedder": randomised(StableAudio3DurationEmbedder(output_dim=8, fourier_dim=8), seed=44),
        "transformer": randomised(transformer_3, seed=45),
        "scheduler": FlowMatchEulerDiscreteScheduler(num_train_timesteps=1),
    }


@family("stable-audio-3")
def stable_audio_3() -> StableAudio3Pipeline:
    return StableAudio3Pipeline(**parts_3())


@family("stable-audio-3-audio-to-audio")
def stable_audio_3_audio_to_audio() -> StableAudio3AudioToAudioPipeline:
    return StableAudio3AudioToAudioPipeline(**parts_3())


@family("stable-audio-3-inpaint")
def stable_audio_3_inpaint() -> StableAudio3InpaintPipeline:
    return StableAudio3InpaintPipeline(**parts_3())
