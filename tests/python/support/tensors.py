"""Tensors of random bits, of every dtype that files hold."""

from __future__ import annotations

import numpy as np
import torch

# Those between which the core casts, and that it casts from.
FLOATING = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]

# What torch has of the format's dtypes beside those that casts know.
OTHERS = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.complex64,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
]

# Those that only a younger torch has: since 2.7, and since 2.8.
YOUNG = [getattr(torch, name) for name in ("float8_e8m0fnu",) if hasattr(torch, name)]
FOUR_BITS = [getattr(torch, name) for name in ("float4_e2m1fn_x2",) if hasattr(torch, name)]

SHAPES: list[tuple[int, ...]] = [(), (0,), (3, 0, 2), (1,), (7,), (3, 5), (2, 3, 4, 5)]


def random_tensor(dtype: torch.dtype, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return a tensor of random bits (but for bool, which knows two)."""
    count = int(np.prod(shape, dtype=np.int64))
    generator = np.random.default_rng(seed)
    if dtype == torch.bool:
        return torch.from_numpy(generator.integers(0, 2, count).astype(bool)).reshape(shape)
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    raw = generator.integers(0, 256, count * dtype.itemsize, dtype=np.uint8)
    return torch.from_numpy(raw).view(dtype).reshape(shape)


def mixed_tensors() -> dict[str, torch.Tensor]:
    """Return tensors of all sorts under names whose order is not that of their sizes."""
    return {
        "z.weight": random_tensor(torch.float32, (4, 5), 1),
        "a.bias": random_tensor(torch.float16, (7,), 2),
        "m.count": random_tensor(torch.int64, (), 3),
        "b.flag": random_tensor(torch.bool, (3,), 4),
        "Ä.scale": random_tensor(torch.bfloat16, (3, 3), 5),
        "c.empty": random_tensor(torch.float32, (0, 4), 6),
        "d.table": random_tensor(torch.uint8, (5,), 7),
    }
