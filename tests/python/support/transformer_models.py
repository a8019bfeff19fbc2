"""Tiny diffusion transformers and their controlnets, in the order of the families.

Classes are looked up in diffusers when a model is built: a version that lacks one can build the others.
"""

from __future__ import annotations

import diffusers
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder

from .models import randomised

SD3_OPTIONS = {
    "sample_size": 8,
    "patch_size": 1,
    "in_channels": 4,
    "num_layers": 1,
    "attention_head_dim": 4,
    "num_attention_heads": 2,
    "joint_attention_dim": 16,
    "caption_projection_dim": 8,
    "pooled_projection_dim": 16,
    "out_channels": 4,
}

FLUX_OPTIONS = {
    "patch_size": 1,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 8,
    "pooled_projection_dim": 8,
    "axes_dims_rope": (2, 2, 4),
}


def sd3_5_transformer(seed: int = 150) -> diffusers.SD3Transformer2DModel:
    options = {**SD3_OPTIONS, "num_layers": 2, "dual_attention_layers": (0,), "qk_norm": "rms_norm"}
    return randomised(diffusers.SD3Transformer2DModel(**options), seed)


def sd3_controlnet(seed: int = 151) -> diffusers.SD3ControlNetModel:
    return randomised(diffusers.SD3ControlNetModel(**SD3_OPTIONS), seed)


def flux_guided_transformer(seed: int = 152, **options: object) -> diffusers.FluxTransformer2DModel:
    settings = {**FLUX_OPTIONS, "in_channels": 4, "guidance_embeds": True, **options}
    return randomised(diffusers.FluxTransformer2DModel(**settings), seed)


def flux_controlnet(seed: int = 153, modes: int | None = None) -> diffusers.FluxControlNetModel:
    return randomised(diffusers.FluxControlNetModel(**FLUX_OPTIONS, in_channels=4, num_mode=modes), seed)


def redux_image_encoder(seed: int = 154) -> ReduxImageEncoder:
    return randomised(ReduxImageEncoder(redux_dim=8, txt_in_features=8), seed)


def flux_2_transformer(seed: int = 155, **options: object) -> diffusers.Flux2Transformer2DModel:
    settings = {
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": 24,
        "timestep_guidance_channels": 8,
        "axes_dims_rope": (2, 2, 2, 2),
    }
    return randomised(diffusers.Flux2Transformer2DModel(**{**settings, **options}), seed)


QWEN_IMAGE_OPTIONS = {
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 4,
    "num_layers": 1,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "joint_attention_dim": 16,
    "axes_dims_rope": (2, 2, 4),
}


def qwen_image_transformer(seed: int = 156, **options: object) -> diffusers.QwenImageTransformer2DModel:
    return randomised(diffusers.QwenImageTransformer2DModel(**{**QWEN_IMAGE_OPTIONS, **options}), seed)


def qwen_image_controlnet(seed: int = 157, extra_channels: int = 0) -> diffusers.QwenImageControlNetModel:
    model = diffusers.QwenImageControlNetModel(**QWEN_IMAGE_OPTIONS, extra_condition_channels=extra_channels)
    return randomised(model, seed)


def qwen_image_2_1_transformer(seed: int = 158) -> diffusers.QwenImage21Transformer2DModel:
    model = diffusers.QwenImage21Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        context_in_dim=8,
        axes_dims_rope=(2, 2, 4),
    )
    return randomised(model, seed)


def pixart_alpha_transformer(seed: int = 159) -> diffusers.PixArtTransformer2DModel:
    """Return the transformer of the large PixArt alpha, which also takes the image's size and its aspect."""
    return pixart_transformer(seed, sample_size=128, use_additional_conditions=True)


def pixart_transformer(seed: int = 160, **options: object) -> diffusers.PixArtTransformer2DModel:
    """Return a transformer of two blocks: the second is the one that perturbed attention is applied to."""
    settings = {
        "sample_size": 8,
        "num_layers": 2,
        "in_channels": 4,
        "out_channels": 8,
        "attention_head_dim": 6,
        "num_attention_heads": 2,
        "caption_channels": 8,
        "cross_attention_dim": 12,
        "use_additional_conditions": False,
    }
    return randomised(diffusers.PixArtTransformer2DModel(**{**settings, **options}), seed)


SANA_OPTIONS = {
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 1,
    "attention_head_dim": 4,
    "num_attention_heads": 2,
    "cross_attention_head_dim": 4,
    "num_cross_attention_heads": 2,
    "cross_attention_dim": 8,
    "caption_channels": 8,
    "sample_size": 8,
}


def sana_transformer(seed: int = 161, **options: object) -> diffusers.SanaTransformer2DModel:
    return randomised(diffusers.SanaTransformer2DModel(**{**SANA_OPTIONS, **options}), seed)


def sana_controlnet(seed: int = 162) -> diffusers.SanaControlNetModel:
    return randomised(diffusers.SanaControlNetModel(**SANA_OPTIONS), seed)


HUNYUAN_DIT_OPTIONS = {
    "sample_size": 8,
    "patch_size": 2,
    "in_channels": 4,
    "attention_head_dim": 4,
    "num_attention_heads": 2,
    "hidden_size": 8,
    "cross_attention_dim": 8,
    "cross_attention_dim_t5": 8,
    "pooled_projection_dim": 8,
    "text_len": 16,
    "text_len_t5": 16,
}


def hunyuan_dit_transformer(seed: int = 163, **options: object) -> diffusers.HunyuanDiT2DModel:
    """Return a transformer of three blocks: the last takes what the first one gave, past the middle one."""
    return randomised(diffusers.HunyuanDiT2DModel(**HUNYUAN_DIT_OPTIONS, num_layers=3, **options), seed)


def hunyuan_dit_controlnet(seed: int = 164) -> diffusers.HunyuanDiT2DControlNetModel:
    model = diffusers.HunyuanDiT2DControlNetModel(**HUNYUAN_DIT_OPTIONS, transformer_num_layers=4)
    return randomised(model, seed)


def lumina_transformer(seed: int = 165) -> diffusers.LuminaNextDiT2DModel:
    model = diffusers.LuminaNextDiT2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=8,
        num_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        cross_attention_dim=8,
    )
    return randomised(model, seed)


def lumina_2_transformer(seed: int = 166) -> diffusers.Lumina2Transformer2DModel:
    model = diffusers.Lumina2Transformer2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=12,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(2, 2, 2),
        axes_lens=(8, 8, 8),
        cap_feat_dim=8,
    )
    return randomised(model, seed)


def chroma_transformer(seed: int = 167) -> diffusers.ChromaTransformer2DModel:
    model = diffusers.ChromaTransformer2DModel(
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=8,
        axes_dims_rope=(2, 2, 4),
        approximator_num_channels=8,
        approximator_hidden_dim=8,
        approximator_layers=1,
    )
    return randomised(model, seed)


Z_IMAGE_OPTIONS = {"dim": 12, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2}


def z_image_transformer(seed: int = 168, **options: object) -> diffusers.ZImageTransformer2DModel:
    settings = {
        **Z_IMAGE_OPTIONS,
        "in_channels": 4,
        "n_layers": 1,
        "cap_feat_dim": 8,
        "axes_dims": [2, 2, 2],
        "axes_lens": [8, 8, 8],
    }
    return randomised(diffusers.ZImageTransformer2DModel(**{**settings, **options}), seed)


def z_image_controlnet(seed: int = 169, **options: object) -> diffusers.ZImageControlNetModel:
    settings = {**Z_IMAGE_OPTIONS, "control_layers_places": [0], "control_in_dim": 4, **options}
    return randomised(diffusers.ZImageControlNetModel(**settings), seed)


def hidream_transformer(seed: int = 170) -> diffusers.HiDreamImageTransformer2DModel:
    """Return a transformer with a mixture of experts: their hidden layers are 256 wide at the least."""
    model = diffusers.HiDreamImageTransformer2DModel(
        patch_size=2,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        caption_channels=[8, 8],
        text_emb_dim=16,
        num_routed_experts=2,
        num_activated_experts=1,
        axes_dims_rope=(2, 2),
        max_resolution=(8, 8),
        llama_layers=[0, 1],
    )
    return randomised(model, seed)


def aura_flow_transformer(seed: int = 171) -> diffusers.AuraFlowTransformer2DModel:
    model = diffusers.AuraFlowTransformer2DModel(
        sample_size=8,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=8,
        caption_projection_dim=8,
        pos_embed_max_size=16,
    )
    return randomised(model, seed)
