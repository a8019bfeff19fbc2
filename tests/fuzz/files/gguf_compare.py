"""One GGUF file, loaded by the core and read by the gguf package."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import gguf
import torch

import warpload

from .differences import reason

# The package reads it, the core refuses it. That the package is not even asked where a count is too large has a reason
# of its own: it goes on counting behind the file's end.
CORE_REFUSES = {
    r"overlap those of tensor": "bytes of one tensor would be those of another; ggml refuses such files, too",
    r"no multiple of the alignment": "ggml refuses such files, too",
    r"big endian": "nobody publishes such files; a tool converts them",
    r"power of two and a multiple of 8": "the format's own rule; the package takes any power of two",
    r"more than \d+ deep": "a bound on what a hostile header costs",
    r"truncated inside its header": "the package takes what is missing of a value for nothing",
    r"for which the file is too small": "as above",
    r"unknown type of value": "the package does not look at the type of an array without elements",
    r"(overflows 64 bits|extents and strides|above 2\^64)": "the package's product wraps around, maybe to a right one",
}

# The core loads it, the package refuses it.
PACKAGE_REFUSES = {
    r"(cannot reshape|too large to convert|maximum supported dimension|array is too big)": "an empty tensor's extents",
    r"negative dimensions": "an extent of an empty tensor is above numpy's bound",
    r"Python int too large": "the same",
    r"tuple index out of range": "a scalar of BF16, which the package takes for bytes and so for a row",
}


def findings(file: Path) -> list[str]:
    """Load a file in every way; return what should not be."""
    found = _load(file, None)
    if isinstance(found, str):
        return [found] if found.startswith("!") else _judge_refusal(file, found)
    try:
        tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    except Exception as error:
        known = reason(PACKAGE_REFUSES, str(error)) is not None
        return [] if known else [f"only the package refuses: {type(error).__name__}: {error}"]
    if found.keys() != tensors.keys():
        return [f"other tensors: {sorted(found)}, not {sorted(tensors)}"]
    wrong = [name for name, tensor in tensors.items() if not _is_same(found[name], tensor)]
    return [f"{name!r} differs" for name in wrong] + _as_numbers(file, tensors)


def _load(file: Path, dtype: torch.dtype | None) -> dict[str, torch.Tensor] | str:
    """Return the tensors, or our refusal; what is none of ours begins with an exclamation mark."""
    try:
        return warpload.load_file(file, dtype=dtype)
    except warpload.WarploadError as error:
        if not error.path or not error.cure:
            return f"! an error that does not say what is wrong where: {error!r}"
        return str(error)
    except Exception as error:
        return f"! {type(error).__name__} is none of our errors: {error}"


def _judge_refusal(file: Path, refusal: str) -> list[str]:
    if reason(CORE_REFUSES, refusal) is not None or not file.read_bytes().startswith(b"GGUF"):
        return []
    try:
        gguf.GGUFReader(file)
    except Exception:
        return []
    return [f"only we refuse: {refusal}"]


def _is_same(ours: torch.Tensor, tensor: gguf.ReaderTensor) -> bool:
    shape = list(tensor.data.shape)
    if tensor.tensor_type == gguf.GGMLQuantizationType.BF16:
        shape[-1:] = [each // 2 for each in shape[-1:]]
    same_bytes = ours.contiguous().flatten().view(torch.uint8).numpy().tobytes() == tensor.data.tobytes()
    return list(ours.shape) == shape and same_bytes


def _as_numbers(file: Path, tensors: dict[str, gguf.ReaderTensor]) -> list[str]:
    found = _load(file, torch.float32)
    if isinstance(found, str):
        known = re.search("does not dequantise", found) is not None
        return [] if known else [f"as numbers: {found}"]
    wrong = []
    for name, tensor in tensors.items():
        if found[name].dtype != torch.float32 or not tensor.n_elements:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            plain = tensor.data.dtype.kind == "f"
            numbers = tensor.data if plain else gguf.dequantize(tensor.data, tensor.tensor_type)
        expected = torch.from_numpy(numbers.copy()).to(torch.float32)
        if not torch.equal(found[name].nan_to_num(7.0), expected.nan_to_num(7.0)):
            wrong.append(f"{name!r}: other numbers of {tensor.tensor_type.name}")
    return wrong
