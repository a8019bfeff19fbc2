"""Tiny models that several families of video pipelines share, beside those of `models`."""

from __future__ import annotations

from typing import Any

import transformers
from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    HunyuanVideoTransformer3DModel,
    LTXVideoTransformer3DModel,
    WanTransformer3DModel,
)
from diffusers.models.modeling_utils import ModelMixin
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Qwen2_5_VLTextConfig,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLTextModel,
)

from .language_models import VOCABULARY, decoder_options
from .models import randomised

IMAGE_SIZE = 8

# Of LTX's autoencoder: the encoder's and the decoder's settings, which have one value for each block and the middle.
_LTX_SIDES = {
    "block_out_channels": (4, 4),
    "layers_per_block": (1, 1, 1),
    "spatio_temporal_scaling": (True, False),
}


def siglip_vision_config() -> SiglipVisionConfig:
    return SiglipVisionConfig(
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=IMAGE_SIZE,
        patch_size=4,
    )


def siglip_vision_model(seed: int = 32) -> SiglipVisionModel:
    return randomised(SiglipVisionModel(siglip_vision_config()), seed)


def siglip_image_processor() -> SiglipImageProcessor:
    return SiglipImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})


def wan_transformer(seed: int = 33, kind: type[ModelMixin] = WanTransformer3DModel, **options: Any) -> ModelMixin:
    """Return the transformer of Wan 2.1, or a `kind` that takes the same settings."""
    settings: dict[str, Any] = {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": 8,
        "freq_dim": 8,
        "ffn_dim": 16,
        "num_layers": 2,
        "cross_attn_norm": True,
        "rope_max_seq_len": 16,
    }
    return randomised(kind(**{**settings, **options}), seed)


def wan_vae(seed: int = 34, **options: Any) -> AutoencoderKLWan:
    """Return an autoencoder with a mean and a deviation for each of its latent channels, which some pipelines read."""
    settings: dict[str, Any] = {
        "base_dim": 3,
        "z_dim": 4,
        "dim_mult": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "temperal_downsample": [False, True, True],
        "latents_mean": [0.1, 0.2, 0.3, 0.4],
        "latents_std": [1.1, 1.2, 1.3, 1.4],
    }
    return randomised(AutoencoderKLWan(**{**settings, **options}), seed)


def wan_vae_2_2(seed: int = 34) -> AutoencoderKLWan:
    """Return the residual autoencoder of Wan 2.2's smaller model, which patches its frames."""
    patched = {"is_residual": True, "in_channels": 12, "out_channels": 12, "patch_size": 2, "scale_factor_spatial": 16}
    return wan_vae(seed, **patched)


def hunyuan_video_vae(seed: int = 35) -> AutoencoderKLHunyuanVideo:
    return randomised(
        AutoencoderKLHunyuanVideo(
            latent_channels=4,
            down_block_types=("HunyuanVideoDownBlock3D",) * 4,
            up_block_types=("HunyuanVideoUpBlock3D",) * 4,
            block_out_channels=(4, 4, 4, 4),
            layers_per_block=1,
            norm_num_groups=2,
        ),
        seed,
    )


def hunyuan_video_transformer(
    seed: int = 36, kind: type[ModelMixin] = HunyuanVideoTransformer3DModel, **options: Any
) -> ModelMixin:
    settings: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_layers": 1,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "mlp_ratio": 1.0,
        "patch_size": 1,
        "text_embed_dim": 8,
        "pooled_projection_dim": 8,
        "rope_axes_dim": (2, 2, 4),
    }
    return randomised(kind(**{**settings, **options}), seed)


def ltx_vae(seed: int = 37, **options: Any) -> AutoencoderKLLTXVideo:
    settings: dict[str, Any] = {
        **_LTX_SIDES,
        **{f"decoder_{name}": values for name, values in _LTX_SIDES.items()},
        "latent_channels": 4,
        "down_block_types": ("LTXVideoDownBlock3D",) * 2,
        "decoder_inject_noise": (False, False, False),
        "downsample_type": ("conv", "conv"),
        "upsample_residual": (False, False),
        "upsample_factor": (1, 1),
        "patch_size": 1,
    }
    return randomised(AutoencoderKLLTXVideo(**{**settings, **options}), seed)


def ltx_transformer(seed: int = 38) -> LTXVideoTransformer3DModel:
    return randomised(
        LTXVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=4,
            cross_attention_dim=8,
            num_layers=1,
            caption_channels=8,
        ),
        seed,
    )


def qwen2_5_vl_text_model(seed: int = 39) -> Qwen2_5_VLTextModel:
    config = Qwen2_5_VLTextConfig(
        **decoder_options(layers=2),
        rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 0, 1]},
    )
    return randomised(Qwen2_5_VLTextModel(config), seed)


def gemma3(seed: int = 40) -> Gemma3ForConditionalGeneration:
    text = {**decoder_options(), "head_dim": 4, "query_pre_attn_scalar": 4}
    vision = siglip_vision_config().to_dict()
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return randomised(Gemma3ForConditionalGeneration(config), seed)


def qwen2_vl(seed: int = 41) -> Qwen2VLForConditionalGeneration:
    text = {**decoder_options(), "rope_parameters": {"rope_type": "default", "mrope_section": [1, 0, 1]}}
    vision = {"depth": 1, "embed_dim": 8, "hidden_size": 8, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4}
    config = Qwen2VLConfig(text_config=text, vision_config=vision)
    return randomised(Qwen2VLForConditionalGeneration(config), seed)


def gemma4_text_settings() -> dict[str, Any]:
    return {
        **decoder_options(layers=2),
        "head_dim": 4,
        "global_head_dim": 4,
        "layer_types": ["sliding_attention", "full_attention"],
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 4,
    }


def gemma4(seed: int = 42) -> transformers.Gemma4ForConditionalGeneration:
    """Return a model with embeddings of their own for each of its layers."""
    vision = {
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "patch_size": 4,
        "position_embedding_size": 16,
    }
    config = transformers.Gemma4Config(text_config=gemma4_text_settings(), vision_config=vision)
    return randomised(transformers.Gemma4ForConditionalGeneration(config), seed)


def gemma4_unified(seed: int = 43) -> transformers.Gemma4UnifiedForConditionalGeneration:
    config = transformers.Gemma4UnifiedConfig(text_config=gemma4_text_settings())
    return randomised(transformers.Gemma4UnifiedForConditionalGeneration(config), seed)
