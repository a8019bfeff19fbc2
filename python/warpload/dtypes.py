"""The names of dtypes in safetensors files and in torch."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from . import errors

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


def torch_name(code: str) -> str | None:
    """Return what torch calls a dtype, whether the installed torch has it or not; None for what torch cannot hold."""
    return _TORCH_NAMES.get(code)


def code_of_name(name: str) -> str | None:
    """Return the code for a dtype as configuration files write it: ``"float16"`` or ``"torch.float16"``."""
    wanted = name.removeprefix("torch.")
    return next((code for code, torch_name in _TORCH_NAMES.items() if torch_name == wanted), None)


# What configurations and command lines call the common ones, beside torch's names and the format's codes.
_SHORT = {
    **{"fp16": "float16", "fp32": "float32", "fp64": "float64"},
    **{"half": "float16", "float": "float32", "double": "float64"},
}


def _torch_name(text: str) -> str:
    """Return what torch would call the dtype that a text names, in any of its spellings; there may be no such dtype."""
    if (of_code := _TORCH_NAMES.get(text.strip().upper())) is not None:
        return of_code
    name = text.strip().lower().removeprefix("torch.")
    return _SHORT.get(name, name)


def code_as_given(given: Any, argument: str = "dtype") -> str | None:
    """Return the code of a dtype as ``as_dtype`` takes it, without importing torch; None for None.

    Args:
        given: a ``torch.dtype``, or a name or code of a dtype that files can hold.
        argument: what the caller calls it, for the error.

    Raises:
        InvalidArgumentError: it is none of these; the error lists what is.
    """
    if given is None:
        return None
    text = given if isinstance(given, str) else str(given) if type(given).__name__ == "dtype" else ""
    found = code_of_name(_torch_name(text))
    if found is None:
        raise errors.make(
            "InvalidArgumentError",
            f"{argument} is {given!r}, which is no dtype of a file's tensors",
            cure="a torch.dtype, its name such as 'float16', 'bfloat16' or 'torch.float32', or a code of the format: "
            + ", ".join(sorted(_TORCH_NAMES)),
        )
    return found


def as_dtype(given: Any, argument: str = "dtype") -> torch.dtype | None:
    """Return the torch dtype that a caller means.

    Args:
        given: a ``torch.dtype``; a name (``"float16"``, ``"torch.float16"``, ``"half"``, ``"fp16"``) or the format's
            code (``"F16"``, ``"BF16"``, ``"F8_E4M3"``), in any case; a Python type as torch takes it (``float``); None.
        argument: what the caller calls it, for the error.

    Returns:
        The dtype, or None for None.

    Raises:
        InvalidArgumentError: it is none of these; the error lists what is.
    """
    import torch

    if given is None or isinstance(given, torch.dtype):
        return given
    if isinstance(given, type) and given in (bool, int, float, complex):
        return torch.empty(0, dtype=given).dtype  # type: ignore[call-overload, no-any-return]
    found = _named(given) if isinstance(given, str) else None
    if found is None:
        raise errors.make(
            "InvalidArgumentError",
            f"{argument} is {given!r}, which is no dtype",
            cure="a torch.dtype, its name such as 'float16', 'bfloat16' or 'torch.float32', or a code of the format: "
            + ", ".join(sorted(torch_dtypes())),
        )
    return found


def _named(text: str) -> torch.dtype | None:
    import torch

    found = getattr(torch, _torch_name(text), None)
    return found if isinstance(found, torch.dtype) else None
