"""LTX Video: text, image and conditions to video, and its latent upsampler."""

from __future__ import annotations

from typing import Any

from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    LTXConditionPipeline,
    LTXEulerAncestralRFScheduler,
    LTXI2VLongMultiPromptPipeline,
    LTXImageToVideoPipeline,
    LTXLatentUpsamplePipeline,
    LTXPipeline,
)
from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel

from support import models, video_models
from support.tokenizers import t5_tokenizer

from .registry import family


def parts(**changes: Any) -> dict[str, Any]:
    usual = {
        "scheduler": FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, shift_terminal=0.1
        ),
        "vae": video_models.ltx_vae(),
        "text_encoder": models.t5_encoder(),
        "tokenizer": t5_tokenizer(),
        "transformer": video_models.ltx_transformer(),
    }
    return {**usual, **changes}


@family("ltx")
def ltx() -> LTXPipeline:
    return LTXPipeline(**parts())


@family("ltx-image-to-video")
def ltx_image_to_video() -> LTXImageToVideoPipeline:
    return LTXImageToVideoPipeline(**parts())


@family("ltx-condition")
def ltx_condition() -> LTXConditionPipeline:
    """Return the pipeline of LTX Video 0.9.5 and later, whose decoder takes a time step and noise."""
    vae = video_models.ltx_vae(
        timestep_conditioning=True,
        decoder_inject_noise=(True, False, False),
        upsample_residual=(True, True),
        upsample_factor=(2, 2),
        decoder_block_out_channels=(4, 8),
    )
    return LTXConditionPipeline(**parts(vae=vae))


@family("ltx-image-to-long-video")
def ltx_image_to_long_video() -> LTXI2VLongMultiPromptPipeline:
    return LTXI2VLongMultiPromptPipeline(**parts(scheduler=LTXEulerAncestralRFScheduler()))


@family("ltx-latent-upsample")
def ltx_latent_upsample() -> LTXLatentUpsamplePipeline:
    upsampler = LTXLatentUpsamplerModel(in_channels=4, mid_channels=32, num_blocks_per_stage=1)
    return LTXLatentUpsamplePipeline(vae=video_models.ltx_vae(), latent_upsampler=models.randomised(upsampler, seed=40))
