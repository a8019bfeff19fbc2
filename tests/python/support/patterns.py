"""Values that casts can get wrong, and how close to torch's result one has to come."""

from __future__ import annotations

import platform

import torch

from .compare import bytes_of

NARROW = [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
WIDE = [torch.float32, torch.float64]
TARGETS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]

# torch's NaN payloads are those of the processor's instructions; elsewhere NaN is compared as a class.
SAME_NAN_BITS = platform.machine() == "x86_64"


def every_pattern(dtype: torch.dtype) -> torch.Tensor:
    """Return all bit patterns of a dtype of one or two bytes."""
    integers = torch.arange(1 << (8 * dtype.itemsize), dtype=torch.int32)
    return integers.to(torch.uint8 if dtype.itemsize == 1 else torch.uint16).view(dtype)


def assert_same_values(ours: torch.Tensor, expected: torch.Tensor, *, nan_bits: bool) -> None:
    """Fail unless all bits are equal, but for those of NaN where they do not count."""
    assert ours.dtype == expected.dtype
    if nan_bits:
        assert bytes_of(ours) == bytes_of(expected)
        return
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[expected.itemsize]
    nan = expected.isnan()
    assert torch.equal(ours.isnan(), nan)
    assert torch.equal(ours.view(bits)[~nan], expected.view(bits)[~nan])


def critical_values(source: torch.dtype, target: torch.dtype) -> torch.Tensor:
    """Return each finite value of the target, the midpoint to the next, and their neighbours in the source."""
    grid = every_pattern(target).to(torch.float64)
    grid = grid[grid.isfinite()].sort().values.unique()
    points = torch.cat([grid, (grid[1:] + grid[:-1]) / 2]).to(source)
    infinity = torch.tensor(float("inf"), dtype=source)
    extremes = torch.tensor([0.0, -0.0, torch.finfo(source).tiny, torch.finfo(source).max, float("inf")], dtype=source)
    return torch.cat(
        [
            points,
            points.nextafter(infinity),
            points.nextafter(-infinity),
            extremes,
            -extremes,
            extremes.nextafter(-infinity),
        ]
    )
