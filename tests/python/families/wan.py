"""Wan 2.1 and 2.2, and the pipelines built upon its models: AnyFlow, ChronoEdit, Helios, Lucy Edit and SkyReels V2."""

from __future__ import annotations

from support import models, unet_models
from support.parts import Part
from support.tokenizers import t5_tokenizer
from support.video_models import IMAGE_CONDITIONED, wan_vae_2_2

from .registry import Parts, Table

TRANSFORMER = models.wan_transformer
WIDE = TRANSFORMER.but(in_channels=12)

TEXT: Parts = {
    "tokenizer": t5_tokenizer,
    "text_encoder": models.umt5_encoder,
    "vae": models.wan_vae,
    "scheduler": Part(
        "UniPCMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    ),
}
COMMON: Parts = {**TEXT, "transformer": TRANSFORMER}
CLIP_IMAGE: Parts = {
    **TEXT,
    "image_encoder": unet_models.clip_vision_model,
    "image_processor": unet_models.clip_image_processor,
    "transformer": TRANSFORMER.but(**IMAGE_CONDITIONED),
}
EXPANDED = {"vae": wan_vae_2_2, "expand_timesteps": True}

VACE = TRANSFORMER.of("WanVACETransformer3DModel", vace_layers=[0, 1], vace_in_channels=12)
ANIMATE = TRANSFORMER.of(
    "WanAnimateTransformer3DModel",
    **IMAGE_CONDITIONED,
    latent_channels=4,
    motion_encoder_channel_sizes={"4": 4, "8": 4, "16": 4},
    motion_encoder_size=16,
    motion_style_dim=4,
    motion_dim=4,
    motion_encoder_dim=4,
    face_encoder_hidden_dim=4,
    face_encoder_num_heads=2,
    inject_face_latents_blocks=2,
)

FLOW_MAP = {"scheduler": Part("FlowMapEulerDiscreteScheduler")}
CHRONO: Parts = {
    "transformer": TRANSFORMER.of("ChronoEditTransformer3DModel", **IMAGE_CONDITIONED),
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", shift=5.0),
}
HELIOS = Part(
    "HeliosTransformer3DModel",
    num_attention_heads=2,
    attention_head_dim=12,
    in_channels=4,
    out_channels=4,
    text_dim=8,
    freq_dim=8,
    ffn_dim=16,
    num_layers=2,
    rope_dim=(4, 4, 4),
    is_amplify_history=True,
)

SKY_REELS = TRANSFORMER.of("SkyReelsV2Transformer3DModel")
FORCING: Parts = {**TEXT, "transformer": SKY_REELS.but(inject_sample_info=True)}
SKY_REELS_IMAGE: Parts = {
    **CLIP_IMAGE,
    "image_encoder": unet_models.clip_vision_model_with_projection,
    "transformer": SKY_REELS.but(**IMAGE_CONDITIONED),
}

FAMILIES: Table = {
    "wan-2.1-text-to-video": (
        "WanPipeline",
        COMMON,
        {"scheduler": Part("FlowMatchEulerDiscreteScheduler", shift=7.0)},
    ),
    "wan-2.2-text-to-video": ("WanPipeline", COMMON, {"transformer_2": TRANSFORMER, "boundary_ratio": 0.875}),
    "wan-2.2-text-to-video-low-noise-only": (
        "WanPipeline",
        TEXT,
        {"transformer": None, "transformer_2": TRANSFORMER, "boundary_ratio": 1.0},
    ),
    "wan-2.2-text-image-to-video": ("WanPipeline", COMMON, EXPANDED),
    "wan-2.1-image-to-video": ("WanImageToVideoPipeline", CLIP_IMAGE),
    "wan-2.1-first-last-frame-to-video": (
        "WanImageToVideoPipeline",
        CLIP_IMAGE,
        {"transformer": TRANSFORMER.but(**IMAGE_CONDITIONED, pos_embed_seq_len=2 * 5)},
    ),
    "wan-2.2-image-to-video": (
        "WanImageToVideoPipeline",
        TEXT,
        {"transformer": WIDE, "transformer_2": WIDE, "boundary_ratio": 0.9},
    ),
    "wan-2.2-image-to-video-low-noise-only": (
        "WanImageToVideoPipeline",
        TEXT,
        {"transformer": None, "transformer_2": WIDE, "boundary_ratio": 1.0},
    ),
    "wan-2.2-image-to-video-expanded-timesteps": ("WanImageToVideoPipeline", COMMON, EXPANDED),
    "wan-video-to-video": ("WanVideoToVideoPipeline", COMMON),
    "wan-2.1-vace": ("WanVACEPipeline", TEXT, {"transformer": VACE}),
    "wan-2.2-vace": (
        "WanVACEPipeline",
        TEXT,
        {"transformer": VACE, "transformer_2": VACE, "boundary_ratio": 0.875},
    ),
    "wan-animate": ("WanAnimatePipeline", CLIP_IMAGE, {"transformer": ANIMATE}),
    "anyflow": ("AnyFlowPipeline", TEXT, FLOW_MAP, {"transformer": TRANSFORMER.of("AnyFlowTransformer3DModel")}),
    "anyflow-far": (
        "AnyFlowFARPipeline",
        TEXT,
        FLOW_MAP,
        {"transformer": TRANSFORMER.of("AnyFlowFARTransformer3DModel", chunk_partition=(1, 1, 1))},
    ),
    "chrono-edit": ("ChronoEditPipeline", CLIP_IMAGE, CHRONO),
    "helios": ("HeliosPipeline", TEXT, {"transformer": HELIOS, "scheduler": Part("HeliosScheduler", stages=1)}),
    "helios-pyramid": (
        "HeliosPyramidPipeline",
        TEXT,
        {"transformer": HELIOS, "scheduler": Part("HeliosDMDScheduler"), "is_distilled": True},
    ),
    "lucy-edit": ("LucyEditPipeline", TEXT, EXPANDED, {"transformer": TRANSFORMER.but(in_channels=8)}),
    "sky-reels-v2": ("SkyReelsV2Pipeline", TEXT, {"transformer": SKY_REELS}),
    "sky-reels-v2-image-to-video": ("SkyReelsV2ImageToVideoPipeline", SKY_REELS_IMAGE),
    "sky-reels-v2-diffusion-forcing": ("SkyReelsV2DiffusionForcingPipeline", FORCING),
    "sky-reels-v2-diffusion-forcing-image-to-video": ("SkyReelsV2DiffusionForcingImageToVideoPipeline", FORCING),
    "sky-reels-v2-diffusion-forcing-video-to-video": ("SkyReelsV2DiffusionForcingVideoToVideoPipeline", FORCING),
}
