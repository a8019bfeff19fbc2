"""Pipelines that take no prompt: a U-Net and its scheduler, and DiT, which takes a class."""

from __future__ import annotations

from support import models, unet_models
from support.parts import Part

from .registry import Parts, Table

UNET = models.unconditional_unet
DDIM = {"scheduler": Part("DDIMScheduler")}
QUANTISED = {**DDIM, "vqvae": unet_models.vq_model.but(latent_channels=3)}

# A U-Net that takes a class, and normalises by scale and shift.
CONSISTENCY: Parts = {
    "unet": UNET.but(
        num_class_embeds=5,
        resnet_time_scale_shift="scale_shift",
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        attn_norm_num_groups=2,
        upsample_type="resnet",
        downsample_type="resnet",
    ),
    "scheduler": Part("CMStochasticIterativeScheduler"),
}

# Its index has the classes' labels.
DIT: Parts = {
    "transformer": Part(
        "DiTTransformer2DModel",
        num_attention_heads=2,
        attention_head_dim=4,
        out_channels=8,
        num_layers=2,
        norm_num_groups=2,
        sample_size=8,
        num_embeds_ada_norm=10,
    ),
    "vae": models.vae,
    **DDIM,
    "id2label": {0: "tench, Tinca tinca", 1: "goldfish"},
}

# A U-Net that has a buffer of frequencies, and resamples by a fixed kernel.
SCORE: Parts = {
    "unet": UNET.but(
        time_embedding_type="fourier",
        block_out_channels=(32, 32),
        down_block_types=("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        up_block_types=("AttnSkipUpBlock2D", "SkipUpBlock2D"),
        mid_block_scale_factor=1.41421356237,
        norm_num_groups=None,
    ),
    "scheduler": Part("ScoreSdeVeScheduler"),
}

FAMILIES: Table = {
    "ddpm": ("DDPMPipeline", {"unet": UNET, "scheduler": Part("DDPMScheduler")}),
    "ddim": ("DDIMPipeline", {"unet": UNET}, DDIM),
    "consistency-model": ("ConsistencyModelPipeline", CONSISTENCY),
    "dit": ("DiTPipeline", DIT),
    "latent-diffusion": ("LDMPipeline", {"unet": UNET.but(in_channels=3, out_channels=3)}, QUANTISED),
    "ldm-super-resolution": (
        "LDMSuperResolutionPipeline",
        {"unet": UNET.but(in_channels=6, out_channels=3)},
        QUANTISED,
    ),
    "pndm": ("PNDMPipeline", {"unet": UNET, "scheduler": Part("PNDMScheduler")}),
    "repaint": ("RePaintPipeline", {"unet": UNET, "scheduler": Part("RePaintScheduler")}),
    "score-sde-ve": ("ScoreSdeVePipeline", SCORE),
}
