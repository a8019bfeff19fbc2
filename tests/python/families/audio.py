"""Audio pipelines upon U-Nets: AudioLDM, AudioLDM 2, MusicLDM and Dance Diffusion."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AudioLDM2Pipeline,
    AudioLDM2ProjectionModel,
    AudioLDM2UNet2DConditionModel,
    AudioLDMPipeline,
    AutoencoderKL,
    DanceDiffusionPipeline,
    DDIMScheduler,
    IPNDMScheduler,
    MusicLDMPipeline,
    UNet1DModel,
)

from support import audio_models, models
from support.models import randomised
from support.tokenizers import t5_tokenizer

from .registry import family


def vae(seed: int = 40) -> AutoencoderKL:
    """Return an autoencoder of mel spectrograms."""
    return randomised(
        AutoencoderKL(
            in_channels=1,
            out_channels=1,
            block_out_channels=(4, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=2,
            sample_size=16,
        ),
        seed,
    )


def audioldm2_unet(seed: int = 41) -> AudioLDM2UNet2DConditionModel:
    return randomised(
        AudioLDM2UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(4, 8),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=2,
            cross_attention_dim=((None, 8, 8), (None, 8, 8)),
            attention_head_dim=2,
        ),
        seed,
    )


def audioldm2_parts(**changes: Any) -> dict[str, Any]:
    usual = {
        "vae": vae(),
        "text_encoder": audio_models.clap_model(),
        "text_encoder_2": models.t5_encoder(),
        "projection_model": randomised(
            AudioLDM2ProjectionModel(text_encoder_dim=8, text_encoder_1_dim=8, langauge_model_dim=8), seed=42
        ),
        "language_model": models.causal_language_model(),
        "tokenizer": audio_models.roberta_tokenizer(),
        "tokenizer_2": t5_tokenizer(),
        "feature_extractor": audio_models.clap_feature_extractor(),
        "unet": audioldm2_unet(),
        "scheduler": DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False),
        "vocoder": audio_models.vocoder(),
    }
    return {**usual, **changes}


@family("audioldm2")
def audioldm2() -> AudioLDM2Pipeline:
    return AudioLDM2Pipeline(**audioldm2_parts())


def cross_attention_audio_parts() -> dict[str, Any]:
    """Return what AudioLDM and MusicLDM have in common: the text's embedding stands where a class's would."""
    unet = models.unet(
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        mid_block_type="UNetMidBlock2D",
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=8,
        class_embeddings_concat=True,
    )
    return {
        "vae": vae(),
        "tokenizer": audio_models.roberta_tokenizer(),
        "unet": unet,
        "scheduler": DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False),
        "vocoder": audio_models.vocoder(),
    }


@family("audioldm")
def audioldm() -> AudioLDMPipeline:
    return AudioLDMPipeline(**cross_attention_audio_parts(), text_encoder=audio_models.clap_text_model())


@family("musicldm")
def musicldm() -> MusicLDMPipeline:
    return MusicLDMPipeline(
        **cross_attention_audio_parts(),
        text_encoder=audio_models.clap_model(),
        feature_extractor=audio_models.clap_feature_extractor(),
    )


@family("dance-diffusion")
def dance_diffusion() -> DanceDiffusionPipeline:
    unet = UNet1DModel(
        sample_size=16,
        sample_rate=8000,
        extra_in_channels=16,
        block_out_channels=(8, 8, 8),
        use_timestep_embedding=False,
    )
    return DanceDiffusionPipeline(unet=randomised(unet, seed=40), scheduler=IPNDMScheduler())
