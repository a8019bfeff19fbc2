"""Flux: a CLIP encoder, a T5 encoder and a transformer with double and single blocks."""

from __future__ import annotations

from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, FluxPriorReduxPipeline

from support import image_encoders, models, transformer_models
from support.tokenizers import clip_tokenizer, t5_tokenizer

from .registry import family
from .shared_parts import register


def text_parts() -> dict[str, Any]:
    return {
        "text_encoder": models.clip_text_model(),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": models.t5_encoder(),
        "tokenizer_2": t5_tokenizer(),
    }


def parts() -> dict[str, Any]:
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15),
        "vae": models.vae(latent_channels=1),
        **text_parts(),
        "transformer": models.flux_transformer(),
    }


def parts_with_guidance() -> dict[str, Any]:
    """Return the parts of the distilled models that take the guidance as an input."""
    return {**parts(), "transformer": transformer_models.flux_guided_transformer()}


def parts_with_image_encoder() -> dict[str, Any]:
    return {
        **parts(),
        "image_encoder": image_encoders.clip_vision_model(),
        "feature_extractor": image_encoders.clip_image_processor(),
    }


def parts_with_wide_input() -> dict[str, Any]:
    """Return the parts of a pipeline whose transformer also takes an image's latents, concatenated to its input."""
    return {**parts(), "transformer": transformer_models.flux_guided_transformer(in_channels=8, out_channels=4)}


def parts_with_mask() -> dict[str, Any]:
    return {**parts(), "transformer": transformer_models.flux_guided_transformer(in_channels=20, out_channels=4)}


def parts_with_controlnet() -> dict[str, Any]:
    return {**parts(), "controlnet": transformer_models.flux_controlnet()}


def parts_with_union_controlnet() -> dict[str, Any]:
    """Return the parts of a pipeline whose controlnet has several modes, with an embedding for each."""
    return {**parts(), "controlnet": transformer_models.flux_controlnet(modes=2)}


register(
    parts,
    {
        "flux": "FluxPipeline",
        "flux-img2img": "FluxImg2ImgPipeline",
        "flux-inpaint": "FluxInpaintPipeline",
        "flux-kontext": "FluxKontextPipeline",
        "flux-kontext-inpaint": "FluxKontextInpaintPipeline",
        "visual-cloze": "VisualClozePipeline",
        "visual-cloze-generation": "VisualClozeGenerationPipeline",
    },
)
register(parts_with_guidance, {"flux-guidance": "FluxPipeline"})
register(parts_with_image_encoder, {"flux-image-encoder": "FluxPipeline"})
register(
    parts_with_wide_input,
    {
        "flux-control": "FluxControlPipeline",
        "flux-control-img2img": "FluxControlImg2ImgPipeline",
        "flux-control-inpaint": "FluxControlInpaintPipeline",
    },
)
register(parts_with_mask, {"flux-fill": "FluxFillPipeline"})
register(
    parts_with_controlnet,
    {
        "flux-controlnet": "FluxControlNetPipeline",
        "flux-controlnet-img2img": "FluxControlNetImg2ImgPipeline",
        "flux-controlnet-inpaint": "FluxControlNetInpaintPipeline",
    },
)
register(parts_with_union_controlnet, {"flux-union-controlnet": "FluxControlNetPipeline"})


@family("flux-prior-redux")
def prior_redux() -> FluxPriorReduxPipeline:
    return FluxPriorReduxPipeline(**image_parts(), **text_parts())


@family("flux-prior-redux-without-text")
def prior_redux_without_text() -> FluxPriorReduxPipeline:
    """Return the prior as it is published, without the encoders that the main pipeline has."""
    return FluxPriorReduxPipeline(**image_parts())


def image_parts() -> dict[str, Any]:
    return {
        "image_encoder": image_encoders.siglip_vision_model(),
        "feature_extractor": image_encoders.siglip_image_processor(),
        "image_embedder": transformer_models.redux_image_encoder(),
    }
