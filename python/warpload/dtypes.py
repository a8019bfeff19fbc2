"""The names of dtypes in safetensors files and in torch."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Format's code -> attribute of torch. Codes that torch cannot hold element by element (F6) are absent.
_TORCH_NAMES = {
    "BOOL": "bool",
    "F4": "float4_e2m1fn_x2",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}

FLOATING_POINT = frozenset({"F4", "F6_E2M3", "F6_E3M2", "F16", "BF16", "F32", "F64"}) | {
    code for code in _TORCH_NAMES if code.startswith("F8")
}


@functools.cache
def torch_dtypes() -> dict[str, torch.dtype]:
    """Map each code to the torch dtype, for those that the installed torch has."""
    import torch

    return {code: getattr(torch, name) for code, name in _TORCH_NAMES.items() if hasattr(torch, name)}


@functools.cache
def _codes() -> dict[torch.dtype, str]:
    return {dtype: code for code, dtype in torch_dtypes().items()}


def code_of(dtype: torch.dtype) -> str | None:
    """Return the format's code for a torch dtype, or None when files cannot hold it."""
    return _codes().get(dtype)


def code_of_name(name: str) -> str | None:
    """Return the code for a dtype as configuration files write it: ``"float16"`` or ``"torch.float16"``."""
    wanted = name.removeprefix("torch.")
    return next((code for code, torch_name in _TORCH_NAMES.items() if torch_name == wanted), None)
