"""LTX Video: text, image and conditions to video, and its latent upsampler."""

from __future__ import annotations

from support import models
from support.parts import Part
from support.tokenizers import t5_tokenizer

from .registry import Parts, Table

# The encoder's and the decoder's settings, which have one value for each block and the middle.
SIDES = {
    "block_out_channels": (4, 4),
    "layers_per_block": (1, 1, 1),
    "spatio_temporal_scaling": (True, False),
}
VAE = Part(
    "AutoencoderKLLTXVideo",
    **SIDES,
    **{f"decoder_{name}": values for name, values in SIDES.items()},
    latent_channels=4,
    down_block_types=("LTXVideoDownBlock3D",) * 2,
    decoder_inject_noise=(False, False, False),
    downsample_type=("conv", "conv"),
    upsample_residual=(False, False),
    upsample_factor=(1, 1),
    patch_size=1,
)
COMMON: Parts = {
    "scheduler": Part(
        "FlowMatchEulerDiscreteScheduler",
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        shift_terminal=0.1,
    ),
    "vae": VAE,
    "text_encoder": models.t5_encoder,
    "tokenizer": t5_tokenizer,
    "transformer": Part(
        "LTXVideoTransformer3DModel",
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=4,
        cross_attention_dim=8,
        num_layers=1,
        caption_channels=8,
    ),
}

# In LTX Video 0.9.5 and later the decoder takes a time step and noise.
CONDITIONED = VAE.but(
    timestep_conditioning=True,
    decoder_inject_noise=(True, False, False),
    upsample_residual=(True, True),
    upsample_factor=(2, 2),
    decoder_block_out_channels=(4, 8),
)
UPSAMPLE: Parts = {
    "vae": VAE,
    "latent_upsampler": Part(
        "diffusers.pipelines.ltx.modeling_latent_upsampler.LTXLatentUpsamplerModel",
        in_channels=4,
        mid_channels=32,
        num_blocks_per_stage=1,
    ),
}

FAMILIES: Table = {
    "ltx": ("LTXPipeline", COMMON),
    "ltx-image-to-video": ("LTXImageToVideoPipeline", COMMON),
    "ltx-condition": ("LTXConditionPipeline", COMMON, {"vae": CONDITIONED}),
    "ltx-image-to-long-video": (
        "LTXI2VLongMultiPromptPipeline",
        COMMON,
        {"scheduler": Part("LTXEulerAncestralRFScheduler")},
    ),
    "ltx-latent-upsample": ("LTXLatentUpsamplePipeline", UPSAMPLE),
}
