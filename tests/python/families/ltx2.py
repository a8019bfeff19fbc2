"""LTX 2: sound and video from text, images and videos, its latent upsampler and its decoder; SANA-WM, refined by it."""

from __future__ import annotations

from support import language_models, vision_language_models
from support.parts import Part

from .registry import Parts, Table

FLOW = Part("FlowMatchEulerDiscreteScheduler")
GEMMA: Parts = {"text_encoder": vision_language_models.gemma3, "tokenizer": language_models.gemma_tokenizer}

VAE = Part(
    "AutoencoderKLLTX2Video",
    latent_channels=4,
    block_out_channels=(4,),
    down_block_types=("LTX2VideoDownBlock3D",),
    decoder_block_out_channels=(4,),
    layers_per_block=(1, 1),
    decoder_layers_per_block=(1, 1),
    spatio_temporal_scaling=(True,),
    decoder_spatio_temporal_scaling=(True,),
    decoder_inject_noise=(False, False),
    downsample_type=("spatial",),
    upsample_type=("spatiotemporal",),
    upsample_residual=(False,),
    upsample_factor=(1,),
    patch_size=1,
)
TRANSFORMER = Part(
    "LTX2VideoTransformer3DModel",
    in_channels=4,
    out_channels=4,
    num_attention_heads=2,
    attention_head_dim=4,
    cross_attention_dim=8,
    audio_in_channels=4,
    audio_out_channels=4,
    audio_num_attention_heads=2,
    audio_attention_head_dim=4,
    audio_cross_attention_dim=8,
    num_layers=1,
    caption_channels=8,
    rope_type="split",
)

# The model that reads what each of the text encoder's layers, and its embedding, give.
CONNECTOR = {"num_attention_heads": 2, "attention_head_dim": 4, "num_layers": 1, "num_learnable_registers": 4}
CONNECTORS = Part(
    "diffusers.pipelines.ltx2.LTX2TextConnectors",
    caption_channels=8,
    text_proj_in_factor=2,
    connector_rope_base_seq_len=16,
    rope_type="split",
    **{f"{side}_connector_{name}": value for side in ("video", "audio") for name, value in CONNECTOR.items()},
)

VOCODER_SETTINGS = {
    "in_channels": 16,
    "hidden_channels": 8,
    "upsample_kernel_sizes": [4, 4],
    "upsample_factors": [2, 2],
    "resnet_kernel_sizes": [3],
    "resnet_dilations": [[1, 3]],
}
VOCODER = Part("diffusers.pipelines.ltx2.LTX2Vocoder", **VOCODER_SETTINGS)
# The vocoder that raises the sampling rate has its window and filters among its buffers.
EXTENDED_VOCODER = VOCODER.of(
    "diffusers.pipelines.ltx2.LTX2VocoderWithBWE",
    **{f"bwe_{name}": value for name, value in VOCODER_SETTINGS.items()},
    filter_length=16,
    hop_length=4,
    window_length=16,
    num_mel_channels=8,
)

COMMON: Parts = {
    "scheduler": FLOW.but(use_dynamic_shifting=True, shift_terminal=0.1),
    "vae": VAE,
    "audio_vae": Part(
        "AutoencoderKLLTX2Audio",
        base_channels=4,
        ch_mult=(1,),
        num_res_blocks=1,
        resolution=32,
        latent_channels=2,
        mel_bins=8,
    ),
    **GEMMA,
    "connectors": CONNECTORS,
    "transformer": TRANSFORMER,
    "vocoder": VOCODER,
}
DURATION: Parts = {
    "transformer": TRANSFORMER.but(
        gated_attn=True, cross_attn_mod=True, audio_gated_attn=True, audio_cross_attn_mod=True
    ),
    "vocoder": EXTENDED_VOCODER,
    "duration_head": Part(
        "diffusers.pipelines.ltx2.LTX2DurationHead",
        video_cross_attention_dim=8,
        audio_cross_attention_dim=8,
        pooler_hidden_dim=8,
        num_pooler_heads=2,
        mlp_hidden_dim=8,
    ),
}
ENHANCED: Parts = {
    "text_encoder": vision_language_models.gemma4_unified,
    "connectors": CONNECTORS.but(text_proj_in_factor=3),
    "prompt_enhancer": vision_language_models.gemma4,
}

UPSAMPLER = Part(
    "diffusers.pipelines.ltx2.LTX2LatentUpsamplerModel", in_channels=4, mid_channels=32, num_blocks_per_stage=1
)
REFINE: Parts = {
    "scheduler": Part("LTXEulerAncestralRFScheduler"),
    "temporal_latent_upsampler": UPSAMPLER.but(spatial_upsample=False, temporal_upsample=True),
}
DECODE: Parts = {
    "diffusion_decoder": Part(
        "LTX2VideoDiffusionDecoderModel",
        latent_channels=4,
        decoder_head_dim=8,
        decoder_stage_channels=(16, 8, 8, 8, 8),
        decoder_stage_depths=(1, 1, 1, 1, 1),
        decoder_stage_kernels=((3, 3, 3),) * 4,
        decoder_upsample_channel_reductions=(2, 1, 1, 1),
        decoder_stage5_kernel=(3, 3, 3),
        decoder_t_emb_dim=8,
    ),
    "scheduler": FLOW,
    "vae": VAE,
}

# SANA-WM's worlds from an image, and its refiner.
SANA_WM: Parts = {
    "tokenizer": language_models.gemma_tokenizer,
    "text_encoder": language_models.gemma2,
    "vae": VAE,
    "transformer": Part(
        "SanaWMTransformer3DModel",
        in_channels=4,
        num_layers=2,
        hidden_size=16,
        num_attention_heads=2,
        softmax_every_n=2,
        linear_head_dim=8,
        chunk_plucker_channels=4,
        chunk_plucker_post_attn_blocks=1,
        image_size=64,
        caption_channels=8,
        mlp_ratio=1.0,
    ),
    "scheduler": FLOW.but(shift=3.0),
}
REFINER: Parts = {
    "transformer": TRANSFORMER.of("SanaWMLTX2RefinerTransformer3DModel"),
    "connectors": CONNECTORS,
    **GEMMA,
    "scheduler": FLOW,
    "vae": VAE,
}

FAMILIES: Table = {
    "ltx2": ("LTX2Pipeline", COMMON),
    "ltx2-with-duration-head": ("LTX2Pipeline", COMMON, DURATION),
    "ltx2-with-prompt-enhancer": ("LTX2Pipeline", COMMON, ENHANCED),
    "ltx2-image-to-video": ("LTX2ImageToVideoPipeline", COMMON),
    "ltx2-condition": ("LTX2ConditionPipeline", COMMON, {"audio_scheduler": FLOW.but(shift=2.0)}),
    "ltx2-in-context": ("LTX2InContextPipeline", COMMON),
    "ltx2-hdr": ("LTX2HDRPipeline", COMMON),
    "ltx2-dfr": ("LTX2DFRPipeline", COMMON),
    "ltx2-dfr-temporal-refine": ("LTX2DFRTemporalRefinePipeline", COMMON, REFINE),
    "ltx2-latent-upsample": ("LTX2LatentUpsamplePipeline", {"vae": VAE, "latent_upsampler": UPSAMPLER}),
    "ltx2-diffusion-decode": ("LTX2VideoDiffusionDecodePipeline", DECODE),
    "sana-wm": ("SanaWMPipeline", SANA_WM),
    "sana-wm-refiner": ("SanaWMLTX2Refiner", REFINER),
}
