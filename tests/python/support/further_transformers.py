"""More tiny diffusion transformers of image pipelines: those that came after Flux, or have few pipelines."""

from __future__ import annotations

import diffusers

from .models import randomised


def cogview_3_plus_transformer(seed: int = 181) -> diffusers.CogView3PlusTransformer2DModel:
    model = diffusers.CogView3PlusTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        text_embed_dim=8,
        time_embed_dim=8,
        condition_dim=2,
        pos_embed_max_size=8,
        sample_size=8,
    )
    return randomised(model, seed)


def cogview_4_transformer(seed: int = 182, **options: object) -> diffusers.CogView4Transformer2DModel:
    settings = {
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 1,
        "attention_head_dim": 4,
        "num_attention_heads": 2,
        "text_embed_dim": 8,
        "time_embed_dim": 8,
        "condition_dim": 2,
        "rope_axes_dim": (8, 8),
    }
    return randomised(diffusers.CogView4Transformer2DModel(**{**settings, **options}), seed)


FLUX_LIKE_OPTIONS = {
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "axes_dims_rope": [2, 2, 4],
}


def bria_transformer(seed: int = 183) -> diffusers.BriaTransformer2DModel:
    model = diffusers.BriaTransformer2DModel(
        **FLUX_LIKE_OPTIONS, in_channels=4, joint_attention_dim=8, guidance_embeds=False
    )
    return randomised(model, seed)


def bria_fibo_transformer(seed: int = 184) -> diffusers.BriaFiboTransformer2DModel:
    model = diffusers.BriaFiboTransformer2DModel(
        **FLUX_LIKE_OPTIONS, in_channels=4, joint_attention_dim=16, text_encoder_dim=8
    )
    return randomised(model, seed)


def bria_fibo_2_transformer(seed: int = 185) -> diffusers.BriaFibo2Transformer2DModel:
    model = diffusers.BriaFibo2Transformer2DModel(
        in_channels=4,
        dim=24,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        cap_feat_dim=8,
        injection_layer_ids=(1,),
        perceiver_num_layers=1,
        min_num_gist_tokens=2,
        max_num_gist_tokens=4,
        gist_step=2,
        gist_min_text_len=2,
        gist_max_text_len=8,
        axes_dims=(4, 4, 4),
        axes_lens=(8, 8, 8),
    )
    return randomised(model, seed)


def hunyuan_image_transformer(seed: int = 186, **options: object) -> diffusers.HunyuanImageTransformer2DModel:
    """Return a model of which diffusers keeps some modules in float32, whatever dtype is asked for."""
    settings = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 4,
        "num_layers": 1,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "text_embed_dim": 16,
        "rope_axes_dim": (2, 2),
    }
    return randomised(diffusers.HunyuanImageTransformer2DModel(**{**settings, **options}), seed)


def longcat_image_transformer(seed: int = 188) -> diffusers.LongCatImageTransformer2DModel:
    model = diffusers.LongCatImageTransformer2DModel(
        **FLUX_LIKE_OPTIONS, in_channels=4, joint_attention_dim=16, pooled_projection_dim=16
    )
    return randomised(model, seed)


def ovis_image_transformer(seed: int = 189) -> diffusers.OvisImageTransformer2DModel:
    model = diffusers.OvisImageTransformer2DModel(
        **FLUX_LIKE_OPTIONS, in_channels=4, out_channels=4, joint_attention_dim=8
    )
    return randomised(model, seed)


def omnigen_transformer(seed: int = 190) -> diffusers.OmniGenTransformer2DModel:
    """Return a transformer that is a language model too, with an embedding of the prompt's tokens."""
    model = diffusers.OmniGenTransformer2DModel(
        in_channels=4,
        hidden_size=8,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=16,
        num_layers=1,
        pad_token_id=0,
        vocab_size=48,
        max_position_embeddings=32,
        original_max_position_embeddings=16,
        rope_scaling={"type": "su", "short_factor": [1.0, 1.0], "long_factor": [1.5, 2.0]},
        pos_embed_max_size=4,
        time_step_dim=8,
    )
    return randomised(model, seed)


def prx_transformer(seed: int = 191, **options: object) -> diffusers.PRXTransformer2DModel:
    settings = {
        "in_channels": 4,
        "context_in_dim": 8,
        "hidden_size": 8,
        "num_heads": 2,
        "depth": 1,
        "axes_dim": [2, 2],
    }
    return randomised(diffusers.PRXTransformer2DModel(**{**settings, **options}), seed)


def glm_image_transformer(seed: int = 192) -> diffusers.GlmImageTransformer2DModel:
    """Return a model of which diffusers keeps the norms in float32, whatever dtype is asked for."""
    model = diffusers.GlmImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        text_embed_dim=8,
        time_embed_dim=8,
        condition_dim=2,
        prior_vq_quantizer_codebook_size=16,
    )
    return randomised(model, seed)


def krea_2_transformer(seed: int = 193) -> diffusers.Krea2Transformer2DModel:
    model = diffusers.Krea2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=16,
        timestep_embed_dim=8,
        text_hidden_dim=8,
        num_text_layers=2,
        text_num_attention_heads=2,
        text_num_key_value_heads=1,
        text_intermediate_size=16,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(2, 2, 4),
    )
    return randomised(model, seed)


def ideogram_4_transformer(seed: int = 194) -> diffusers.Ideogram4Transformer2DModel:
    """Return a model of which diffusers keeps some modules in float32, whatever dtype is asked for."""
    model = diffusers.Ideogram4Transformer2DModel(
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        intermediate_size=16,
        adaln_dim=8,
        llm_features_dim=16,
        mrope_section=(2, 1, 1),
    )
    return randomised(model, seed)


JOY_IMAGE_OPTIONS = {
    "in_channels": 4,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "text_dim": 8,
    "num_layers": 1,
    "rope_dim_list": [2, 2, 4],
}


def joy_image_transformer(seed: int = 195) -> diffusers.JoyImageEditTransformer3DModel:
    return randomised(diffusers.JoyImageEditTransformer3DModel(**JOY_IMAGE_OPTIONS), seed)


def joy_image_plus_transformer(seed: int = 196) -> diffusers.JoyImageEditPlusTransformer3DModel:
    return randomised(diffusers.JoyImageEditPlusTransformer3DModel(**JOY_IMAGE_OPTIONS), seed)


def nucleus_transformer(seed: int = 197) -> diffusers.NucleusMoEImageTransformer2DModel:
    """Return a transformer of five blocks, the fourth of which is a mixture of experts: the others never are one."""
    model = diffusers.NucleusMoEImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=5,
        attention_head_dim=8,
        num_attention_heads=2,
        num_key_value_heads=1,
        joint_attention_dim=8,
        axes_dims_rope=(2, 2, 4),
        num_experts=2,
        moe_intermediate_dim=8,
        capacity_factors=1.0,
    )
    return randomised(model, seed)


def ernie_image_transformer(seed: int = 198) -> diffusers.ErnieImageTransformer2DModel:
    model = diffusers.ErnieImageTransformer2DModel(
        hidden_size=16,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=16,
        in_channels=16,
        out_channels=16,
        text_in_dim=8,
        rope_axes_dim=(2, 2, 4),
    )
    return randomised(model, seed)


def dream_lite_unet(seed: int = 199, **options: object) -> diffusers.DreamLiteUNetModel:
    """Return a U-Net of transformer blocks whose heads share their keys."""
    settings = {
        "sample_size": 8,
        "down_block_types": ("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
        "up_block_types": ("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
        "block_out_channels": (4, 8),
        "layers_per_block": 1,
        "norm_num_groups": 2,
        "cross_attention_dim": 8,
        "attention_head_dim": (1, 2),
        "ff_mult": 2,
    }
    return randomised(diffusers.DreamLiteUNetModel(**{**settings, **options}), seed)


def ideogram_4_prompt_enhancer_head(seed: int = 201) -> diffusers.Ideogram4PromptEnhancerHead:
    return randomised(diffusers.Ideogram4PromptEnhancerHead(hidden_size=8, vocab_size=48), seed)
