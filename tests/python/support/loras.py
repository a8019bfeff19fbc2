"""LoRAs for the tiny pipelines, in the spellings that people have them in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

RANK = 2
_TEXT = re.compile(r".*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)")


def layers(pipeline: Any) -> dict[str, tuple[int, int]]:
    """Return the linear layers that a LoRA of people's has, by component and name, with inputs and outputs."""
    found = {}
    for label in ("unet", "transformer", "text_encoder", "text_encoder_2"):
        for name, module in getattr(getattr(pipeline, label, None), "named_modules", list)():
            is_attention = "attn" in name or label not in ("unet", "transformer")
            if (
                type(module) is torch.nn.Linear
                and is_attention
                and (label != "text_encoder_2" or _TEXT.fullmatch(name))
            ):
                found[f"{label}.{name}"] = (module.in_features, module.out_features)
    return found


def peft(
    pipeline: Any, only: str = "", dtype: torch.dtype = torch.float32, seed: int = 0, rank: int = RANK
) -> dict[str, torch.Tensor]:
    """Return a LoRA as peft and newer diffusers spell it: ``unet.NAME.lora_A.weight``."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, (inputs, outputs) in layers(pipeline).items():
        if name.startswith(only):
            tensors[f"{name}.lora_A.weight"] = torch.randn(rank, inputs, generator=generator).to(dtype)
            tensors[f"{name}.lora_B.weight"] = torch.randn(outputs, rank, generator=generator).to(dtype)
    return tensors


def diffusers(pipeline: Any, **settings: Any) -> dict[str, torch.Tensor]:
    """Return a LoRA as older diffusers spelled it: ``unet.NAME.lora.down.weight``, other names in text encoders."""
    renamed = {}
    for name, tensor in peft(pipeline, **settings).items():
        own = "lora_linear_layer" if name.startswith("text_encoder") else "lora"
        name = name.replace("lora_A", f"{own}.down").replace("lora_B", f"{own}.up")
        renamed[name] = tensor
    return renamed


def kohya(pipeline: Any, **settings: Any) -> dict[str, torch.Tensor]:
    """Return a LoRA as kohya's trainer spells it: ``lora_unet_NAME.lora_down.weight``, each with an alpha."""
    named = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    if getattr(pipeline, "text_encoder_2", None) is None:
        named["text_encoder"] = "lora_te_"
    renamed = {}
    for name, tensor in peft(pipeline, **settings).items():
        component, _, rest = name.partition(".")
        layer, _, which = rest.partition(".lora_")
        if component.startswith("text_encoder") and not layer.startswith("text_model."):
            layer = f"text_model.{layer}"
        stem = named[component] + layer.replace(".", "_")
        renamed[f"{stem}.lora_{'down' if which.startswith('A') else 'up'}.weight"] = tensor
        renamed[f"{stem}.alpha"] = torch.tensor(1.0, dtype=tensor.dtype)
    return renamed


def save(tensors: dict[str, torch.Tensor], file: Path) -> Path:
    """Write a LoRA, and return its file."""
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    return file


def _flux_layers(pipeline: Any) -> dict[str, tuple[int, int]]:
    """Return the layers of Black Forest Labs' Flux that kohya's trainer gives a LoRA, with inputs and outputs.

    Single blocks' ``linear1`` is left out: diffusers splits it by the width of the published model.
    """
    config = pipeline.transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    found = {}
    for number in range(config.num_layers):
        for stream in ("img", "txt"):
            own = {"attn_qkv": (1, 3), "attn_proj": (1, 1), "mlp_0": (1, 4), "mlp_2": (4, 1), "mod_lin": (1, 6)}
            found |= {f"double_blocks_{number}_{stream}_{name}": sizes for name, sizes in own.items()}
    for number in range(config.num_single_layers):
        own = {"linear2": (5, 1), "modulation_lin": (1, 3)}
        found |= {f"single_blocks_{number}_{name}": sizes for name, sizes in own.items()}
    return {name: (inputs * width, outputs * width) for name, (inputs, outputs) in found.items()}


def flux_kohya(pipeline: Any) -> dict[str, torch.Tensor]:
    """Return a LoRA for Flux as kohya's trainer spells it."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, (inputs, outputs) in _flux_layers(pipeline).items():
        tensors[f"lora_unet_{name}.lora_down.weight"] = torch.randn(RANK, inputs, generator=generator)
        tensors[f"lora_unet_{name}.lora_up.weight"] = torch.randn(outputs, RANK, generator=generator)
        tensors[f"lora_unet_{name}.alpha"] = torch.tensor(1.0)
    return tensors


def flux_xlabs(pipeline: Any) -> dict[str, torch.Tensor]:
    """Return a LoRA for Flux as XLabs' trainer spells it."""
    config = pipeline.transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    layers = {}
    for number in range(config.num_layers):
        for stream in (1, 2):
            layers[f"double_blocks.{number}.processor.qkv_lora{stream}"] = 3 * width
            layers[f"double_blocks.{number}.processor.proj_lora{stream}"] = width
    for number in range(config.num_single_layers):
        layers[f"single_blocks.{number}.processor.qkv_lora"] = 3 * width
        layers[f"single_blocks.{number}.processor.proj_lora"] = width
    generator = torch.Generator().manual_seed(2)
    tensors = {}
    for name, outputs in layers.items():
        tensors[f"{name}.down.weight"] = torch.randn(RANK, width, generator=generator)
        tensors[f"{name}.up.weight"] = torch.randn(outputs, RANK, generator=generator)
    return tensors
