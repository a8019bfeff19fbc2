"""Image pipelines with a transformer that come as one class or two."""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from support import autoencoders, further_transformers, language_models, models, vision_language_models

from .shared_parts import register


def flow_scheduler() -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def longcat_parts() -> dict[str, Any]:
    return {
        "scheduler": flow_scheduler(),
        "vae": models.vae(latent_channels=1),
        "text_encoder": vision_language_models.qwen2_5_vl(),
        "tokenizer": language_models.qwen_tokenizer(),
        "text_processor": vision_language_models.qwen2_vl_processor(),
        "transformer": further_transformers.longcat_image_transformer(),
    }


def ovis_parts() -> dict[str, Any]:
    return {
        "scheduler": flow_scheduler(),
        "vae": models.vae(latent_channels=1),
        "text_encoder": language_models.qwen3(),
        "tokenizer": language_models.qwen_tokenizer(),
        "transformer": further_transformers.ovis_image_transformer(),
    }


def omnigen_parts() -> dict[str, Any]:
    """Return the parts of a pipeline without a text encoder: its transformer reads the tokens.

    Diffusers has the pipeline's processor only where torchvision is installed.
    """
    return {
        "transformer": further_transformers.omnigen_transformer(),
        "scheduler": FlowMatchEulerDiscreteScheduler(invert_sigmas=True, num_train_timesteps=1),
        "vae": models.vae(),
        "tokenizer": language_models.llama_tokenizer(),
    }


def prx_parts() -> dict[str, Any]:
    return {
        "transformer": further_transformers.prx_transformer(),
        "scheduler": flow_scheduler(),
        "text_encoder": language_models.t5gemma_encoder(),
        "tokenizer": language_models.gemma_tokenizer(),
        "vae": autoencoders.deep_compression_autoencoder(),
        "default_sample_size": 16,
    }


def prx_pixel_parts() -> dict[str, Any]:
    """Return the parts of a pipeline without an autoencoder."""
    return {
        "transformer": further_transformers.prx_transformer(in_channels=3, bottleneck_size=4, resolution_embeds=True),
        "scheduler": flow_scheduler(),
        "text_encoder": language_models.qwen3(),
        "tokenizer": language_models.qwen_tokenizer(),
        "default_sample_size": 16,
        "prompt_max_tokens": 8,
    }


def glm_image_parts() -> dict[str, Any]:
    return {
        "tokenizer": language_models.byt5_tokenizer(),
        "processor": vision_language_models.glm_image_processor(),
        "text_encoder": language_models.byt5_encoder(),
        "vision_language_encoder": vision_language_models.glm_image_model(),
        "vae": models.vae(),
        "transformer": further_transformers.glm_image_transformer(),
        "scheduler": flow_scheduler(),
    }


def krea_2_parts() -> dict[str, Any]:
    return {
        "scheduler": flow_scheduler(),
        "vae": autoencoders.qwen_image_vae(),
        "text_encoder": vision_language_models.qwen3_vl_without_head(layers=2),
        "tokenizer": language_models.qwen_tokenizer(),
        "transformer": further_transformers.krea_2_transformer(),
        "text_encoder_select_layers": (1, 2),
        "is_distilled": True,
    }


def ideogram_4_parts() -> dict[str, Any]:
    """Return the parts of a pipeline with two transformers of one class, for guidance with a prompt and without."""
    return {
        "scheduler": flow_scheduler(),
        "vae": models.vae_with_statistics(),
        "text_encoder": vision_language_models.qwen3_vl_without_head(layers=2),
        "tokenizer": language_models.qwen_tokenizer(),
        "transformer": further_transformers.ideogram_4_transformer(),
        "unconditional_transformer": further_transformers.ideogram_4_transformer(seed=202),
    }


def ideogram_4_parts_with_head() -> dict[str, Any]:
    return {**ideogram_4_parts(), "prompt_enhancer_head": further_transformers.ideogram_4_prompt_enhancer_head()}


def joy_image_parts() -> dict[str, Any]:
    return {
        "scheduler": flow_scheduler(),
        "vae": models.wan_vae(),
        "text_encoder": vision_language_models.qwen3_vl(),
        "tokenizer": language_models.qwen_tokenizer(),
        "transformer": further_transformers.joy_image_transformer(),
        "processor": vision_language_models.qwen3_vl_processor(),
        "text_token_max_length": 16,
    }


def joy_image_plus_parts() -> dict[str, Any]:
    return {**joy_image_parts(), "transformer": further_transformers.joy_image_plus_transformer()}


def nucleus_parts() -> dict[str, Any]:
    return {
        "transformer": further_transformers.nucleus_transformer(),
        "scheduler": flow_scheduler(),
        "vae": autoencoders.qwen_image_vae(),
        "text_encoder": vision_language_models.qwen3_vl(),
        "processor": vision_language_models.qwen3_vl_processor(),
    }


def ernie_image_parts() -> dict[str, Any]:
    return {
        "transformer": further_transformers.ernie_image_transformer(),
        "vae": models.vae_with_statistics(),
        "text_encoder": vision_language_models.mistral3_without_head(),
        "tokenizer": language_models.fast_tokenizer(),
        "scheduler": flow_scheduler(),
    }


def ernie_image_parts_with_enhancer() -> dict[str, Any]:
    return {
        **ernie_image_parts(),
        "pe": vision_language_models.ministral3_causal(),
        "pe_tokenizer": language_models.fast_tokenizer(),
    }


def dream_lite_parts() -> dict[str, Any]:
    return {
        "text_encoder": vision_language_models.qwen3_vl(),
        "tokenizer": language_models.qwen_tokenizer(),
        "processor": vision_language_models.qwen3_vl_processor(),
        "vae": autoencoders.tiny_autoencoder(),
        "unet": further_transformers.dream_lite_unet(),
        "scheduler": flow_scheduler(),
    }


register(longcat_parts, {"longcat-image": "LongCatImagePipeline"})
register(longcat_parts, {"longcat-image-edit": "LongCatImageEditPipeline"}, needs="torchvision")
register(ovis_parts, {"ovis-image": "OvisImagePipeline"})
register(omnigen_parts, {"omnigen": "OmniGenPipeline"}, needs="torchvision")
register(prx_parts, {"prx": "PRXPipeline"})
register(prx_pixel_parts, {"prx-pixel": "PRXPixelPipeline"})
register(glm_image_parts, {"glm-image": "GlmImagePipeline"})
register(krea_2_parts, {"krea-2": "Krea2Pipeline"})
register(ideogram_4_parts, {"ideogram-4": "Ideogram4Pipeline"})
register(ideogram_4_parts_with_head, {"ideogram-4-prompt-enhancer": "Ideogram4Pipeline"})
register(joy_image_parts, {"joy-image-edit": "JoyImageEditPipeline"})
register(joy_image_plus_parts, {"joy-image-edit-plus": "JoyImageEditPlusPipeline"})
register(nucleus_parts, {"nucleus-image": "NucleusMoEImagePipeline"})
register(ernie_image_parts, {"ernie-image": "ErnieImagePipeline"})
register(ernie_image_parts_with_enhancer, {"ernie-image-prompt-enhancer": "ErnieImagePipeline"})
register(dream_lite_parts, {"dream-lite": "DreamLitePipeline", "dream-lite-mobile": "DreamLiteMobilePipeline"})
