"""HunyuanVideo 1.0 and 1.5, Framepack, and SkyReels V1, which is built upon it."""

from __future__ import annotations

from support import language_models, models, unet_models, video_models, vision_language_models
from support.parts import Part
from support.tokenizers import clip_tokenizer

from .registry import Parts, Table

TRANSFORMER = Part(
    "HunyuanVideoTransformer3DModel",
    in_channels=4,
    out_channels=4,
    num_attention_heads=2,
    attention_head_dim=8,
    num_layers=1,
    num_single_layers=1,
    num_refiner_layers=1,
    mlp_ratio=1.0,
    patch_size=1,
    text_embed_dim=8,
    pooled_projection_dim=8,
    rope_axes_dim=(2, 2, 4),
)
COMMON: Parts = {
    "text_encoder": language_models.llama.but(num_hidden_layers=2),
    "tokenizer": language_models.llama_tokenizer,
    "transformer": TRANSFORMER,
    "vae": video_models.hunyuan_video_vae,
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", shift=7.0),
    "text_encoder_2": models.clip_text_model,
    "tokenizer_2": clip_tokenizer,
}

# An encoder that sees images.
IMAGE: Parts = {
    **COMMON,
    "text_encoder": Part(
        "LlavaForConditionalGeneration",
        text_config={"model_type": "llama", **language_models.DECODER},
        vision_config={"model_type": "clip_vision_model", **unet_models.CLIP_VISION},
        image_token_index=language_models.VOCABULARY - 1,
        vision_feature_layer=-1,
    ),
    "image_processor": unet_models.clip_image_processor,
}
LATENT_CONCAT = TRANSFORMER.but(in_channels=9, guidance_embeds=False, image_condition_type="latent_concat")
FRAMEPACK = TRANSFORMER.of(
    "HunyuanVideoFramepackTransformer3DModel",
    patch_size=2,
    has_image_proj=True,
    image_proj_dim=8,
    has_clean_x_embedder=True,
)

TRANSFORMER_1_5 = Part(
    "HunyuanVideo15Transformer3DModel",
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
    task_type="t2v",
)
VERSION_1_5: Parts = {
    "text_encoder": vision_language_models.qwen2_5_vl_text_model,
    "tokenizer": language_models.qwen_tokenizer,
    "transformer": TRANSFORMER_1_5,
    "vae": Part(
        "AutoencoderKLHunyuanVideo15",
        latent_channels=4,
        block_out_channels=(8, 8),
        layers_per_block=1,
        spatial_compression_ratio=4,
        temporal_compression_ratio=2,
        downsample_match_channel=False,
        upsample_match_channel=False,
    ),
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", shift=7.0),
    "text_encoder_2": language_models.byt5_encoder,
    "tokenizer_2": language_models.byt5_tokenizer,
    "guider": Part("ClassifierFreeGuidance", guidance_scale=6.0),
}

FAMILIES: Table = {
    "hunyuan-video": ("HunyuanVideoPipeline", COMMON),
    "hunyuan-video-image-to-video": ("HunyuanVideoImageToVideoPipeline", IMAGE, {"transformer": LATENT_CONCAT}),
    "hunyuan-video-image-to-video-token-replace": (
        "HunyuanVideoImageToVideoPipeline",
        IMAGE,
        {"transformer": TRANSFORMER.but(image_condition_type="token_replace")},
    ),
    "hunyuan-video-framepack": (
        "HunyuanVideoFramepackPipeline",
        COMMON,
        {"transformer": FRAMEPACK},
        unet_models.SIGLIP_ENCODER,
    ),
    "hunyuan-skyreels-image-to-video": (
        "HunyuanSkyreelsImageToVideoPipeline",
        COMMON,
        {"transformer": TRANSFORMER.but(in_channels=8)},
    ),
    "hunyuan-video-1.5": ("HunyuanVideo15Pipeline", VERSION_1_5),
    "hunyuan-video-1.5-image-to-video": (
        "HunyuanVideo15ImageToVideoPipeline",
        VERSION_1_5,
        {"transformer": TRANSFORMER_1_5.but(task_type="i2v")},
        unet_models.SIGLIP_ENCODER,
    ),
}
