"""Checksums of tensors that are the same wherever they are computed, so that gigabytes need not leave a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_PIECE = 64 << 20  # bytes; bounds the memory that a checksum takes
_MULTIPLIER = 0x9E3779B97F4A7C1  # odd: no two positions of a piece weigh the same


def checksum(tensor: torch.Tensor) -> str:
    """Return dtype, shape and a 64-bit sum over the tensor's bytes in which every position has its own weight.

    Integer arithmetic modulo 2^64 does not depend on the order of the additions.
    """
    import torch

    flat = tensor.detach().contiguous().reshape(-1)
    total = 0
    if flat.numel():
        raw = flat.view(torch.uint8)
        for number, begin in enumerate(range(0, raw.numel(), _PIECE)):
            total = (total + (2 * number + 1) * _sum_of_words(raw[begin : begin + _PIECE])) % (1 << 64)
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)} {total:016x}"


def checksums(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return the checksum of each tensor by its name."""
    return {name: checksum(tensor) for name, tensor in tensors.items()}


def differences(expected: Mapping[str, str], actual: Mapping[str, str]) -> list[str]:
    """Return one line for each name in which the two differ."""
    lines = [f"{name}: missing" for name in expected if name not in actual]
    lines += [f"{name}: not expected" for name in actual if name not in expected]
    lines += [
        f"{name}: expected {value}, got {actual[name]}"
        for name, value in expected.items()
        if name in actual and actual[name] != value
    ]
    return sorted(lines)


def _sum_of_words(raw: torch.Tensor) -> int:
    import torch

    words = -(-raw.numel() // 8)
    padded = torch.zeros(words * 8, dtype=torch.uint8, device=raw.device)
    padded[: raw.numel()] = raw
    weights = torch.arange(1, words + 1, dtype=torch.int64, device=raw.device) * _MULTIPLIER
    return int((padded.view(torch.int64) * weights).sum().item())
