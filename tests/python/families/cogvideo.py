"""CogVideoX: text, image and video to video, and Fun's control; ConsisID, which is built upon it."""

from __future__ import annotations

from support import models
from support.parts import Part
from support.tokenizers import t5_tokenizer

from .registry import Parts, Table

TRANSFORMER = Part(
    "CogVideoXTransformer3DModel",
    num_attention_heads=2,
    attention_head_dim=8,
    in_channels=4,
    out_channels=4,
    time_embed_dim=2,
    text_embed_dim=8,
    num_layers=1,
    sample_width=2,
    sample_height=2,
    sample_frames=9,
    max_text_seq_length=8,
)
# What the later models have, that place their tokens by rotation.
ROTARY = TRANSFORMER.but(attention_head_dim=16, num_attention_heads=1, use_rotary_positional_embeddings=True)
VERSION_1_5 = ROTARY.but(patch_size_t=2, patch_bias=False)
IMAGE = ROTARY.but(in_channels=8, use_learned_positional_embeddings=True)
FACE = IMAGE.of(
    "ConsisIDTransformer3DModel",
    is_train_face=True,
    cross_attn_interval=1,
    cross_attn_dim_head=4,
    cross_attn_num_heads=2,
    LFE_id_dim=4,
    LFE_vit_dim=4,
    LFE_depth=5,
    LFE_dim_head=4,
    LFE_num_heads=2,
    LFE_num_id_token=1,
    LFE_num_querie=1,
    LFE_output_dim=8,
    LFE_ff_mult=1,
    LFE_num_scale=1,
)

COMMON: Parts = {
    "tokenizer": t5_tokenizer,
    "text_encoder": models.t5_encoder,
    "vae": Part(
        "AutoencoderKLCogVideoX",
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        sample_height=16,
        sample_width=16,
    ),
    "transformer": TRANSFORMER,
    "scheduler": Part("CogVideoXDPMScheduler"),
}

FAMILIES: Table = {
    "cogvideox": ("CogVideoXPipeline", COMMON, {"scheduler": Part("CogVideoXDDIMScheduler")}),
    "cogvideox-rotary": ("CogVideoXPipeline", COMMON, {"transformer": ROTARY}),
    "cogvideox-1.5": ("CogVideoXPipeline", COMMON, {"transformer": VERSION_1_5}),
    "cogvideox-image-to-video": ("CogVideoXImageToVideoPipeline", COMMON, {"transformer": IMAGE}),
    "cogvideox-1.5-image-to-video": (
        "CogVideoXImageToVideoPipeline",
        COMMON,
        {"transformer": VERSION_1_5.but(in_channels=8, ofs_embed_dim=4)},
    ),
    "cogvideox-video-to-video": ("CogVideoXVideoToVideoPipeline", COMMON),
    "cogvideox-fun-control": (
        "CogVideoXFunControlPipeline",
        COMMON,
        {"transformer": TRANSFORMER.but(in_channels=8)},
    ),
    "consis-id": ("ConsisIDPipeline", COMMON, {"transformer": FACE}),
}
