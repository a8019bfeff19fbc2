"""Tiny models of real architectures that many pipelines share; their values are random, the same each time."""

from __future__ import annotations

from typing import Any

import torch

from .parts import Part, randomised
from .tokenizers import CLIP_VOCABULARY, T5_VOCABULARY

__all__ = ["randomised"]  # for the tests that have a model of their own

SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
"""What the configurations of encoders have in common."""

DOWN_AND_UP: dict[str, Any] = {
    "block_out_channels": (4, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
}
"""The blocks of the autoencoders."""

vae = Part("AutoencoderKL", **DOWN_AND_UP, latent_channels=4, norm_num_groups=2, sample_size=16)
flux_vae = vae.but(latent_channels=1)

clip_text_model = Part(
    "CLIPTextModel",
    **{**SMALL, "num_hidden_layers": 2},
    vocab_size=CLIP_VOCABULARY,
    projection_dim=8,
    bos_token_id=CLIP_VOCABULARY - 2,
    eos_token_id=CLIP_VOCABULARY - 1,
    pad_token_id=1,
)
clip_text_model_with_projection = clip_text_model.of("CLIPTextModelWithProjection")

# An encoder whose `wo` transformers keeps in float32 when the rest is float16.
t5_encoder = Part(
    "T5EncoderModel",
    vocab_size=T5_VOCABULARY,
    d_model=8,
    d_kv=4,
    d_ff=16,
    num_layers=2,
    num_heads=2,
    feed_forward_proj="gated-gelu",
)
umt5_encoder = t5_encoder.of("UMT5EncoderModel")

safety_checker = Part(
    "diffusers.pipelines.stable_diffusion.StableDiffusionSafetyChecker",
    text_config=SMALL,
    vision_config={**SMALL, "image_size": 8, "patch_size": 4},
    projection_dim=8,
)

# The U-Net of Stable Diffusion 1.5.
unet = Part(
    "UNet2DConditionModel",
    sample_size=8,
    block_out_channels=(4, 8),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    layers_per_block=1,
    norm_num_groups=2,
    cross_attention_dim=8,
    attention_head_dim=2,
)

# The U-Net of a pipeline without a prompt.
unconditional_unet = Part(
    "UNet2DModel",
    sample_size=8,
    block_out_channels=(4, 8),
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    layers_per_block=1,
    norm_num_groups=2,
    attention_head_dim=4,
)

sd3_transformer = Part(
    "SD3Transformer2DModel",
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
)

flux_transformer = Part(
    "FluxTransformer2DModel",
    patch_size=1,
    in_channels=4,
    num_layers=1,
    num_single_layers=1,
    attention_head_dim=8,
    num_attention_heads=2,
    joint_attention_dim=8,
    pooled_projection_dim=8,
    axes_dims_rope=(2, 2, 4),
)

pixart_transformer = Part(
    "PixArtTransformer2DModel",
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
)

# A model of which diffusers keeps several parts in float32, whatever dtype is asked for.
wan_transformer = Part(
    "WanTransformer3DModel",
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
)

wan_vae = Part(
    "AutoencoderKLWan",
    base_dim=3,
    z_dim=4,
    dim_mult=[1, 1, 1, 1],
    num_res_blocks=1,
    temperal_downsample=[False, True, True],
)


def _set_statistics(model: Any) -> None:
    with torch.no_grad():
        model.bn.running_mean.copy_(torch.arange(model.bn.running_mean.numel()) / 7)
        model.bn.num_batches_tracked.fill_(123_456_789)


# An autoencoder whose batch norm has buffers in its file: two of floats, and a 0-dim integer.
vae_with_statistics = vae.of("AutoencoderKLFlux2").then(_set_statistics)

# A model whose head is its embedding, and that has settings for generation.
causal_language_model = Part(
    "GPT2LMHeadModel",
    vocab_size=CLIP_VOCABULARY,
    n_positions=16,
    n_embd=8,
    n_layer=2,
    n_head=2,
    bos_token_id=0,
    eos_token_id=1,
).then(lambda model: model.generation_config.update(max_new_tokens=17, do_sample=True, temperature=0.3))
