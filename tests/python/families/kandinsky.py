"""Kandinsky 2.1, 2.2 and 3: priors, decoders, and both in one pipeline whose index has names with a prefix."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    Kandinsky3Img2ImgPipeline,
    Kandinsky3Pipeline,
    Kandinsky3UNet,
    KandinskyCombinedPipeline,
    KandinskyImg2ImgCombinedPipeline,
    KandinskyImg2ImgPipeline,
    KandinskyInpaintCombinedPipeline,
    KandinskyInpaintPipeline,
    KandinskyPipeline,
    KandinskyPriorPipeline,
    KandinskyV22CombinedPipeline,
    KandinskyV22ControlnetImg2ImgPipeline,
    KandinskyV22ControlnetPipeline,
    KandinskyV22Img2ImgCombinedPipeline,
    KandinskyV22Img2ImgPipeline,
    KandinskyV22InpaintCombinedPipeline,
    KandinskyV22InpaintPipeline,
    KandinskyV22Pipeline,
    KandinskyV22PriorEmb2EmbPipeline,
    KandinskyV22PriorPipeline,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)
from diffusers.pipelines.kandinsky import MultilingualCLIP
from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig
from transformers import XLMRobertaTokenizer

from support import models, unet_models
from support.tokenizers import clip_tokenizer, t5_tokenizer

from .registry import family


def xlm_roberta_tokenizer() -> XLMRobertaTokenizer:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    return XLMRobertaTokenizer([(token, 0.0) for token in special] + [(letter, -1.0) for letter in ascii_lowercase])


def multilingual_clip(seed: int = 40) -> MultilingualCLIP:
    config = MCLIPConfig(
        vocab_size=len(xlm_roberta_tokenizer()),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=80,
        type_vocab_size=1,
        transformerDimSize=8,
        imageDimSize=8,
    )
    return models.randomised(MultilingualCLIP(config), seed)


def movq(seed: int = 41) -> VQModel:
    """Return an autoencoder with spatial norms, which always have 32 groups."""
    return unet_models.vq_model(seed, block_out_channels=(32,), norm_type="spatial", vq_embed_dim=4)


def decoder_unet(**options: Any) -> UNet2DConditionModel:
    """Return the U-Net that makes latent images from an image's embedding, and the text's where `options` say so."""
    return models.unet(
        out_channels=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        encoder_hid_dim=8,
        resnet_time_scale_shift="scale_shift",
        **options,
    )


def prior_parts(scheduler: UnCLIPScheduler | None = None) -> dict[str, Any]:
    return {
        "prior": unet_models.prior_transformer(),
        "image_encoder": unet_models.clip_vision_model_with_projection(),
        "text_encoder": models.clip_text_model_with_projection(),
        "tokenizer": clip_tokenizer(),
        "scheduler": scheduler or UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="sample"),
        "image_processor": unet_models.clip_image_processor(),
    }


def prefixed_prior_parts() -> dict[str, Any]:
    """Return the prior's components under the names that they have in a combined pipeline."""
    return {f"prior_{name}": part for name, part in prior_parts().items()}


def version_21_parts(in_channels: int = 4, scheduler: Any = None) -> dict[str, Any]:
    return {
        "text_encoder": multilingual_clip(),
        "tokenizer": xlm_roberta_tokenizer(),
        "unet": decoder_unet(
            in_channels=in_channels, encoder_hid_dim_type="text_image_proj", addition_embed_type="text_image"
        ),
        "scheduler": scheduler or DDPMScheduler(variance_type="learned_range"),
        "movq": movq(),
    }


def version_22_parts(in_channels: int = 4, condition: str = "image") -> dict[str, Any]:
    return {
        "unet": decoder_unet(in_channels=in_channels, encoder_hid_dim_type="image_proj", addition_embed_type=condition),
        "scheduler": DDPMScheduler(variance_type="learned_range"),
        "movq": movq(),
    }


def version_3_parts() -> dict[str, Any]:
    unet = Kandinsky3UNet(
        time_embedding_dim=4,
        groups=2,
        attention_head_dim=4,
        layers_per_block=1,
        block_out_channels=(8, 8),
        cross_attention_dim=8,
        encoder_hid_dim=8,
    )
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": models.t5_encoder(),
        "unet": models.randomised(unet, 42),
        "scheduler": DDPMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=True, thresholding=False),
        "movq": movq(),
    }


@family("kandinsky-prior")
def prior() -> KandinskyPriorPipeline:
    return KandinskyPriorPipeline(**prior_parts())


@family("kandinsky")
def text_to_image() -> KandinskyPipeline:
    return KandinskyPipeline(**version_21_parts())


@family("kandinsky-img2img")
def image_to_image() -> KandinskyImg2ImgPipeline:
    return KandinskyImg2ImgPipeline(**version_21_parts(scheduler=DDIMScheduler()))


@family("kandinsky-inpaint")
def inpaint() -> KandinskyInpaintPipeline:
    return KandinskyInpaintPipeline(**version_21_parts(in_channels=9, scheduler=DDIMScheduler()))


@family("kandinsky-combined")
def combined() -> KandinskyCombinedPipeline:
    return KandinskyCombinedPipeline(**version_21_parts(), **prefixed_prior_parts())


@family("kandinsky-img2img-combined")
def image_to_image_combined() -> KandinskyImg2ImgCombinedPipeline:
    return KandinskyImg2ImgCombinedPipeline(**version_21_parts(), **prefixed_prior_parts())


@family("kandinsky-inpaint-combined")
def inpaint_combined() -> KandinskyInpaintCombinedPipeline:
    return KandinskyInpaintCombinedPipeline(**version_21_parts(in_channels=9), **prefixed_prior_parts())


@family("kandinsky-2-2-prior")
def prior_22() -> KandinskyV22PriorPipeline:
    return KandinskyV22PriorPipeline(**prior_parts())


@family("kandinsky-2-2-prior-emb2emb")
def prior_from_embedding_22() -> KandinskyV22PriorEmb2EmbPipeline:
    return KandinskyV22PriorEmb2EmbPipeline(**prior_parts())


@family("kandinsky-2-2")
def text_to_image_22() -> KandinskyV22Pipeline:
    return KandinskyV22Pipeline(**version_22_parts())


@family("kandinsky-2-2-img2img")
def image_to_image_22() -> KandinskyV22Img2ImgPipeline:
    return KandinskyV22Img2ImgPipeline(**version_22_parts())


@family("kandinsky-2-2-inpaint")
def inpaint_22() -> KandinskyV22InpaintPipeline:
    return KandinskyV22InpaintPipeline(**version_22_parts(in_channels=9))


@family("kandinsky-2-2-controlnet")
def controlnet_22() -> KandinskyV22ControlnetPipeline:
    return KandinskyV22ControlnetPipeline(**version_22_parts(in_channels=8, condition="image_hint"))


@family("kandinsky-2-2-controlnet-img2img")
def controlnet_image_to_image_22() -> KandinskyV22ControlnetImg2ImgPipeline:
    return KandinskyV22ControlnetImg2ImgPipeline(**version_22_parts(in_channels=8, condition="image_hint"))


@family("kandinsky-2-2-combined")
def combined_22() -> KandinskyV22CombinedPipeline:
    return KandinskyV22CombinedPipeline(**version_22_parts(), **prefixed_prior_parts())


@family("kandinsky-2-2-img2img-combined")
def image_to_image_combined_22() -> KandinskyV22Img2ImgCombinedPipeline:
    return KandinskyV22Img2ImgCombinedPipeline(**version_22_parts(), **prefixed_prior_parts())


@family("kandinsky-2-2-inpaint-combined")
def inpaint_combined_22() -> KandinskyV22InpaintCombinedPipeline:
    return KandinskyV22InpaintCombinedPipeline(**version_22_parts(in_channels=9), **prefixed_prior_parts())


@family("kandinsky-3")
def text_to_image_3() -> Kandinsky3Pipeline:
    return Kandinsky3Pipeline(**version_3_parts())


@family("kandinsky-3-img2img")
def image_to_image_3() -> Kandinsky3Img2ImgPipeline:
    return Kandinsky3Img2ImgPipeline(**version_3_parts())
