"""Tiny models of real architectures with seeded random weights."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLWan,
    FluxTransformer2DModel,
    PixArtTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    UNet2DModel,
    WanTransformer3DModel,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

from .tokenizers import CLIP_VOCABULARY, T5_VOCABULARY


def randomised(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Give each parameter values of its own, so that no two tensors can be taken for each other."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.eval()


def vae(latent_channels: int = 4, seed: int = 1) -> AutoencoderKL:
    return randomised(
        AutoencoderKL(
            block_out_channels=(4, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=latent_channels,
            norm_num_groups=2,
            sample_size=16,
        ),
        seed,
    )


def clip_text_model(seed: int = 2, hidden_size: int = 8) -> CLIPTextModel:
    return randomised(CLIPTextModel(clip_text_config(hidden_size)), seed)


def clip_text_model_with_projection(seed: int = 3, hidden_size: int = 8) -> CLIPTextModelWithProjection:
    return randomised(CLIPTextModelWithProjection(clip_text_config(hidden_size)), seed)


def clip_text_config(hidden_size: int = 8) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=CLIP_VOCABULARY,
        hidden_size=hidden_size,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=hidden_size,
        bos_token_id=CLIP_VOCABULARY - 2,
        eos_token_id=CLIP_VOCABULARY - 1,
        pad_token_id=1,
    )


def t5_encoder(seed: int = 4, hidden_size: int = 8) -> T5EncoderModel:
    """Return an encoder whose `wo` transformers keeps in float32 when the rest is float16."""
    config = T5Config(
        vocab_size=T5_VOCABULARY,
        d_model=hidden_size,
        d_kv=4,
        d_ff=16,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return randomised(T5EncoderModel(config), seed)


def umt5_encoder(seed: int = 5, hidden_size: int = 8) -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=T5_VOCABULARY,
        d_model=hidden_size,
        d_kv=4,
        d_ff=16,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return randomised(UMT5EncoderModel(config), seed)


def safety_checker(seed: int = 6) -> StableDiffusionSafetyChecker:
    vision = {
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
    }
    text = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    return randomised(StableDiffusionSafetyChecker(config), seed)


def unet(seed: int = 7, **options: object) -> UNet2DConditionModel:
    """Return the U-Net of Stable Diffusion 1.5; `options` make it SDXL's."""
    settings: dict[str, object] = {
        "sample_size": 8,
        "block_out_channels": (4, 8),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "cross_attention_dim": 8,
        "attention_head_dim": 2,
    }
    return randomised(UNet2DConditionModel(**{**settings, **options}), seed)


def unconditional_unet(seed: int = 8) -> UNet2DModel:
    return randomised(
        UNet2DModel(
            sample_size=8,
            block_out_channels=(4, 8),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=2,
            attention_head_dim=4,
        ),
        seed,
    )


def sd3_transformer(seed: int = 9) -> SD3Transformer2DModel:
    return randomised(
        SD3Transformer2DModel(
            sample_size=8,
            patch_size=1,
            in_channels=4,
            num_layers=2,
            attention_head_dim=4,
            num_attention_heads=2,
            joint_attention_dim=16,
            caption_projection_dim=8,
            pooled_projection_dim=16,
            out_channels=4,
        ),
        seed,
    )


def flux_transformer(seed: int = 10) -> FluxTransformer2DModel:
    return randomised(
        FluxTransformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=8,
            pooled_projection_dim=8,
            axes_dims_rope=(2, 2, 4),
        ),
        seed,
    )


def pixart_transformer(seed: int = 11) -> PixArtTransformer2DModel:
    return randomised(
        PixArtTransformer2DModel(
            sample_size=8,
            patch_size=2,
            num_layers=1,
            in_channels=4,
            out_channels=8,
            attention_head_dim=4,
            num_attention_heads=2,
            caption_channels=8,
            cross_attention_dim=8,
            use_additional_conditions=False,
        ),
        seed,
    )


def wan_transformer(seed: int = 12) -> WanTransformer3DModel:
    """Return a model of which diffusers keeps several parts in float32, whatever dtype is asked for."""
    return randomised(
        WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            text_dim=8,
            freq_dim=8,
            ffn_dim=16,
            num_layers=2,
            cross_attn_norm=True,
            rope_max_seq_len=16,
        ),
        seed,
    )


def wan_vae(seed: int = 13) -> AutoencoderKLWan:
    return randomised(
        AutoencoderKLWan(
            base_dim=3, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        seed,
    )


def vae_with_statistics(seed: int = 14) -> AutoencoderKLFlux2:
    """Return an autoencoder whose batch norm has buffers in its file: two of floats, and a 0-dim integer."""
    model = AutoencoderKLFlux2(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=2,
        sample_size=16,
    )
    with torch.no_grad():
        model.bn.running_mean.copy_(torch.arange(model.bn.running_mean.numel()) / 7)
        model.bn.num_batches_tracked.fill_(123_456_789)
    return randomised(model, seed)


def causal_language_model(seed: int = 15) -> GPT2LMHeadModel:
    """Return a model whose head is its embedding, and that has settings for generation."""
    config = GPT2Config(
        vocab_size=CLIP_VOCABULARY, n_positions=16, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1
    )
    model = randomised(GPT2LMHeadModel(config), seed)
    model.generation_config.update(max_new_tokens=17, do_sample=True, temperature=0.3)
    return model
