"""Video pipelines of U-Nets: AnimateDiff's motion modules, ModelScope, I2VGen-XL, PIA, Stable Video and others."""

from __future__ import annotations

from support import models, unet_models
from support.parts import Part
from support.tokenizers import clip_tokenizer

from .registry import Parts, Table

DDIM = Part("DDIMScheduler", steps_offset=1, clip_sample=False)
TEXT: Parts = {
    "vae": models.vae,
    "text_encoder": models.clip_text_model,
    "tokenizer": clip_tokenizer,
    "scheduler": DDIM.but(beta_schedule="scaled_linear"),
}

ADAPTER = Part(
    "MotionAdapter",
    block_out_channels=(4, 8),
    motion_layers_per_block=1,
    motion_norm_num_groups=2,
    motion_num_attention_heads=2,
    motion_max_seq_length=4,
)
MOTION: Parts = {
    **TEXT,
    "unet": models.unet,
    "motion_adapter": ADAPTER,
    "scheduler": DDIM.but(beta_schedule="linear"),
}
MOTION_XL: Parts = {
    "unet": unet_models.unet_xl,
    "motion_adapter": ADAPTER.but(use_motion_mid_block=False),
    **unet_models.SECOND_TEXT_ENCODER,
}
CONTROLNET = {"controlnet": unet_models.controlnet}
SPARSE: Parts = {
    "controlnet": Part(
        "SparseControlNetModel",
        block_out_channels=(4, 8),
        down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion"),
        layers_per_block=1,
        norm_num_groups=2,
        cross_attention_dim=8,
        attention_head_dim=2,
        motion_max_seq_length=4,
        motion_num_attention_heads=2,
    )
}
# PIA's motion adapter has the U-Net's first convolution, for five more channels.
PIA = {"unet": models.unet, "motion_adapter": ADAPTER.but(conv_in_channels=9)}

# Each of these U-Nets has group norms of 32 groups in its temporal convolutions, whatever the settings.
UNET_3D = Part(
    "UNet3DConditionModel",
    sample_size=8,
    down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
    up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    block_out_channels=(32, 32),
    layers_per_block=1,
    cross_attention_dim=8,
    attention_head_dim=16,
)

ZERO: Parts = {
    "unet": models.unet,
    "safety_checker": models.safety_checker,
    "feature_extractor": unet_models.clip_image_processor,
}
ZERO_XL: Parts = {"unet": unet_models.unet_xl, **unet_models.SECOND_TEXT_ENCODER, "add_watermarker": False}

# Both models have group norms of 32 groups, whatever the settings.
STABLE_VIDEO: Parts = {
    "vae": Part("AutoencoderKLTemporalDecoder", block_out_channels=(32,), sample_size=8),
    **unet_models.IMAGE_ENCODER,
    "unet": Part(
        "UNetSpatioTemporalConditionModel",
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
    ),
    "scheduler": Part(
        "EulerDiscreteScheduler",
        prediction_type="v_prediction",
        use_karras_sigmas=True,
        timestep_type="continuous",
    ),
}

FAMILIES: Table = {
    "animate-diff": ("AnimateDiffPipeline", MOTION),
    "animate-diff-with-image-encoder": ("AnimateDiffPipeline", MOTION, unet_models.IMAGE_ENCODER),
    "animate-diff-sdxl": ("AnimateDiffSDXLPipeline", MOTION, MOTION_XL),
    "animate-diff-pag": ("AnimateDiffPAGPipeline", MOTION),
    "animate-diff-controlnet": ("AnimateDiffControlNetPipeline", MOTION, CONTROLNET),
    "animate-diff-controlnets": (
        "AnimateDiffControlNetPipeline",
        MOTION,
        {"controlnet": [unet_models.controlnet, unet_models.controlnet]},
    ),
    "animate-diff-sparse-controlnet": ("AnimateDiffSparseControlNetPipeline", MOTION, SPARSE),
    "animate-diff-video-to-video": ("AnimateDiffVideoToVideoPipeline", MOTION),
    "animate-diff-video-to-video-controlnet": ("AnimateDiffVideoToVideoControlNetPipeline", MOTION, CONTROLNET),
    "text-to-video-sd": ("TextToVideoSDPipeline", TEXT, {"unet": UNET_3D}),
    "video-to-video-sd": ("VideoToVideoSDPipeline", TEXT, {"unet": UNET_3D}),
    "i2vgen-xl": ("I2VGenXLPipeline", TEXT, {"unet": UNET_3D.of("I2VGenXLUNet")}, unet_models.IMAGE_ENCODER),
    "pia": ("PIAPipeline", TEXT, PIA),
    "text-to-video-zero": ("TextToVideoZeroPipeline", TEXT, ZERO),
    "text-to-video-zero-sdxl": ("TextToVideoZeroSDXLPipeline", TEXT, ZERO_XL),
    "stable-video-diffusion": ("StableVideoDiffusionPipeline", STABLE_VIDEO),
}
