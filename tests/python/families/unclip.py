"""Pipelines that go from a text to an image's embedding, and on to the image: StableUnCLIP."""

from __future__ import annotations

from typing import Any

from diffusers import DDPMScheduler, PNDMScheduler, StableUnCLIPImg2ImgPipeline, StableUnCLIPPipeline
from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer

from support import models, unet_models
from support.tokenizers import clip_tokenizer

from .registry import family


def stable_unclip_parts() -> dict[str, Any]:
    """Return the components that both pipelines share: the U-Net takes a noised embedding as its class."""
    return {
        "image_normalizer": models.randomised(StableUnCLIPImageNormalizer(embedding_dim=8), 70),
        "image_noising_scheduler": DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        "tokenizer": clip_tokenizer(),
        "text_encoder": models.clip_text_model(),
        "unet": models.unet(
            class_embed_type="projection", projection_class_embeddings_input_dim=16, use_linear_projection=True
        ),
        "scheduler": PNDMScheduler(skip_prk_steps=True, prediction_type="v_prediction"),
        "vae": models.vae(),
    }


@family("stable-unclip")
def text_to_image() -> StableUnCLIPPipeline:
    return StableUnCLIPPipeline(
        **stable_unclip_parts(),
        prior_tokenizer=clip_tokenizer(),
        prior_text_encoder=models.clip_text_model_with_projection(),
        prior=unet_models.prior_transformer(),
        prior_scheduler=DDPMScheduler(variance_type="fixed_small_log", prediction_type="sample"),
    )


@family("stable-unclip-img2img")
def image_to_image() -> StableUnCLIPImg2ImgPipeline:
    return StableUnCLIPImg2ImgPipeline(
        **stable_unclip_parts(),
        feature_extractor=unet_models.clip_image_processor(),
        image_encoder=unet_models.clip_vision_model_with_projection(),
    )
