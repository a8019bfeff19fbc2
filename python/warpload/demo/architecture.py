"""The architecture of Stable Diffusion XL: its published configurations, and smaller ones of the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

GIGABYTE = 10**9

# What a process needs beside the weights: the interpreter, torch, and the libraries.
_PROCESS_BYTES = 2 * GIGABYTE
# Room on the disk that is left to others.
_SPARE_DISK_BYTES = 1 * GIGABYTE

UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "_diffusers_version": "0.19.0.dev0",
    "act_fn": "silu",
    "addition_embed_type": "text_time",
    "addition_embed_type_num_heads": 64,
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "center_input_sample": False,
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_dim": 2048,
    "cross_attention_norm": None,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-05,
    "norm_num_groups": 32,
    "num_attention_heads": None,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": 2816,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "sample_size": 128,
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "upcast_attention": None,
    "use_linear_projection": True,
}

VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.20.0.dev0",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "force_upcast": True,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}

_TEXT_ENCODER_COMMON: dict[str, Any] = {
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "dropout": 0.0,
    # The published files say 2, not 49407: transformers then pools at the highest token id, as SDXL was trained.
    "eos_token_id": 2,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 77,
    "model_type": "clip_text_model",
    "pad_token_id": 1,
    "torch_dtype": "float16",
    "transformers_version": "4.32.0.dev0",
    "vocab_size": 49408,
}

TEXT_ENCODER: dict[str, Any] = {
    **_TEXT_ENCODER_COMMON,
    "architectures": ["CLIPTextModel"],
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "projection_dim": 768,
}

TEXT_ENCODER_2: dict[str, Any] = {
    **_TEXT_ENCODER_COMMON,
    "architectures": ["CLIPTextModelWithProjection"],
    "hidden_act": "gelu",
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_attention_heads": 20,
    "num_hidden_layers": 32,
    "projection_dim": 1280,
}

SCHEDULER: dict[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.19.0.dev0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}

MODEL_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": "0.19.0.dev0",
    "force_zeros_for_empty_prompt": True,
    "add_watermarker": None,
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


@dataclass(frozen=True)
class Scale:
    """One size of the pipeline: the full configurations with some of their fields replaced.

    Attributes:
        name: short name, part of the marker of a written folder.
        parameters: number of parameters of all four models together.
        overrides: component name -> fields of its configuration that differ from the published ones.
    """

    name: str
    parameters: int
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def config(self, component: str) -> dict[str, Any]:
        """Return the configuration of `component` ("unet", "vae", "text_encoder" or "text_encoder_2")."""
        published = {
            "unet": UNET,
            "vae": VAE,
            "text_encoder": TEXT_ENCODER,
            "text_encoder_2": TEXT_ENCODER_2,
        }[component]
        return {**published, **self.overrides.get(component, {})}

    def description(self) -> str:
        """Return the words in which every output states the size."""
        if not self.overrides:
            return "SDXL-shaped, full size"
        return f"SDXL-shaped, reduced to {self.parameters / 1e9:.2g} B parameters"


FULL = Scale("full", 3_468_837_867)
MEDIUM = Scale("medium", 2_217_627_627, {"unet": {"transformer_layers_per_block": [1, 2, 4]}})
SMALL = Scale(
    "small",
    1_069_738_347,
    {
        "unet": {"transformer_layers_per_block": [1, 1, 1]},
        "text_encoder_2": {"num_hidden_layers": 8},
    },
)
# For tests: every component and every kind of layer, in a few megabytes.
TINY = Scale(
    "tiny",
    3_996_319,
    {
        "unet": {
            "addition_time_embed_dim": 8,
            "attention_head_dim": [2, 4, 4],
            "block_out_channels": [32, 64, 64],
            "cross_attention_dim": 64,
            "projection_class_embeddings_input_dim": 80,
            "sample_size": 32,
            "transformer_layers_per_block": [1, 1, 2],
        },
        "vae": {
            "block_out_channels": [32, 64],
            "down_block_types": ["DownEncoderBlock2D"] * 2,
            "sample_size": 64,
            "up_block_types": ["UpDecoderBlock2D"] * 2,
        },
        "text_encoder": {
            "hidden_size": 32,
            "intermediate_size": 37,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "projection_dim": 32,
            "vocab_size": 1000,
        },
        "text_encoder_2": {
            "hidden_size": 32,
            "intermediate_size": 37,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "projection_dim": 32,
            "vocab_size": 1000,
        },
    },
)
SCALES: tuple[Scale, ...] = (FULL, MEDIUM, SMALL)


def choose_scale(free_memory: int, free_disk: int, *, element_size: int = 2, result_element_size: int = 2) -> Scale:
    """Choose the largest pipeline that this machine can load without leaving its page cache.

    Args:
        free_memory: bytes of memory that are available; the files (page cache) and the loaded result must fit.
        free_disk: bytes that are free where the files are to be written.
        element_size: bytes of an element in the files.
        result_element_size: bytes of an element in the largest result of a load.

    Raises:
        OSError: not even the smallest fits; the message says what it needs.
    """
    for scale in SCALES:
        file_bytes = scale.parameters * element_size
        result_bytes = scale.parameters * result_element_size
        enough_disk = free_disk >= file_bytes + _SPARE_DISK_BYTES
        if enough_disk and free_memory >= file_bytes + result_bytes + _PROCESS_BYTES:
            return scale
    raise OSError(
        f"the smallest synthetic pipeline needs {(file_bytes + _SPARE_DISK_BYTES) / GIGABYTE:.1f} GB of disk and "
        f"{(file_bytes + result_bytes + _PROCESS_BYTES) / GIGABYTE:.1f} GB of memory; there are "
        f"{free_disk / GIGABYTE:.1f} GB and {free_memory / GIGABYTE:.1f} GB"
    )


def build_on_meta(scale: Scale) -> dict[str, torch.nn.Module]:
    """Build the four models without memory for their weights, so that names and shapes can be read off.

    Imports torch, diffusers and transformers.
    """
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.device("meta"):
        return {
            "unet": UNet2DConditionModel.from_config(scale.config("unet")),
            "vae": AutoencoderKL.from_config(scale.config("vae")),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**scale.config("text_encoder"))),
            "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**scale.config("text_encoder_2"))),
        }
