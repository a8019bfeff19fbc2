"""Pipelines that take no prompt: a U-Net and its scheduler, and DiT, which takes a class."""

from __future__ import annotations

from diffusers import (
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    LDMPipeline,
    PNDMPipeline,
    PNDMScheduler,
    RePaintPipeline,
    RePaintScheduler,
    ScoreSdeVePipeline,
    ScoreSdeVeScheduler,
)

from support import models, unet_models

from .registry import family


@family("ddpm")
def ddpm() -> DDPMPipeline:
    return DDPMPipeline(unet=models.unconditional_unet(), scheduler=DDPMScheduler())


@family("ddim")
def ddim() -> DDIMPipeline:
    return DDIMPipeline(unet=models.unconditional_unet(), scheduler=DDIMScheduler())


@family("consistency-model")
def consistency_model() -> ConsistencyModelPipeline:
    """Build a pipeline whose U-Net takes a class, and normalises by scale and shift."""
    unet = unet_models.unconditional_unet(
        num_class_embeds=5,
        resnet_time_scale_shift="scale_shift",
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        attn_norm_num_groups=2,
        upsample_type="resnet",
        downsample_type="resnet",
    )
    return ConsistencyModelPipeline(unet=unet, scheduler=CMStochasticIterativeScheduler())


@family("dit")
def dit() -> DiTPipeline:
    """Build a pipeline whose index has the classes' labels."""
    transformer = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=4,
        out_channels=8,
        num_layers=2,
        norm_num_groups=2,
        sample_size=8,
        num_embeds_ada_norm=10,
    )
    return DiTPipeline(
        transformer=models.randomised(transformer, 2),
        vae=models.vae(),
        scheduler=DDIMScheduler(),
        id2label={0: "tench, Tinca tinca", 1: "goldfish"},
    )


@family("latent-diffusion")
def latent_diffusion() -> LDMPipeline:
    unet = unet_models.unconditional_unet(in_channels=3, out_channels=3)
    return LDMPipeline(vqvae=unet_models.vq_model(latent_channels=3), unet=unet, scheduler=DDIMScheduler())


@family("pndm")
def pndm() -> PNDMPipeline:
    return PNDMPipeline(unet=models.unconditional_unet(), scheduler=PNDMScheduler())


@family("repaint")
def repaint() -> RePaintPipeline:
    return RePaintPipeline(unet=models.unconditional_unet(), scheduler=RePaintScheduler())


@family("score-sde-ve")
def score_sde_ve() -> ScoreSdeVePipeline:
    """Build a pipeline whose U-Net has a buffer of frequencies, and resamples by a fixed kernel."""
    unet = unet_models.unconditional_unet(
        time_embedding_type="fourier",
        block_out_channels=(32, 32),
        down_block_types=("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        up_block_types=("AttnSkipUpBlock2D", "SkipUpBlock2D"),
        mid_block_scale_factor=1.41421356237,
        norm_num_groups=None,
    )
    return ScoreSdeVePipeline(unet=unet, scheduler=ScoreSdeVeScheduler())
