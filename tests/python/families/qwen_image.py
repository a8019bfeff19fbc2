"""Qwen-Image: a vision-language model reads the prompt, and in the editing pipelines the image too."""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from support import autoencoders, language_models, transformer_models, vision_language_models

from .shared_parts import register


def parts() -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.02),
        "vae": autoencoders.qwen_image_vae(),
        "text_encoder": vision_language_models.qwen2_5_vl(),
        "tokenizer": language_models.qwen_tokenizer(),
        "transformer": transformer_models.qwen_image_transformer(),
    }


def parts_with_controlnet() -> dict[str, Any]:
    return {**parts(), "controlnet": transformer_models.qwen_image_controlnet()}


def parts_with_masked_controlnet() -> dict[str, Any]:
    return {**parts(), "controlnet": transformer_models.qwen_image_controlnet(extra_channels=4)}


def parts_with_processor() -> dict[str, Any]:
    return {**parts(), "processor": vision_language_models.qwen2_vl_processor()}


def edit_plus_parts() -> dict[str, Any]:
    return {**parts_with_processor(), "transformer": transformer_models.qwen_image_transformer(zero_cond_t=True)}


def layered_parts() -> dict[str, Any]:
    """Return the parts of the pipeline that takes an image apart: its autoencoder has a channel for transparency."""
    transformer = transformer_models.qwen_image_transformer(use_additional_t_cond=True, use_layer3d_rope=True)
    return {
        **parts_with_processor(),
        "vae": autoencoders.qwen_image_vae(input_channels=4),
        "transformer": transformer,
    }


register(
    parts,
    {
        "qwen-image": "QwenImagePipeline",
        "qwen-image-img2img": "QwenImageImg2ImgPipeline",
        "qwen-image-inpaint": "QwenImageInpaintPipeline",
    },
)
register(parts_with_controlnet, {"qwen-image-controlnet": "QwenImageControlNetPipeline"})
register(parts_with_masked_controlnet, {"qwen-image-controlnet-inpaint": "QwenImageControlNetInpaintPipeline"})
register(
    parts_with_processor,
    {"qwen-image-edit": "QwenImageEditPipeline", "qwen-image-edit-inpaint": "QwenImageEditInpaintPipeline"},
)
register(edit_plus_parts, {"qwen-image-edit-plus": "QwenImageEditPlusPipeline"})
register(layered_parts, {"qwen-image-layered": "QwenImageLayeredPipeline"})


def parts_of_2_1() -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": autoencoders.qwen_image_2_1_vae(),
        "text_encoder": vision_language_models.qwen3_vl(),
        "processor": vision_language_models.qwen3_vl_processor(),
        "transformer": transformer_models.qwen_image_2_1_transformer(),
    }


def few_step_parts_of_2_1() -> dict[str, Any]:
    """Return the parts of a distilled pipeline: it has its noise levels in `model_index.json`."""
    return {**parts_of_2_1(), "sample_sigmas": [1.0, 0.75, 0.5, 0.25]}


register(parts_of_2_1, {"qwen-image-2.1": "QwenImage21Pipeline"}, needs="torchvision")
register(few_step_parts_of_2_1, {"qwen-image-2.1-few-steps": "QwenImage21Pipeline"}, needs="torchvision")
