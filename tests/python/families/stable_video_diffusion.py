"""Stable Video Diffusion."""

from __future__ import annotations

from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)

from support import unet_models
from support.models import randomised

from .registry import family


@family("stable-video-diffusion")
def stable_video_diffusion() -> StableVideoDiffusionPipeline:
    # Both models have group norms of 32 groups, whatever the settings.
    vae = AutoencoderKLTemporalDecoder(block_out_channels=(32,), sample_size=8)
    unet = UNetSpatioTemporalConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        block_out_channels=(32, 32),
        layers_per_block=1,
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=12,
        cross_attention_dim=8,
        num_attention_heads=(2, 2),
        num_frames=2,
    )
    return StableVideoDiffusionPipeline(
        vae=randomised(vae, seed=40),
        image_encoder=unet_models.clip_vision_model_with_projection(),
        unet=randomised(unet, seed=41),
        scheduler=EulerDiscreteScheduler(
            prediction_type="v_prediction", use_karras_sigmas=True, timestep_type="continuous"
        ),
        feature_extractor=unet_models.clip_image_processor(),
    )
