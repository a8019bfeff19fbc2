"""The ONNX model of the PyPI package `adaptive-terrain-diffusion`, as the diffusers pipeline that it was trained as.

The exporter kept the parameters' names but for those of GroupNorm: it spread each over InstanceNormalization, Mul and
Add, with the weight in the Mul and the bias in the Add. Their order in the graph is the order of the forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from diffusers import CMStochasticIterativeScheduler, ConsistencyModelPipeline, UNet2DModel
from onnx import numpy_helper

LEVELS = 5
LAYERS = 4
DIFFICULTIES = 100
SIGMA_MAX = 80.0

_CONFIG = {
    "sample_size": 128,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": LAYERS,
    "block_out_channels": (32, 32, 64, 96, 128),
    "down_block_types": ("ResnetDownsampleBlock2D",) * 2 + ("AttnDownBlock2D",) * 3,
    "up_block_types": ("AttnUpBlock2D",) * 3 + ("ResnetUpsampleBlock2D",) * 2,
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "attention_head_dim": 32,
    "attn_norm_num_groups": 32,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "num_class_embeds": DIFFICULTIES,
    "resnet_time_scale_shift": "scale_shift",
}

# Of a residual block: the exporter's name below the block -> diffusers' name.
_RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def write_pipeline(onnx_file: Path, folder: Path) -> None:
    """Save the model in diffusers' layout."""
    unet = UNet2DModel(**_CONFIG)
    unet.load_state_dict(_convert(onnx_file))
    scheduler = CMStochasticIterativeScheduler(sigma_max=SIGMA_MAX)
    ConsistencyModelPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder)


def initial_noise(seed: int) -> np.ndarray:
    """Return the noise that the pipeline draws for a generator of that seed, as the ONNX model takes it."""
    noise = torch.randn((1, 1, 128, 128), generator=torch.Generator().manual_seed(seed))
    return (noise * SIGMA_MAX).numpy()


def _convert(onnx_file: Path) -> dict[str, torch.Tensor]:
    graph = onnx.load(str(onnx_file)).graph
    values = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    old = {name.removeprefix("network."): value for name, value in values.items() if name.startswith("network.")}
    residuals, attentions = _block_names(old)
    order = list(_blocks_in_order(old))
    norms = _group_norms(graph, values)
    for block in order:
        for part in ("norm",) if _is_attention(block, old) else ("in_layers.0", "out_layers.0"):
            old[f"{block}.{part}.weight"], old[f"{block}.{part}.bias"] = next(norms)
    old["out.0.weight"], old["out.0.bias"] = next(norms)
    if next(norms, None) is not None:
        raise ValueError("the graph has more norms than the architecture")

    new: dict[str, torch.Tensor] = {"class_embedding.weight": _class_embedding(old)}
    names = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    names |= {f"{block}.{part}": f"{name}.{to}" for block, name in residuals.items() for part, to in _RESIDUAL.items()}
    for block, name in attentions.items():
        names |= {f"{block}.norm": f"{name}.group_norm", f"{block}.proj_out": f"{name}.to_out.0"}
        for kind in ("weight", "bias"):
            for to, part in zip(("to_q", "to_k", "to_v"), old[f"{block}.qkv.{kind}"].chunk(3), strict=True):
                new[f"{name}.{to}.{kind}"] = part.squeeze().contiguous()
    for before, after in names.items():
        for kind in ("weight", "bias"):
            if f"{before}.{kind}" in old:
                value = old[f"{before}.{kind}"]
                new[f"{after}.{kind}"] = value.squeeze() if after.endswith("to_out.0") else value
    return new


def _is_attention(block: str, old: dict[str, torch.Tensor]) -> bool:
    return f"{block}.qkv.weight" in old


def _blocks_in_order(old: dict[str, torch.Tensor]) -> Iterator[str]:
    """Name the residual and attention blocks in the order of the forward pass."""
    stages = [f"input_blocks.{number}" for number in range(1, LEVELS * (LAYERS + 1))]
    stages += ["middle_block", *(f"output_blocks.{number}" for number in range(LEVELS * (LAYERS + 1)))]
    for stage in stages:
        for position in range(3):
            block = f"{stage}.{position}"
            if _is_attention(block, old) or f"{block}.in_layers.2.weight" in old:
                yield block


def _block_names(old: dict[str, torch.Tensor]) -> tuple[dict[str, str], dict[str, str]]:
    """Map each residual and each attention block to its name in diffusers."""
    residuals = {"middle_block.0": "mid_block.resnets.0", "middle_block.2": "mid_block.resnets.1"}
    attentions = {"middle_block.1": "mid_block.attentions.0"}
    for side, prefix in (("down", "input_blocks"), ("up", "output_blocks")):
        per_level = LAYERS + 1
        for number in range(LEVELS * per_level):
            if side == "down":
                level, layer = divmod(number - 1, per_level)
                sampler = layer == LAYERS
            else:
                level, layer = divmod(number, per_level)
                sampler = False
            name = f"{side}_blocks.{level}"
            block = f"{prefix}.{number}"
            if number == 0 and side == "down":
                continue
            if sampler:
                residuals[f"{block}.0"] = f"{name}.downsamplers.0"
                continue
            residuals[f"{block}.0"] = f"{name}.resnets.{layer}"
            second_is_attention = _is_attention(f"{block}.1", old)
            if second_is_attention:
                attentions[f"{block}.1"] = f"{name}.attentions.{layer}"
            if side == "up" and layer == LAYERS and level < LEVELS - 1:
                residuals[f"{block}.{2 if second_is_attention else 1}"] = f"{name}.upsamplers.0"
    return residuals, attentions


def _group_norms(
    graph: onnx.GraphProto, values: dict[str, torch.Tensor]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield weight and bias of each GroupNorm, in the order of the forward pass."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def reader(name: str, operation: str) -> onnx.NodeProto:
        return next(node for node in readers[name] if node.op_type == operation)

    for node in graph.node:
        if node.op_type == "InstanceNormalization":
            scale = reader(reader(node.output[0], "Reshape").output[0], "Mul")
            shift = reader(scale.output[0], "Add")
            yield values[scale.input[1]].flatten(), values[shift.input[1]].flatten()


def _class_embedding(old: dict[str, torch.Tensor]) -> torch.Tensor:
    """Tabulate the difficulty network, which is only ever asked about 100 numbers."""
    inputs = ((torch.arange(1, DIFFICULTIES + 1) - 1) / (DIFFICULTIES - 1)).float()[:, None]
    hidden = torch.nn.functional.linear(inputs, old["label_emb.0.weight"], old["label_emb.0.bias"])
    return torch.nn.functional.linear(
        torch.nn.functional.silu(hidden), old["label_emb.2.weight"], old["label_emb.2.bias"]
    )
