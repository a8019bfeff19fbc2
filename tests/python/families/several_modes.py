"""Pipelines that go between texts and images both ways: UniDiffuser and Versatile Diffusion."""

from __future__ import annotations

import torch
from diffusers import (
    DDIMScheduler,
    UniDiffuserModel,
    UniDiffuserPipeline,
    UniDiffuserTextDecoder,
    VersatileDiffusionDualGuidedPipeline,
    VersatileDiffusionImageVariationPipeline,
    VersatileDiffusionTextToImagePipeline,
)
from transformers import GPT2Tokenizer

from support import models, unet_models
from support.tokenizers import CLIP_VOCABULARY, clip_tokenizer

from .registry import family


def text_decoder(seed: int = 90) -> UniDiffuserTextDecoder:
    """Return a diffusers model around one of transformers, with the tied head made a tensor of its own.

    diffusers cannot save tied tensors as safetensors.
    """
    model = UniDiffuserTextDecoder(
        prefix_length=77,
        prefix_inner_dim=8,
        prefix_hidden_dim=8,
        vocab_size=CLIP_VOCABULARY,
        n_positions=16,
        n_embd=8,
        n_layer=1,
        n_head=2,
    )
    language_model = models.randomised(model, seed).transformer
    language_model.lm_head.weight = torch.nn.Parameter(language_model.lm_head.weight.detach().clone())
    return model


def joint_transformer(seed: int = 91) -> UniDiffuserModel:
    model = UniDiffuserModel(
        text_dim=8,
        clip_img_dim=8,
        num_text_tokens=77,
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        norm_num_groups=2,
        sample_size=8,
        patch_size=2,
        block_type="unidiffuser",
        use_timestep_embedding=True,
        use_data_type_embedding=True,
        norm_type="layer_norm",
        num_embeds_ada_norm=10,
    )
    return models.randomised(model, seed)


def gpt2_tokenizer() -> GPT2Tokenizer:
    return GPT2Tokenizer(vocab={"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}, merges=[("a", "b")])


@family("unidiffuser")
def unidiffuser() -> UniDiffuserPipeline:
    return UniDiffuserPipeline(
        vae=models.vae(),
        text_encoder=models.clip_text_model(),
        image_encoder=unet_models.clip_vision_model_with_projection(),
        clip_image_processor=unet_models.clip_image_processor(),
        clip_tokenizer=clip_tokenizer(),
        text_decoder=text_decoder(),
        text_tokenizer=gpt2_tokenizer(),
        unet=joint_transformer(),
        scheduler=DDIMScheduler(),
    )


@family("versatile-diffusion-image-variation")
def image_variation() -> VersatileDiffusionImageVariationPipeline:
    return VersatileDiffusionImageVariationPipeline(
        image_feature_extractor=unet_models.clip_image_processor(),
        image_encoder=unet_models.clip_vision_model_with_projection(),
        image_unet=models.unet(),
        vae=models.vae(),
        scheduler=DDIMScheduler(),
    )


@family("versatile-diffusion-text-to-image")
def text_to_image() -> VersatileDiffusionTextToImagePipeline:
    """Build a pipeline as it is once it has merged its U-Nets."""
    return VersatileDiffusionTextToImagePipeline(
        tokenizer=clip_tokenizer(),
        text_encoder=models.clip_text_model_with_projection(),
        image_unet=models.unet(),
        text_unet=None,
        vae=models.vae(),
        scheduler=DDIMScheduler(),
    )


@family("versatile-diffusion-dual-guided")
def dual_guided() -> VersatileDiffusionDualGuidedPipeline:
    """Build a pipeline as it is once it has merged its U-Nets."""
    return VersatileDiffusionDualGuidedPipeline(
        tokenizer=clip_tokenizer(),
        image_feature_extractor=unet_models.clip_image_processor(),
        text_encoder=models.clip_text_model_with_projection(),
        image_encoder=unet_models.clip_vision_model_with_projection(),
        image_unet=models.unet(),
        text_unet=None,
        vae=models.vae(),
        scheduler=DDIMScheduler(),
    )
