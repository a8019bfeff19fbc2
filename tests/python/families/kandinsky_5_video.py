"""Kandinsky 5's videos and images, and Kandinsky 6's videos with sound and its super resolution."""

from __future__ import annotations

from support import models, video_models, vision_language_models
from support.parts import Part
from support.tokenizers import clip_tokenizer

from .registry import Parts, Table

TRANSFORMER = Part(
    "Kandinsky5Transformer3DModel",
    in_visual_dim=4,
    out_visual_dim=4,
    in_text_dim=16,
    in_text_dim2=8,
    time_dim=8,
    model_dim=16,
    ff_dim=16,
    num_text_blocks=1,
    num_visual_blocks=1,
    axes_dims=(2, 2, 4),
)
TEXT: Parts = {
    "text_encoder": vision_language_models.qwen2_5_vl,
    "tokenizer": vision_language_models.qwen2_vl_processor,
    "text_encoder_2": models.clip_text_model,
    "tokenizer_2": clip_tokenizer,
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", shift=5.0),
    "transformer": TRANSFORMER,
}
IMAGE: Parts = {**TEXT, "vae": models.vae}
VIDEO: Parts = {**TEXT, "vae": video_models.hunyuan_video_vae}
CONDITIONED = {"transformer": TRANSFORMER.but(visual_cond=True)}

WITH_SOUND: Parts = {
    "tokenizer": vision_language_models.qwen2_5_vl_processor,
    "transformer": TRANSFORMER.of(
        "Kandinsky6Transformer3DModel",
        in_audio_dim=4,
        out_audio_dim=4,
        model_dim_a=8,
        time_dim_a=8,
        ff_dim_a=8,
        axes_dims_a=(2, 2, 4),
    ),
    "audio_vae": Part(
        "MMAudioVAE", mel_bins=8, latent_channels=4, hidden_channels=8, channel_multipliers=(1, 2), n_fft=32
    ),
    "vocoder": Part(
        "MMAudioVocoder",
        num_mels=8,
        upsample_initial_channel=8,
        upsample_rates=(2, 2),
        upsample_kernel_sizes=(4, 4),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3),),
    ),
}

SUPER_RESOLUTION: Parts = {
    "transformer": Part(
        "Kandinsky6SRTransformer3DModel",
        in_visual_dim=4,
        out_visual_dim=8,
        time_dim=8,
        model_dim=16,
        ff_dim=16,
        num_visual_blocks=1,
        axes_dims=(2, 2, 4),
    ),
    "vae": Part(
        "Kandinsky6SRVAE",
        latent_channels=4,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        layers_per_block=1,
    ),
    "scheduler": Part("PiflowScheduler"),
    "latent_upscaler": Part(
        "Kandinsky6SRLatentUpscalerBank",
        in_channels=4,
        stage_channels=(8, 8, 8),
        num_pre_blocks=1,
        num_mid_blocks=1,
        num_post_blocks=1,
        num_x2_adapter_blocks=1,
    ),
}

FAMILIES: Table = {
    "kandinsky-5-text-to-video": ("Kandinsky5T2VPipeline", VIDEO),
    "kandinsky-5-image-to-video": ("Kandinsky5I2VPipeline", VIDEO, CONDITIONED),
    "kandinsky-5-text-to-image": ("Kandinsky5T2IPipeline", IMAGE),
    "kandinsky-5-image-to-image": ("Kandinsky5I2IPipeline", IMAGE, CONDITIONED),
    "kandinsky-6-video-with-sound": ("Kandinsky6TI2VAPipeline", VIDEO, WITH_SOUND),
    "kandinsky-6-super-resolution": ("Kandinsky6SRPipeline", SUPER_RESOLUTION),
}
