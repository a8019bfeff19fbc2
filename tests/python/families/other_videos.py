"""Video pipelines with models of their own: Allegro, EasyAnimate, Latte, Mochi, Motif Video and Sana Video."""

from __future__ import annotations

from support import language_models, models, unet_models, video_models, vision_language_models
from support.parts import Part
from support.tokenizers import t5_tokenizer

from .registry import Parts, Table

FLOW = Part("FlowMatchEulerDiscreteScheduler")
T5: Parts = {"text_encoder": models.t5_encoder, "tokenizer": t5_tokenizer}

ALLEGRO: Parts = {
    **T5,
    "vae": Part(
        "AutoencoderKLAllegro",
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        norm_num_groups=2,
        sample_size=32,
    ),
    "transformer": Part(
        "AllegroTransformer3DModel",
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        cross_attention_dim=24,
        sample_height=8,
        sample_width=8,
        sample_frames=8,
        caption_channels=8,
    ),
    "scheduler": Part("EulerAncestralDiscreteScheduler"),
}

LATTE: Parts = {
    **T5,
    "vae": models.vae,
    "transformer": Part(
        "LatteTransformer3DModel",
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        cross_attention_dim=8,
        attention_bias=True,
        sample_size=8,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        caption_channels=8,
        video_length=2,
    ),
    "scheduler": Part("DDIMScheduler"),
}

# The autoencoder's group norms have 32 groups, whatever the settings.
MOCHI: Parts = {
    **T5,
    "vae": Part(
        "AutoencoderKLMochi",
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    ),
    "transformer": Part(
        "MochiTransformer3DModel",
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=8,
        text_embed_dim=8,
        time_embed_dim=4,
        max_sequence_length=8,
    ),
    "scheduler": FLOW.but(invert_sigmas=True),
}

EASY_TRANSFORMER = Part(
    "EasyAnimateTransformer3DModel",
    num_attention_heads=2,
    attention_head_dim=16,
    in_channels=4,
    out_channels=4,
    patch_size=2,
    sample_width=16,
    sample_height=16,
    num_layers=1,
    mmdit_layers=1,
    time_embed_dim=2,
    text_embed_dim=8,
    add_norm_text_encoder=True,
)
EASY_ANIMATE: Parts = {
    "vae": Part(
        "AutoencoderKLMagvit",
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("SpatialDownBlock3D", *("SpatialTemporalDownBlock3D",) * 3),
        up_block_types=("SpatialUpBlock3D", *("SpatialTemporalUpBlock3D",) * 3),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
    ),
    "text_encoder": language_models.bert,
    "tokenizer": language_models.bert_tokenizer,
    "transformer": EASY_TRANSFORMER,
    "scheduler": FLOW,
}
# EasyAnimate 5.1 has a vision-language model for BERT.
QWEN2_VL: Parts = {"text_encoder": vision_language_models.qwen2_vl, "tokenizer": language_models.qwen_tokenizer}

# A guider is among its components.
MOTIF: Parts = {
    "scheduler": FLOW.but(shift=15.0),
    "vae": video_models.wan_vae,
    "text_encoder": Part(
        "T5Gemma2Encoder",
        text_config={**language_models.GEMMA_HALF, "dropout_rate": 0.0},
        vision_config=unet_models.SIGLIP_VISION,
        mm_tokens_per_image=4,
    ),
    "tokenizer": language_models.gemma_tokenizer,
    "transformer": Part(
        "MotifVideoTransformer3DModel",
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_single_layers=1,
        mlp_ratio=1.0,
        patch_size=1,
        text_embed_dim=8,
        rope_axes_dim=(2, 2, 4),
    ),
    "guider": Part("AdaptiveProjectedGuidance", guidance_scale=8.0),
}
MOTIF_IMAGE: Parts = {
    "transformer": MOTIF["transformer"].but(image_embed_dim=8),
    "feature_extractor": unet_models.siglip_image_processor,
}

SANA: Parts = {
    "tokenizer": language_models.gemma_tokenizer,
    "text_encoder": language_models.gemma2,
    "vae": models.wan_vae,
    "transformer": Part(
        "SanaVideoTransformer3DModel",
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=8,
        mlp_ratio=1.0,
        sample_size=8,
        rope_max_seq_len=16,
    ),
    "scheduler": Part(
        "DPMSolverMultistepScheduler", use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=8.0
    ),
}

FAMILIES: Table = {
    "allegro": ("AllegroPipeline", ALLEGRO),
    "latte": ("LattePipeline", LATTE),
    "mochi": ("MochiPipeline", MOCHI),
    "easy-animate": ("EasyAnimatePipeline", EASY_ANIMATE),
    "easy-animate-qwen2-vl": ("EasyAnimatePipeline", EASY_ANIMATE, QWEN2_VL),
    "easy-animate-inpaint": (
        "EasyAnimateInpaintPipeline",
        EASY_ANIMATE,
        {"transformer": EASY_TRANSFORMER.but(in_channels=9)},
    ),
    "easy-animate-control": (
        "EasyAnimateControlPipeline",
        EASY_ANIMATE,
        {"transformer": EASY_TRANSFORMER.but(in_channels=8)},
    ),
    "motif-video": ("MotifVideoPipeline", MOTIF),
    "motif-video-image-to-video": ("MotifVideoImage2VideoPipeline", MOTIF, MOTIF_IMAGE),
    "sana-video": ("SanaVideoPipeline", SANA),
    "sana-image-to-video": ("SanaImageToVideoPipeline", SANA, {"scheduler": FLOW}),
}
