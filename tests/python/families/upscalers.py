"""Pipelines that enlarge an image."""

from __future__ import annotations

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    LDMSuperResolutionPipeline,
    StableDiffusionLatentUpscalePipeline,
    StableDiffusionUpscalePipeline,
)

from support import models, unet_models

from .registry import family
from .stable_diffusion import text_parts


@family("stable-diffusion-upscale")
def four_times() -> StableDiffusionUpscalePipeline:
    """Build a pipeline with two schedulers, whose U-Net takes a noise level as a class."""
    unet = models.unet(
        in_channels=7,
        num_class_embeds=10,
        only_cross_attention=(True, False),
        use_linear_projection=True,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
    )
    return StableDiffusionUpscalePipeline(
        **text_parts(unet=unet, scheduler=DDIMScheduler(prediction_type="v_prediction")),
        low_res_scheduler=DDPMScheduler(beta_schedule="scaled_linear"),
        max_noise_level=350,
    )


@family("stable-diffusion-latent-upscale")
def latent() -> StableDiffusionLatentUpscalePipeline:
    """Build a pipeline whose U-Net has the blocks of k-diffusion."""
    unet = models.unet(
        in_channels=8,
        out_channels=5,
        act_fn="gelu",
        block_out_channels=(8, 8),
        down_block_types=("KDownBlock2D", "KCrossAttnDownBlock2D"),
        mid_block_type=None,
        up_block_types=("KCrossAttnUpBlock2D", "KUpBlock2D"),
        conv_in_kernel=1,
        conv_out_kernel=1,
        downsample_padding=None,
        norm_num_groups=None,
        only_cross_attention=False,
        resnet_time_scale_shift="scale_shift",
        time_cond_proj_dim=16,
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        upcast_attention=False,
    )
    scheduler = EulerDiscreteScheduler(prediction_type="sample")
    return StableDiffusionLatentUpscalePipeline(**text_parts(unet=unet, scheduler=scheduler))


@family("ldm-super-resolution")
def latent_diffusion() -> LDMSuperResolutionPipeline:
    return LDMSuperResolutionPipeline(
        vqvae=unet_models.vq_model(latent_channels=3),
        unet=unet_models.unconditional_unet(in_channels=6, out_channels=3),
        scheduler=DDIMScheduler(),
    )
