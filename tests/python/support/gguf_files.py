"""GGUF files as the ``gguf`` package writes them, of every type, and of small models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import torch
from gguf import GGMLQuantizationType as Type

from .models import flux_transformer
from .parts import Part

Array = npt.NDArray[np.generic]
Tensors = dict[str, Array | tuple[Array, Type]]

# Type -> where its blocks have numbers of fp16: whatever other bytes a block has, they are good.
SCALES: dict[Type, tuple[int, ...]] = {
    Type.Q4_0: (0,),
    Type.Q4_1: (0, 2),
    Type.Q5_0: (0,),
    Type.Q5_1: (0, 2),
    Type.Q8_0: (0,),
    Type.Q2_K: (80, 82),
    Type.Q3_K: (108,),
    Type.Q4_K: (0, 2),
    Type.Q5_K: (0, 2),
    Type.Q6_K: (208,),
    Type.IQ4_NL: (0,),
    Type.IQ4_XS: (0,),
}
DEQUANTISED = list(SCALES)


def blocks(kind: Type, rows: int, columns: int, *, seed: int = 0, wild: bool = False) -> npt.NDArray[np.uint8]:
    """Return random blocks, rows of them; the scales too are random where it is to be wild: infinite, or NaN."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    random = np.random.default_rng(seed)
    found = random.integers(0, 256, (rows * columns // elements, size), dtype=np.uint8)
    for at in () if wild else SCALES.get(kind, ()):
        scales = random.normal(0, 0.0005, len(found)).astype(np.float16)
        found[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
    return found.reshape(rows, columns // elements * size)


def write(file: Path, tensors: Mapping[str, Array | tuple[Array, Type]], **metadata: str) -> Path:
    """Write a file by the package's own writer; bytes come with their type."""
    writer = gguf.GGUFWriter(str(file), "flux")
    for key, value in metadata.items():
        writer.add_string(key, value)
    for name, given in tensors.items():
        if isinstance(given, tuple):
            writer.add_tensor(name, given[0], raw_dtype=given[1])
        else:
            writer.add_tensor(name, given)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def bfloat16(values: npt.NDArray[np.float32]) -> tuple[Array, Type]:
    """Return an array of bfloat16 as the writer takes it."""
    return torch.from_numpy(values).bfloat16().view(torch.uint8).numpy(), Type.BF16


def assorted() -> Tensors:
    """Return tensors of every type that is dequantised, and of every plain one."""
    values = np.random.default_rng(7).standard_normal((5, 6)).astype(np.float32)
    plain = {name: values.astype(name) for name in ("float32", "float16", "float64", "int8", "int16", "int32", "int64")}
    quantised = {kind.name: (blocks(kind, 3, 512, wild=True), kind) for kind in DEQUANTISED}
    return {**quantised, **plain, "bfloat16": bfloat16(values), "scalar": values[:1, 0], "empty": values[:0]}


def of_shapes(shapes: Mapping[str, Sequence[int]], kind: Type) -> Tensors:
    """Return tensors of these names and shapes whose matrices are of one type where their rows are whole blocks."""
    random = np.random.default_rng(1)
    tensors: Tensors = {}
    for number, (name, shape) in enumerate(shapes.items()):
        values = (random.standard_normal(shape) * 0.02).astype(np.float32)
        if len(shape) != 2:
            tensors[name] = values
        elif kind in SCALES and shape[1] % gguf.GGML_QUANT_SIZES[kind][0] == 0:
            tensors[name] = (blocks(kind, shape[0], shape[1], seed=number), kind)
        elif kind == Type.BF16:
            tensors[name] = bfloat16(values)
        else:
            tensors[name] = values if kind == Type.F32 else values.astype(np.float16)
    return tensors


# As large as whole blocks of numbers in each row take.
FLUX = flux_transformer.but(
    attention_head_dim=64,
    axes_dims_rope=[16, 24, 24],
    guidance_embeds=True,
    in_channels=256,
    joint_attention_dim=256,
    num_attention_heads=4,
    pooled_projection_dim=256,
)
Z_IMAGE = Part(
    "ZImageTransformer2DModel",
    dim=64,
    n_refiner_layers=1,
    n_heads=2,
    n_kv_heads=2,
    in_channels=8,
    n_layers=1,
    cap_feat_dim=32,
    axes_dims=[8, 12, 12],
    axes_lens=[8, 8, 8],
)


def shapes_of(part: Part) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a model's tensors."""
    return {name: tuple(each.shape) for name, each in part().state_dict().items()}


def flux(kind: Type) -> Tensors:
    """Return the tensors of the small Flux, by diffusers' names."""
    return of_shapes(shapes_of(FLUX), kind)


def output_of(model: Any) -> torch.Tensor:
    """Return what a model makes of some latents and texts, without anything random."""
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).bfloat16()

    with torch.no_grad():
        found: torch.Tensor = model(
            hidden_states=some(1, 16, 256),
            encoder_hidden_states=some(1, 7, 256),
            pooled_projections=some(1, 256),
            timestep=torch.tensor([0.5]).bfloat16(),
            img_ids=torch.zeros(16, 3),
            txt_ids=torch.zeros(7, 3),
            guidance=torch.tensor([3.5]).bfloat16(),
        ).sample
    return found


def z_image(kind: Type) -> Tensors:
    """Return the tensors of the small Z-Image as they are published: other names, and one tensor for three."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes_of(Z_IMAGE).items():
        for published, converted in _Z_IMAGE_NAMES.items():
            name = name.replace(converted, published)
        if ".attention.to_q." in name:
            shapes[name.replace("to_q", "qkv")] = (3 * shape[0], *shape[1:])
        elif ".attention.to_k." not in name and ".attention.to_v." not in name:
            shapes[name] = shape
    return of_shapes(shapes, kind)


_Z_IMAGE_NAMES = {
    "final_layer.": "all_final_layer.2-1.",
    "x_embedder.": "all_x_embedder.2-1.",
    ".attention.k_norm.": ".attention.norm_k.",
    ".attention.q_norm.": ".attention.norm_q.",
    ".attention.out.": ".attention.to_out.0.",
}
