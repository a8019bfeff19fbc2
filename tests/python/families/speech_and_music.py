"""Audio pipelines upon transformers: ACE-Step and LongCat-AudioDiT."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AceStepAudioTokenDetokenizer,
    AceStepAudioTokenizer,
    AceStepConditionEncoder,
    AceStepPipeline,
    AceStepTransformer1DModel,
    FlowMatchEulerDiscreteScheduler,
    LongCatAudioDiTPipeline,
    LongCatAudioDiTTransformer,
    LongCatAudioDiTVae,
)

from support import language_models, models
from support.models import randomised
from support.tokenizers import t5_tokenizer

from .registry import family
from .stable_audio import vae as stable_audio_vae

# Of all the transformers of ACE-Step.
ATTENTION: dict[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "sliding_window": 4,
}
POOLING: dict[str, Any] = {
    **ATTENTION,
    "audio_acoustic_hidden_dim": 4,
    "pool_window_size": 2,
    "num_attention_pooler_hidden_layers": 1,
}


def ace_step_parts() -> dict[str, Any]:
    transformer = AceStepTransformer1DModel(
        **ATTENTION, num_hidden_layers=2, in_channels=12, audio_acoustic_hidden_dim=4
    )
    condition_encoder = AceStepConditionEncoder(
        **ATTENTION,
        text_hidden_dim=8,
        timbre_hidden_dim=4,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
    )
    return {
        "vae": stable_audio_vae(),
        "text_encoder": language_models.qwen3(),
        "tokenizer": language_models.qwen_tokenizer(),
        "transformer": randomised(transformer, seed=50),
        "condition_encoder": randomised(condition_encoder, seed=51),
        "scheduler": FlowMatchEulerDiscreteScheduler(num_train_timesteps=1),
    }


@family("ace-step")
def ace_step() -> AceStepPipeline:
    return AceStepPipeline(**ace_step_parts())


@family("ace-step-with-audio-tokenizer")
def ace_step_with_audio_tokenizer() -> AceStepPipeline:
    audio_tokenizer = AceStepAudioTokenizer(**POOLING, fsq_dim=8, fsq_input_levels=[4, 4, 4])
    return AceStepPipeline(
        **ace_step_parts(),
        audio_tokenizer=randomised(audio_tokenizer, seed=52),
        audio_token_detokenizer=randomised(AceStepAudioTokenDetokenizer(**POOLING), seed=53),
    )


@family("longcat-audio-dit")
def longcat_audio_dit() -> LongCatAudioDiTPipeline:
    transformer = LongCatAudioDiTTransformer(
        dit_dim=16, dit_depth=2, dit_heads=2, dit_text_dim=8, latent_dim=4, text_conv=False, ff_mult=1.0
    )
    vae = LongCatAudioDiTVae(
        channels=8, c_mults=[1, 2], strides=[2], latent_dim=4, encoder_latent_dim=8, downsampling_ratio=2
    )
    return LongCatAudioDiTPipeline(
        vae=randomised(vae, seed=50),
        text_encoder=models.umt5_encoder(),
        tokenizer=t5_tokenizer(),
        transformer=randomised(transformer, seed=51),
        scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
    )
