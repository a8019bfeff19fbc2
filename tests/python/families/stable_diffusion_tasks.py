"""Pipelines around Stable Diffusion whose components differ from its own: other conditions, encoders and processors."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKL,
    DDIMInverseScheduler,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    LCMScheduler,
    StableDiffusionDepth2ImgPipeline,
    StableDiffusionDiffEditPipeline,
    StableDiffusionGLIGENPipeline,
    StableDiffusionGLIGENTextImagePipeline,
    StableDiffusionImageVariationPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionLDM3DPipeline,
    StableDiffusionPipelineSafe,
    UNet2DConditionModel,
)
from diffusers import LatentConsistencyModelImg2ImgPipeline as LCMImg2ImgPipeline
from diffusers import LatentConsistencyModelPipeline as LCMPipeline
from diffusers.pipelines.stable_diffusion import CLIPImageProjection
from transformers import CLIPProcessor, DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from support import models, unet_models
from support.tokenizers import clip_tokenizer

from .registry import family
from .stable_diffusion import stable_diffusion_parts, text_parts


def consistency_parts() -> dict[str, Any]:
    """Return components with a U-Net that takes the strength of guidance."""
    return stable_diffusion_parts(unet=models.unet(time_cond_proj_dim=8), scheduler=LCMScheduler())


def image_parts() -> dict[str, Any]:
    """Return components with an encoder of images in place of the text's."""
    parts = stable_diffusion_parts(image_encoder=unet_models.clip_vision_model_with_projection())
    return {name: part for name, part in parts.items() if name not in ("text_encoder", "tokenizer")}


def grounded_unet(kind: str) -> UNet2DConditionModel:
    """Return a U-Net that takes boxes with a text or an image each."""
    return models.unet(attention_type=kind, cross_attention_dim=8)


def depth_estimator(seed: int = 60) -> DPTForDepthEstimation:
    config = DPTConfig(
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=4,
        use_auxiliary_head=False,
    )
    return models.randomised(DPTForDepthEstimation(config), seed)


@family("latent-consistency-model")
def latent_consistency() -> LCMPipeline:
    return LCMPipeline(**consistency_parts())


@family("latent-consistency-model-img2img")
def latent_consistency_image_to_image() -> LCMImg2ImgPipeline:
    return LCMImg2ImgPipeline(**consistency_parts())


@family("stable-diffusion-instruct-pix2pix")
def instruct_pix2pix() -> StableDiffusionInstructPix2PixPipeline:
    """Build a pipeline whose U-Net also takes the image to edit."""
    changes = {"unet": models.unet(in_channels=8), "scheduler": EulerAncestralDiscreteScheduler(steps_offset=1)}
    return StableDiffusionInstructPix2PixPipeline(**stable_diffusion_parts(**changes))


@family("stable-diffusion-depth2img")
def depth_to_image() -> StableDiffusionDepth2ImgPipeline:
    return StableDiffusionDepth2ImgPipeline(
        **text_parts(unet=models.unet(in_channels=5)),
        depth_estimator=depth_estimator(),
        feature_extractor=DPTImageProcessor(size={"height": 16, "width": 16}),
    )


@family("stable-diffusion-image-variation")
def image_variation() -> StableDiffusionImageVariationPipeline:
    return StableDiffusionImageVariationPipeline(**image_parts())


@family("stable-diffusion-gligen")
def boxes_of_text() -> StableDiffusionGLIGENPipeline:
    return StableDiffusionGLIGENPipeline(**stable_diffusion_parts(unet=grounded_unet("gated")))


@family("stable-diffusion-gligen-text-image")
def boxes_of_images() -> StableDiffusionGLIGENTextImagePipeline:
    projection = models.randomised(CLIPImageProjection(hidden_size=8), 61)
    return StableDiffusionGLIGENTextImagePipeline(
        **stable_diffusion_parts(unet=grounded_unet("gated-text-image")),
        processor=CLIPProcessor(unet_models.clip_image_processor(), clip_tokenizer()),
        image_encoder=unet_models.clip_vision_model_with_projection(),
        image_project=projection,
    )


@family("stable-diffusion-diffedit")
def diff_edit() -> StableDiffusionDiffEditPipeline:
    schedulers = {
        "scheduler": DDIMScheduler(steps_offset=1, clip_sample=False),
        "inverse_scheduler": DDIMInverseScheduler(),
    }
    return StableDiffusionDiffEditPipeline(**stable_diffusion_parts(**schedulers))


@family("stable-diffusion-ldm3d")
def image_and_depth() -> StableDiffusionLDM3DPipeline:
    """Build a pipeline whose autoencoder also makes the depth."""
    vae = AutoencoderKL(in_channels=6, out_channels=6, block_out_channels=(4,), norm_num_groups=2, sample_size=16)
    parts = stable_diffusion_parts(vae=models.randomised(vae, 1))
    return StableDiffusionLDM3DPipeline(**parts, image_encoder=None)


@family("stable-diffusion-safe")
def safe() -> StableDiffusionPipelineSafe:
    parts = stable_diffusion_parts(safety_checker=None)
    return StableDiffusionPipelineSafe(**parts, requires_safety_checker=False)
