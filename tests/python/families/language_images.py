"""Image pipelines behind language models of today: Bria, GLM, Hunyuan, Ideogram, Krea, PRX and others."""

from __future__ import annotations

from support import language_models, models, unet_models, vision_language_models
from support.parts import Part
from support.tokenizers import t5_tokenizer

from . import qwen_image
from .registry import Parts, Table
from .stable_diffusion import TINY_AUTOENCODER
from .transformer_images import DEEP_COMPRESSION

FLOW = Part("FlowMatchEulerDiscreteScheduler")
DYNAMIC = FLOW.but(shift=3.0, use_dynamic_shifting=True)

QWEN = {"tokenizer": language_models.qwen_tokenizer}
QWEN2_5_VL: Parts = {"text_encoder": vision_language_models.qwen2_5_vl, **QWEN}
QWEN3_VL: Parts = {
    "text_encoder": vision_language_models.qwen3_vl,
    "processor": vision_language_models.qwen3_vl_processor,
}

# What transformers like Flux's have in common.
FLUX_LIKE = {
    "in_channels": 4,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "axes_dims_rope": [2, 2, 4],
}

# Bria: one T5 encoder in the first generation, language models in Fibo.
BRIA: Parts = {
    "transformer": Part("BriaTransformer2DModel", **FLUX_LIKE, joint_attention_dim=8, guidance_embeds=False),
    "scheduler": FLOW.but(shift=3.0),
    "vae": models.vae,
    "text_encoder": models.t5_encoder,
    "tokenizer": t5_tokenizer,
}
FIBO: Parts = {
    "transformer": Part("BriaFiboTransformer2DModel", **FLUX_LIKE, joint_attention_dim=16, text_encoder_dim=8),
    "scheduler": FLOW.but(shift=3.0),
    "vae": models.wan_vae,
    "text_encoder": language_models.smollm3.but(num_hidden_layers=2),
    "tokenizer": language_models.fast_tokenizer,
}
FIBO_2: Parts = {
    "transformer": Part(
        "BriaFibo2Transformer2DModel",
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
    ),
    "scheduler": FLOW.but(shift=3.0),
    "vae": models.vae_with_statistics,
    **QWEN3_VL,
    "text_encoder": vision_language_models.qwen3_vl.but(**vision_language_models.two_layers),
}

# HunyuanImage 2.1 and its refiner: a transformer of which parts stay in float32, whatever dtype is asked for, and
# guiders among the components. It does without the layers for rendered text, which are 2048 wide at the least.
HUNYUAN_TRANSFORMER = Part(
    "HunyuanImageTransformer2DModel",
    in_channels=4,
    out_channels=4,
    num_attention_heads=2,
    attention_head_dim=4,
    num_layers=1,
    num_single_layers=1,
    num_refiner_layers=1,
    text_embed_dim=16,
    rope_axes_dim=(2, 2),
)
BYT5: Parts = {"text_encoder_2": language_models.byt5_encoder, "tokenizer_2": language_models.byt5_tokenizer}
HUNYUAN: Parts = {
    "scheduler": FLOW.but(shift=7.0),
    "vae": Part(
        "AutoencoderKLHunyuanImage",
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 32),
        layers_per_block=1,
        spatial_compression_ratio=2,
        sample_size=16,
        scaling_factor=0.75289,
    ),
    **QWEN2_5_VL,
    **BYT5,
    "transformer": HUNYUAN_TRANSFORMER,
}
GUIDER = Part("AdaptiveProjectedMixGuidance")
GUIDERS: Parts = {
    "guider": GUIDER.but(guidance_scale=3.25, adaptive_projected_guidance_start_step=4),
    "ocr_guider": GUIDER.but(guidance_scale=3.75, adaptive_projected_guidance_start_step=38),
}
HUNYUAN_DISTILLED = {"transformer": HUNYUAN_TRANSFORMER.but(guidance_embeds=True, use_meanflow=True)}
HUNYUAN_REFINER: Parts = {
    "scheduler": FLOW.but(shift=4.0),
    "vae": Part(
        "AutoencoderKLHunyuanImageRefiner",
        latent_channels=4,
        block_out_channels=(8, 8),
        layers_per_block=1,
        spatial_compression_ratio=2,
        temporal_compression_ratio=2,
    ),
    **QWEN2_5_VL,
    "transformer": HUNYUAN_TRANSFORMER.but(in_channels=8, patch_size=(1, 1, 1), rope_axes_dim=(2, 1, 1)),
}

LONGCAT: Parts = {
    "scheduler": DYNAMIC,
    "vae": models.flux_vae,
    **QWEN2_5_VL,
    "text_processor": vision_language_models.qwen2_vl_processor,
    "transformer": Part(
        "LongCatImageTransformer2DModel", **FLUX_LIKE, joint_attention_dim=16, pooled_projection_dim=16
    ),
}
OVIS: Parts = {
    "scheduler": DYNAMIC,
    "vae": models.flux_vae,
    "text_encoder": language_models.qwen3,
    **QWEN,
    "transformer": Part("OvisImageTransformer2DModel", **FLUX_LIKE, out_channels=4, joint_attention_dim=8),
}

# OmniGen has no text encoder: its transformer is a language model too, with an embedding of the prompt's tokens.
# Diffusers has the pipeline's processor only where torchvision is installed.
OMNIGEN: Parts = {
    "transformer": Part(
        "OmniGenTransformer2DModel",
        in_channels=4,
        hidden_size=8,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=16,
        num_layers=1,
        pad_token_id=0,
        vocab_size=language_models.VOCABULARY,
        max_position_embeddings=32,
        original_max_position_embeddings=16,
        rope_scaling={"type": "su", "short_factor": [1.0, 1.0], "long_factor": [1.5, 2.0]},
        pos_embed_max_size=4,
        time_step_dim=8,
    ),
    "scheduler": FLOW.but(invert_sigmas=True, num_train_timesteps=1),
    "vae": models.vae,
    "tokenizer": language_models.llama_tokenizer,
}

PRX_TRANSFORMER = Part(
    "PRXTransformer2DModel", in_channels=4, context_in_dim=8, hidden_size=8, num_heads=2, depth=1, axes_dim=[2, 2]
)
PRX: Parts = {
    "transformer": PRX_TRANSFORMER,
    "scheduler": DYNAMIC,
    "text_encoder": language_models.t5gemma_encoder,
    "tokenizer": language_models.gemma_tokenizer,
    "vae": DEEP_COMPRESSION,
    "default_sample_size": 16,
}
# Without an autoencoder.
PRX_PIXEL: Parts = {
    "transformer": PRX_TRANSFORMER.but(in_channels=3, bottleneck_size=4, resolution_embeds=True),
    "scheduler": DYNAMIC,
    "text_encoder": language_models.qwen3,
    **QWEN,
    "default_sample_size": 16,
    "prompt_max_tokens": 8,
}

# Its transformer is one of which diffusers keeps the norms in float32, whatever dtype is asked for.
GLM: Parts = {
    "tokenizer": language_models.byt5_tokenizer,
    "processor": vision_language_models.glm_image_processor,
    "text_encoder": language_models.byt5_encoder,
    "vision_language_encoder": vision_language_models.glm_image_model,
    "vae": models.vae,
    "transformer": Part(
        "GlmImageTransformer2DModel",
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        text_embed_dim=8,
        time_embed_dim=8,
        condition_dim=2,
        prior_vq_quantizer_codebook_size=16,
    ),
    "scheduler": DYNAMIC,
}

KREA_2: Parts = {
    "scheduler": DYNAMIC,
    "vae": qwen_image.VAE,
    "text_encoder": vision_language_models.qwen3_vl_without_head,
    **QWEN,
    "transformer": Part(
        "Krea2Transformer2DModel",
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
    ),
    "text_encoder_select_layers": (1, 2),
    "is_distilled": True,
}

# Ideogram has two transformers of one class, for guidance with a prompt and without, of which diffusers keeps some
# modules in float32.
IDEOGRAM_TRANSFORMER = Part(
    "Ideogram4Transformer2DModel",
    in_channels=16,
    num_layers=1,
    attention_head_dim=8,
    num_attention_heads=2,
    intermediate_size=16,
    adaln_dim=8,
    llm_features_dim=16,
    mrope_section=(2, 1, 1),
)
IDEOGRAM: Parts = {
    "scheduler": DYNAMIC,
    "vae": models.vae_with_statistics,
    "text_encoder": vision_language_models.qwen3_vl_without_head,
    **QWEN,
    "transformer": IDEOGRAM_TRANSFORMER,
    "unconditional_transformer": IDEOGRAM_TRANSFORMER,
}
ENHANCER_HEAD = {"prompt_enhancer_head": Part("Ideogram4PromptEnhancerHead", hidden_size=8, vocab_size=48)}

JOY_TRANSFORMER = Part(
    "JoyImageEditTransformer3DModel",
    in_channels=4,
    hidden_size=16,
    num_attention_heads=2,
    text_dim=8,
    num_layers=1,
    rope_dim_list=[2, 2, 4],
)
JOY: Parts = {
    "scheduler": DYNAMIC,
    "vae": models.wan_vae,
    **QWEN3_VL,
    **QWEN,
    "transformer": JOY_TRANSFORMER,
    "text_token_max_length": 16,
}

# Nucleus has five blocks, the fourth of which is a mixture of experts: the others never are one.
NUCLEUS: Parts = {
    "transformer": Part(
        "NucleusMoEImageTransformer2DModel",
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
    ),
    "scheduler": DYNAMIC,
    "vae": qwen_image.VAE,
    **QWEN3_VL,
}

ERNIE: Parts = {
    "transformer": Part(
        "ErnieImageTransformer2DModel",
        hidden_size=16,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=16,
        in_channels=16,
        out_channels=16,
        text_in_dim=8,
        rope_axes_dim=(2, 2, 4),
    ),
    "vae": models.vae_with_statistics,
    "text_encoder": vision_language_models.mistral3_without_head,
    "tokenizer": language_models.fast_tokenizer,
    "scheduler": DYNAMIC,
}
ERNIE_ENHANCER: Parts = {
    "pe": vision_language_models.ministral3_causal,
    "pe_tokenizer": language_models.fast_tokenizer,
}

# A U-Net of transformer blocks whose heads share their keys.
DREAM_LITE: Parts = {
    **QWEN3_VL,
    **QWEN,
    "vae": TINY_AUTOENCODER,
    "unet": models.unet.of(
        "DreamLiteUNetModel",
        down_block_types=("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
        up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
        attention_head_dim=(1, 2),
        ff_mult=2,
    ),
    "scheduler": DYNAMIC,
}

FAMILIES: Table = {
    "bria": ("BriaPipeline", BRIA),
    "bria-image-encoder": ("BriaPipeline", BRIA, unet_models.IMAGE_ENCODER),
    "bria-fibo": ("BriaFiboPipeline", FIBO),
    "bria-fibo-edit": ("BriaFiboEditPipeline", FIBO),
    "bria-fibo-2": ("BriaFibo2Pipeline", FIBO_2),
    "hunyuan-image": ("HunyuanImagePipeline", HUNYUAN),
    "hunyuan-image-guiders": ("HunyuanImagePipeline", HUNYUAN, GUIDERS),
    "hunyuan-image-distilled": ("HunyuanImagePipeline", HUNYUAN, HUNYUAN_DISTILLED),
    "hunyuan-image-refiner": ("HunyuanImageRefinerPipeline", HUNYUAN_REFINER),
    "longcat-image": ("LongCatImagePipeline", LONGCAT),
    "longcat-image-edit": ("LongCatImageEditPipeline", LONGCAT),
    "ovis-image": ("OvisImagePipeline", OVIS),
    "omnigen": ("OmniGenPipeline", OMNIGEN),
    "prx": ("PRXPipeline", PRX),
    "prx-pixel": ("PRXPixelPipeline", PRX_PIXEL),
    "glm-image": ("GlmImagePipeline", GLM),
    "krea-2": ("Krea2Pipeline", KREA_2),
    "ideogram-4": ("Ideogram4Pipeline", IDEOGRAM),
    "ideogram-4-prompt-enhancer": ("Ideogram4Pipeline", IDEOGRAM, ENHANCER_HEAD),
    "joy-image-edit": ("JoyImageEditPipeline", JOY),
    "joy-image-edit-plus": (
        "JoyImageEditPlusPipeline",
        JOY,
        {"transformer": JOY_TRANSFORMER.of("JoyImageEditPlusTransformer3DModel")},
    ),
    "nucleus-image": ("NucleusMoEImagePipeline", NUCLEUS),
    "ernie-image": ("ErnieImagePipeline", ERNIE),
    "ernie-image-prompt-enhancer": ("ErnieImagePipeline", ERNIE, ERNIE_ENHANCER),
    "dream-lite": ("DreamLitePipeline", DREAM_LITE),
    "dream-lite-mobile": ("DreamLiteMobilePipeline", DREAM_LITE),
}
