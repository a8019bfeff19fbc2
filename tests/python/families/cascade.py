"""Stable Cascade's prior. diffusers cannot load the decoder's pipeline: it saves the index with a class it lacks."""

from __future__ import annotations

from diffusers import DDPMWuerstchenScheduler, StableCascadePriorPipeline, StableCascadeUNet

from support import models, unet_models
from support.tokenizers import clip_tokenizer

from .registry import family


def cascade_unet(seed: int = 50) -> StableCascadeUNet:
    """Return a model with convolutions between the repeats of its last blocks."""
    blocks = ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock")
    model = StableCascadeUNet(
        in_channels=4,
        out_channels=4,
        timestep_ratio_embedding_dim=4,
        conditioning_dim=8,
        block_out_channels=(4, 8),
        num_attention_heads=(1, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        up_blocks_repeat_mappers=(2, 2),
        block_types_per_layer=(blocks, blocks),
        clip_text_in_channels=8,
        clip_text_pooled_in_channels=8,
        clip_image_in_channels=8,
        clip_seq=2,
        switch_level=(False,),
    )
    return models.randomised(model, seed)


@family("stable-cascade-prior")
def prior() -> StableCascadePriorPipeline:
    return StableCascadePriorPipeline(
        tokenizer=clip_tokenizer(),
        text_encoder=models.clip_text_model_with_projection(),
        prior=cascade_unet(),
        scheduler=DDPMWuerstchenScheduler(),
        image_encoder=unet_models.clip_vision_model_with_projection(),
        feature_extractor=unet_models.clip_image_processor(),
    )
