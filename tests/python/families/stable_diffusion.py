"""Stable Diffusion 1 and 2: from text, from an image, and with a mask, with the autoencoders that can be swapped in."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AsymmetricAutoencoderKL,
    AutoencoderTiny,
    ConsistencyDecoderVAE,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)

from support import models, unet_models
from support.tokenizers import clip_tokenizer

from .registry import family


def stable_diffusion_parts(**changes: Any) -> dict[str, Any]:
    """Return the components that the pipelines around Stable Diffusion 1.5 share, but for `changes`."""
    parts = {
        "vae": models.vae(),
        "text_encoder": models.clip_text_model(),
        "tokenizer": clip_tokenizer(),
        "unet": models.unet(),
        "scheduler": PNDMScheduler(skip_prk_steps=True, steps_offset=1),
        "safety_checker": models.safety_checker(),
        "feature_extractor": unet_models.clip_image_processor(),
    }
    return {**parts, **changes}


def text_parts(**changes: Any) -> dict[str, Any]:
    """Return the components of Stable Diffusion without the safety checker and its processor."""
    parts = stable_diffusion_parts(**changes)
    return {name: part for name, part in parts.items() if name not in ("safety_checker", "feature_extractor")}


@family("stable-diffusion")
def text_to_image() -> StableDiffusionPipeline:
    return StableDiffusionPipeline(**stable_diffusion_parts())


@family("stable-diffusion-2")
def version_2() -> StableDiffusionPipeline:
    """Build a pipeline without a safety checker, whose U-Net has more heads the deeper it is."""
    unet = models.unet(attention_head_dim=(1, 2), use_linear_projection=True, upcast_attention=True)
    scheduler = DDIMScheduler(prediction_type="v_prediction", steps_offset=1, clip_sample=False)
    changes = {"unet": unet, "scheduler": scheduler, "safety_checker": None}
    return StableDiffusionPipeline(**stable_diffusion_parts(**changes), requires_safety_checker=False)


@family("stable-diffusion-image-encoder")
def with_image_encoder() -> StableDiffusionPipeline:
    """Build a pipeline with the encoder that image prompts need."""
    encoder = unet_models.clip_vision_model_with_projection()
    return StableDiffusionPipeline(**stable_diffusion_parts(), image_encoder=encoder)


@family("stable-diffusion-tiny-autoencoder")
def tiny_autoencoder() -> StableDiffusionPipeline:
    vae = AutoencoderTiny(
        encoder_block_out_channels=(4, 4),
        decoder_block_out_channels=(4, 4),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    return StableDiffusionPipeline(**stable_diffusion_parts(vae=models.randomised(vae, 1)))


@family("stable-diffusion-consistency-decoder")
def consistency_decoder() -> StableDiffusionPipeline:
    vae = ConsistencyDecoderVAE(
        encoder_block_out_channels=(4, 8),
        encoder_down_block_types=("DownEncoderBlock2D",) * 2,
        encoder_layers_per_block=1,
        encoder_norm_num_groups=2,
        decoder_block_out_channels=(4, 8),
        decoder_down_block_types=("ResnetDownsampleBlock2D",) * 2,
        decoder_up_block_types=("ResnetUpsampleBlock2D",) * 2,
        decoder_layers_per_block=1,
        decoder_norm_num_groups=2,
        decoder_num_train_timesteps=16,
    )
    return StableDiffusionPipeline(**stable_diffusion_parts(vae=models.randomised(vae, 1)))


@family("stable-diffusion-img2img")
def image_to_image() -> StableDiffusionImg2ImgPipeline:
    return StableDiffusionImg2ImgPipeline(
        **stable_diffusion_parts(scheduler=DPMSolverMultistepScheduler(steps_offset=1))
    )


@family("stable-diffusion-inpaint")
def inpaint() -> StableDiffusionInpaintPipeline:
    """Build a pipeline whose U-Net also takes the mask and the masked image."""
    return StableDiffusionInpaintPipeline(**stable_diffusion_parts(unet=models.unet(in_channels=9)))


@family("stable-diffusion-inpaint-asymmetric")
def inpaint_asymmetric() -> StableDiffusionInpaintPipeline:
    """Build a pipeline whose autoencoder's decoder is larger than its encoder, and takes the mask."""
    vae = AsymmetricAutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        down_block_out_channels=(4, 8),
        up_block_types=("UpDecoderBlock2D",) * 2,
        up_block_out_channels=(8, 16),
        layers_per_up_block=1,
        norm_num_groups=2,
        sample_size=16,
    )
    changes = {"vae": models.randomised(vae, 1), "unet": models.unet(in_channels=9)}
    return StableDiffusionInpaintPipeline(**stable_diffusion_parts(**changes))
