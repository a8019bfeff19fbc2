"""Cosmos 1, 2, 2.5 and 3: worlds from text, images and videos.

All but the third demand a checker of safety that NVIDIA publishes as a package apart: Stable Diffusion's stands in.
"""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLCosmos,
    Cosmos2_5_PredictBasePipeline,
    Cosmos2_5_TransferPipeline,
    Cosmos2TextToImagePipeline,
    Cosmos2VideoToWorldPipeline,
    Cosmos3AVAEAudioTokenizer,
    Cosmos3OmniPipeline,
    Cosmos3OmniTransformer,
    CosmosControlNetModel,
    CosmosTextToWorldPipeline,
    CosmosTransformer3DModel,
    CosmosVideoToWorldPipeline,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from support import language_models, models, video_models, vision_language_models
from support.models import randomised
from support.tokenizers import t5_tokenizer

from .registry import family

# Of the transformer and its ControlNet.
COMMON: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "mlp_ratio": 1.0,
    "text_embed_dim": 8,
    "adaln_lora_dim": 4,
    "max_size": (4, 8, 8),
    "extra_pos_embed_type": "learnable",
}


def transformer(seed: int = 50, **options: Any) -> CosmosTransformer3DModel:
    settings = {"in_channels": 4, "out_channels": 4, "num_layers": 1, **COMMON}
    return randomised(CosmosTransformer3DModel(**{**settings, **options}), seed)


def vae(seed: int = 51) -> AutoencoderKLCosmos:
    return randomised(
        AutoencoderKLCosmos(
            latent_channels=4,
            encoder_block_out_channels=(4, 4, 4, 4),
            decode_block_out_channels=(4, 4, 4, 4),
            attention_resolutions=(8,),
            resolution=32,
            num_layers=1,
            spatial_compression_ratio=4,
            temporal_compression_ratio=4,
        ),
        seed,
    )


def t5_parts(**changes: Any) -> dict[str, Any]:
    usual = {
        "text_encoder": models.t5_encoder(),
        "tokenizer": t5_tokenizer(),
        "transformer": transformer(),
        "vae": vae(),
        "scheduler": EDMEulerScheduler(),
        "safety_checker": models.safety_checker(),
    }
    return {**usual, **changes}


def second_parts() -> dict[str, Any]:
    """Return what the pipelines of Cosmos 2 have: Wan's autoencoder, and one channel more for the condition."""
    return t5_parts(
        vae=video_models.wan_vae(),
        transformer=transformer(in_channels=5),
        scheduler=FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
    )


def language_parts(**options: Any) -> dict[str, Any]:
    """Return what the pipelines of Cosmos 2.5 have."""
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0)
    return t5_parts(
        text_encoder=vision_language_models.qwen2_5_vl(),
        tokenizer=language_models.qwen_tokenizer(),
        vae=video_models.wan_vae(),
        transformer=transformer(in_channels=5, **options),
        scheduler=scheduler,
    )


@family("cosmos-text-to-world")
def cosmos_text_to_world() -> CosmosTextToWorldPipeline:
    return CosmosTextToWorldPipeline(**t5_parts())


@family("cosmos-video-to-world")
def cosmos_video_to_world() -> CosmosVideoToWorldPipeline:
    return CosmosVideoToWorldPipeline(**t5_parts(transformer=transformer(in_channels=5)))


@family("cosmos-2-text-to-image")
def cosmos_2_text_to_image() -> Cosmos2TextToImagePipeline:
    return Cosmos2TextToImagePipeline(**second_parts())


@family("cosmos-2-video-to-world")
def cosmos_2_video_to_world() -> Cosmos2VideoToWorldPipeline:
    return Cosmos2VideoToWorldPipeline(**second_parts())


@family("cosmos-2.5-predict")
def cosmos_2_5_predict() -> Cosmos2_5_PredictBasePipeline:
    projection = {"crossattn_proj_in_channels": 8, "encoder_hidden_states_channels": 8}
    return Cosmos2_5_PredictBasePipeline(**language_parts(use_crossattn_projection=True, **projection))


@family("cosmos-2.5-transfer")
def cosmos_2_5_transfer() -> Cosmos2_5_TransferPipeline:
    images = {"img_context_dim_in": 8, "img_context_dim_out": 8}
    controlnet = CosmosControlNetModel(
        n_controlnet_blocks=1, in_channels=6, latent_channels=6, model_channels=32, **COMMON, **images
    )
    return Cosmos2_5_TransferPipeline(
        **language_parts(controlnet_block_every_n=1, img_context_num_tokens=4, **images),
        controlnet=randomised(controlnet, seed=52),
    )


def omni_transformer(seed: int = 53, **options: Any) -> Cosmos3OmniTransformer:
    return randomised(
        Cosmos3OmniTransformer(
            head_dim=6,
            hidden_size=6,
            intermediate_size=12,
            latent_channel=4,
            latent_patch_size=1,
            num_attention_heads=1,
            num_hidden_layers=1,
            num_key_value_heads=1,
            patch_latent_dim=4,
            vocab_size=language_models.VOCABULARY,
            rope_axes_dim=[1, 1, 1],
            **options,
        ),
        seed,
    )


def sound_tokenizer(seed: int = 54) -> Cosmos3AVAEAudioTokenizer:
    return randomised(
        Cosmos3AVAEAudioTokenizer(
            vocoder_input_dim=8,
            dec_dim=4,
            dec_c_mults=(1, 2),
            dec_strides=(2, 2),
            enc_dim=4,
            enc_intermediate_dim=8,
            enc_num_layers=1,
            enc_n_fft=8,
            enc_hop_length=4,
            enc_latent_dim=16,
            enc_c_mults=(1, 2),
            enc_strides=(2, 2),
        ),
        seed,
    )


def omni_parts() -> dict[str, Any]:
    return {
        "text_tokenizer": language_models.qwen_tokenizer(),
        "vae": video_models.wan_vae(),
        "scheduler": UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        "enable_safety_checker": False,
    }


@family("cosmos-3-omni")
def cosmos_3_omni() -> Cosmos3OmniPipeline:
    return Cosmos3OmniPipeline(**omni_parts(), transformer=omni_transformer())


@family("cosmos-3-omni-with-sound")
def cosmos_3_omni_with_sound() -> Cosmos3OmniPipeline:
    transformer_with_sound = omni_transformer(sound_gen=True, sound_dim=8)
    return Cosmos3OmniPipeline(**omni_parts(), transformer=transformer_with_sound, sound_tokenizer=sound_tokenizer())
