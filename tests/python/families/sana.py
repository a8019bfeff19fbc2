"""Sana: a Gemma 2 as the text encoder, a transformer with linear attention and a deep compression autoencoder."""

from __future__ import annotations

from typing import Any

from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, SCMScheduler

from support import autoencoders, language_models, transformer_models

from .shared_parts import register


def parts() -> dict[str, Any]:
    return {
        "tokenizer": language_models.gemma_tokenizer(),
        "text_encoder": language_models.gemma2(),
        "vae": autoencoders.deep_compression_autoencoder(),
        "transformer": transformer_models.sana_transformer(),
        "scheduler": DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    }


def parts_with_controlnet() -> dict[str, Any]:
    return {**parts(), "controlnet": transformer_models.sana_controlnet()}


def sprint_parts() -> dict[str, Any]:
    """Return the parts of the distilled pipeline: its transformer has normalised queries and takes the guidance."""
    transformer = transformer_models.sana_transformer(guidance_embeds=True, qk_norm="rms_norm_across_heads")
    return {**parts(), "transformer": transformer, "scheduler": SCMScheduler()}


def perturbed_attention_parts() -> dict[str, Any]:
    return {**parts(), "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0)}


register(parts, {"sana": "SanaPipeline"})
register(parts_with_controlnet, {"sana-controlnet": "SanaControlNetPipeline"})
register(sprint_parts, {"sana-sprint": "SanaSprintPipeline", "sana-sprint-img2img": "SanaSprintImg2ImgPipeline"})
register(perturbed_attention_parts, {"sana-pag": "SanaPAGPipeline"})
