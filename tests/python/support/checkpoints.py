"""Changes to saved checkpoints, made with the safetensors package."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]

DIFFUSERS_FILE = "diffusion_pytorch_model.safetensors"
TRANSFORMERS_FILE = "model.safetensors"


def weight_file(component: Path) -> Path:
    """Return the only safetensors file of a component's folder."""
    (found,) = component.glob("*.safetensors")
    return found


def rewrite(file: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Replace the tensors of a file by what `change` makes of them, and keep its metadata."""
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = {name: tensor.clone() for name, tensor in load_file(file).items()}
    save_file(change(tensors), file, metadata=metadata)


def save_raw(tensors: Tensors, file: Path, order: Iterable[str] | None = None, shift: int = 0) -> None:
    """Write a file whose tensors lie back to back in the order given, `shift` bytes behind a multiple of 8.

    The safetensors package pads its headers and sorts by dtype first, so that its own files are nearly always aligned;
    the format asks for neither.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = bytearray()
    codes = {
        torch.float64: "F64",
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.int64: "I64",
        torch.int32: "I32",
        torch.uint8: "U8",
        torch.bool: "BOOL",
        torch.float8_e4m3fn: "F8_E4M3",
        torch.float8_e5m2: "F8_E5M2",
    }
    for name in tensors if order is None else order:
        tensor = tensors[name].contiguous()
        raw = tensor.flatten().view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": codes[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * ((shift - len(text)) % 8)
    file.write_bytes(framed(text) + bytes(data))


def framed(header: bytes) -> bytes:
    """Return a header behind its length, as a file begins."""
    return len(header).to_bytes(8, "little") + header


def as_pickles(folder: Path, *names: str) -> None:
    """Replace the safetensors of components by the pickles that older repositories have."""
    for name in names:
        file = weight_file(folder / name)
        transformers_file = file.name == TRANSFORMERS_FILE
        target = "pytorch_model.bin" if transformers_file else "diffusion_pytorch_model.bin"
        torch.save(load_file(file), file.with_name(target))
        file.unlink()
