"""HunyuanVideo 1.0 and 1.5, Framepack, and SkyReels V1, which is built upon it."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLHunyuanVideo15,
    ClassifierFreeGuidance,
    FlowMatchEulerDiscreteScheduler,
    HunyuanSkyreelsImageToVideoPipeline,
    HunyuanVideo15ImageToVideoPipeline,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
    HunyuanVideoFramepackPipeline,
    HunyuanVideoFramepackTransformer3DModel,
    HunyuanVideoImageToVideoPipeline,
    HunyuanVideoPipeline,
)
from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from support import language_models, models, unet_models, video_models
from support.models import randomised
from support.tokenizers import clip_tokenizer

from .registry import family


def parts(**changes: Any) -> dict[str, Any]:
    usual = {
        "text_encoder": language_models.llama(layers=2),
        "tokenizer": language_models.llama_tokenizer(),
        "transformer": video_models.hunyuan_video_transformer(),
        "vae": video_models.hunyuan_video_vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder_2": models.clip_text_model(),
        "tokenizer_2": clip_tokenizer(),
    }
    return {**usual, **changes}


def siglip_parts() -> dict[str, Any]:
    return {
        "image_encoder": video_models.siglip_vision_model(),
        "feature_extractor": video_models.siglip_image_processor(),
    }


def llava(seed: int = 50) -> LlavaForConditionalGeneration:
    config = LlavaConfig(
        text_config=LlamaConfig(**language_models.decoder_options()),
        vision_config=unet_models.clip_vision_config(),
        image_token_index=language_models.VOCABULARY - 1,
        vision_feature_layer=-1,
    )
    return randomised(LlavaForConditionalGeneration(config), seed)


@family("hunyuan-video")
def hunyuan_video() -> HunyuanVideoPipeline:
    return HunyuanVideoPipeline(**parts())


@family("hunyuan-video-image-to-video")
def hunyuan_video_image_to_video() -> HunyuanVideoImageToVideoPipeline:
    transformer = video_models.hunyuan_video_transformer(
        in_channels=9, guidance_embeds=False, image_condition_type="latent_concat"
    )
    return HunyuanVideoImageToVideoPipeline(
        **parts(text_encoder=llava(), transformer=transformer), image_processor=unet_models.clip_image_processor()
    )


@family("hunyuan-video-image-to-video-token-replace")
def hunyuan_video_image_to_video_token_replace() -> HunyuanVideoImageToVideoPipeline:
    transformer = video_models.hunyuan_video_transformer(image_condition_type="token_replace")
    return HunyuanVideoImageToVideoPipeline(
        **parts(text_encoder=llava(), transformer=transformer), image_processor=unet_models.clip_image_processor()
    )


@family("hunyuan-video-framepack")
def hunyuan_video_framepack() -> HunyuanVideoFramepackPipeline:
    transformer = video_models.hunyuan_video_transformer(
        kind=HunyuanVideoFramepackTransformer3DModel,
        patch_size=2,
        has_image_proj=True,
        image_proj_dim=8,
        has_clean_x_embedder=True,
    )
    return HunyuanVideoFramepackPipeline(**parts(transformer=transformer), **siglip_parts())


@family("hunyuan-skyreels-image-to-video")
def hunyuan_skyreels_image_to_video() -> HunyuanSkyreelsImageToVideoPipeline:
    transformer = video_models.hunyuan_video_transformer(in_channels=8)
    return HunyuanSkyreelsImageToVideoPipeline(**parts(transformer=transformer))


def parts_1_5(task_type: str) -> dict[str, Any]:
    transformer = HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_refiner_layers=1,
        mlp_ratio=1.0,
        text_embed_dim=8,
        text_embed_2_dim=8,
        image_embed_dim=8,
        rope_axes_dim=(2, 2, 4),
        target_size=16,
        task_type=task_type,
    )
    vae = AutoencoderKLHunyuanVideo15(
        latent_channels=4,
        block_out_channels=(8, 8),
        layers_per_block=1,
        spatial_compression_ratio=4,
        temporal_compression_ratio=2,
        downsample_match_channel=False,
        upsample_match_channel=False,
    )
    return {
        "text_encoder": video_models.qwen2_5_vl_text_model(),
        "tokenizer": language_models.qwen_tokenizer(),
        "transformer": randomised(transformer, seed=51),
        "vae": randomised(vae, seed=52),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder_2": language_models.byt5_encoder(),
        "tokenizer_2": language_models.byt5_tokenizer(),
        "guider": ClassifierFreeGuidance(guidance_scale=6.0),
    }


@family("hunyuan-video-1.5")
def hunyuan_video_1_5() -> HunyuanVideo15Pipeline:
    return HunyuanVideo15Pipeline(**parts_1_5("t2v"))


@family("hunyuan-video-1.5-image-to-video")
def hunyuan_video_1_5_image_to_video() -> HunyuanVideo15ImageToVideoPipeline:
    return HunyuanVideo15ImageToVideoPipeline(**parts_1_5("i2v"), **siglip_parts())
