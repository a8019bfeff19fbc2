"""Cosmos 1, 2, 2.5 and 3: worlds from text, images and videos.

All but the third demand a checker of safety that NVIDIA publishes as a package apart: Stable Diffusion's stands in.
"""

from __future__ import annotations

from support import language_models, models, video_models, vision_language_models
from support.parts import Part
from support.tokenizers import t5_tokenizer

from .registry import Parts, Table

# Of the transformer and its ControlNet.
ATTENTION = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "mlp_ratio": 1.0,
    "text_embed_dim": 8,
    "adaln_lora_dim": 4,
    "max_size": (4, 8, 8),
    "extra_pos_embed_type": "learnable",
}
IMAGES = {"img_context_dim_in": 8, "img_context_dim_out": 8}
TRANSFORMER = Part("CosmosTransformer3DModel", in_channels=4, out_channels=4, num_layers=1, **ATTENTION)
CONDITIONED = TRANSFORMER.but(in_channels=5)

COMMON: Parts = {
    "text_encoder": models.t5_encoder,
    "tokenizer": t5_tokenizer,
    "transformer": TRANSFORMER,
    "vae": Part(
        "AutoencoderKLCosmos",
        latent_channels=4,
        encoder_block_out_channels=(4, 4, 4, 4),
        decode_block_out_channels=(4, 4, 4, 4),
        attention_resolutions=(8,),
        resolution=32,
        num_layers=1,
        spatial_compression_ratio=4,
        temporal_compression_ratio=4,
    ),
    "scheduler": Part("EDMEulerScheduler"),
    "safety_checker": models.safety_checker,
}
# Cosmos 2 has Wan's autoencoder, and one channel more for the condition.
SECOND: Parts = {
    **COMMON,
    "vae": video_models.wan_vae,
    "transformer": CONDITIONED,
    "scheduler": Part("FlowMatchEulerDiscreteScheduler", use_karras_sigmas=True),
}
UNIPC = Part("UniPCMultistepScheduler", prediction_type="flow_prediction", use_flow_sigmas=True)
LANGUAGE: Parts = {
    **SECOND,
    "text_encoder": vision_language_models.qwen2_5_vl,
    "tokenizer": language_models.qwen_tokenizer,
    "scheduler": UNIPC.but(flow_shift=1.0),
}
PREDICT = {
    "transformer": CONDITIONED.but(
        use_crossattn_projection=True, crossattn_proj_in_channels=8, encoder_hidden_states_channels=8
    )
}
TRANSFER: Parts = {
    "transformer": CONDITIONED.but(controlnet_block_every_n=1, img_context_num_tokens=4, **IMAGES),
    "controlnet": Part(
        "CosmosControlNetModel",
        n_controlnet_blocks=1,
        in_channels=6,
        latent_channels=6,
        model_channels=32,
        **ATTENTION,
        **IMAGES,
    ),
}

OMNI_TRANSFORMER = Part(
    "Cosmos3OmniTransformer",
    head_dim=6,
    hidden_size=6,
    intermediate_size=12,
    latent_channel=4,
    latent_patch_size=1,
    num_attention_heads=1,
    num_hidden_layers=1,
    num_key_value_heads=1,
    patch_latent_dim=4,
    vocab_size=language_models.VOCABULARY,
    rope_axes_dim=[1, 1, 1],
)
OMNI: Parts = {
    "text_tokenizer": language_models.qwen_tokenizer,
    "vae": video_models.wan_vae,
    "scheduler": UNIPC,
    "enable_safety_checker": False,
    "transformer": OMNI_TRANSFORMER,
}
SOUND: Parts = {
    "transformer": OMNI_TRANSFORMER.but(sound_gen=True, sound_dim=8),
    "sound_tokenizer": Part(
        "Cosmos3AVAEAudioTokenizer",
        vocoder_input_dim=8,
        dec_dim=4,
        dec_c_mults=(1, 2),
        dec_strides=(2, 2),
        enc_dim=4,
        enc_intermediate_dim=8,
        enc_num_layers=1,
        enc_n_fft=8,
        enc_hop_length=4,
        enc_latent_dim=16,
        enc_c_mults=(1, 2),
        enc_strides=(2, 2),
    ),
}

FAMILIES: Table = {
    "cosmos-text-to-world": ("CosmosTextToWorldPipeline", COMMON),
    "cosmos-video-to-world": ("CosmosVideoToWorldPipeline", COMMON, {"transformer": CONDITIONED}),
    "cosmos-2-text-to-image": ("Cosmos2TextToImagePipeline", SECOND),
    "cosmos-2-video-to-world": ("Cosmos2VideoToWorldPipeline", SECOND),
    "cosmos-2.5-predict": ("Cosmos2_5_PredictBasePipeline", LANGUAGE, PREDICT),
    "cosmos-2.5-transfer": ("Cosmos2_5_TransferPipeline", LANGUAGE, TRANSFER),
    "cosmos-3-omni": ("Cosmos3OmniPipeline", OMNI),
    "cosmos-3-omni-with-sound": ("Cosmos3OmniPipeline", OMNI, SOUND),
}
