"""Qwen-Image: a vision-language model reads the prompt, and in the editing pipelines the image too."""

from __future__ import annotations

from support import language_models, vision_language_models
from support.parts import Part

from .registry import Parts, Table

STATISTICS = {"latents_mean": [0.1, 0.2, 0.3, 0.4], "latents_std": [1.5, 1.25, 1.75, 1.125]}
VAE = Part("AutoencoderKLQwenImage", base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, **STATISTICS)
TRANSFORMER = Part(
    "QwenImageTransformer2DModel",
    patch_size=2,
    in_channels=16,
    out_channels=4,
    num_layers=1,
    attention_head_dim=8,
    num_attention_heads=2,
    joint_attention_dim=16,
    axes_dims_rope=(2, 2, 4),
)
CONTROLNET = TRANSFORMER.of("QwenImageControlNetModel", extra_condition_channels=0)

COMMON: Parts = {
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True, shift_terminal=0.02),
    "vae": VAE,
    "text_encoder": vision_language_models.qwen2_5_vl,
    "tokenizer": language_models.qwen_tokenizer,
    "transformer": TRANSFORMER,
}
PROCESSOR = {"processor": vision_language_models.qwen2_vl_processor}

# The pipeline that takes an image apart: its autoencoder has a channel for transparency.
LAYERED: Parts = {
    **PROCESSOR,
    "vae": VAE.but(input_channels=4),
    "transformer": TRANSFORMER.but(use_additional_t_cond=True, use_layer3d_rope=True),
}

VERSION_2_1: Parts = {
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True),
    "vae": Part(
        "AutoencoderKLQwenImage21",
        base_dim=4,
        decoder_base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        **STATISTICS,
    ),
    "text_encoder": vision_language_models.qwen3_vl,
    "processor": vision_language_models.qwen3_vl_processor,
    "transformer": Part(
        "QwenImage21Transformer2DModel",
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        context_in_dim=8,
        axes_dims_rope=(2, 2, 4),
    ),
}
# A distilled pipeline has its noise levels in `model_index.json`.
FEW_STEPS = {"sample_sigmas": [1.0, 0.75, 0.5, 0.25]}

FAMILIES: Table = {
    "qwen-image": ("QwenImagePipeline", COMMON),
    "qwen-image-img2img": ("QwenImageImg2ImgPipeline", COMMON),
    "qwen-image-inpaint": ("QwenImageInpaintPipeline", COMMON),
    "qwen-image-controlnet": ("QwenImageControlNetPipeline", COMMON, {"controlnet": CONTROLNET}),
    "qwen-image-controlnet-inpaint": (
        "QwenImageControlNetInpaintPipeline",
        COMMON,
        {"controlnet": CONTROLNET.but(extra_condition_channels=4)},
    ),
    "qwen-image-edit": ("QwenImageEditPipeline", COMMON, PROCESSOR),
    "qwen-image-edit-inpaint": ("QwenImageEditInpaintPipeline", COMMON, PROCESSOR),
    "qwen-image-edit-plus": (
        "QwenImageEditPlusPipeline",
        COMMON,
        PROCESSOR,
        {"transformer": TRANSFORMER.but(zero_cond_t=True)},
    ),
    "qwen-image-layered": ("QwenImageLayeredPipeline", COMMON, LAYERED),
    "qwen-image-2.1": ("QwenImage21Pipeline", VERSION_2_1),
    "qwen-image-2.1-few-steps": ("QwenImage21Pipeline", VERSION_2_1, FEW_STEPS),
}
