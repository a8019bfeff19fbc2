"""Modules brought to a device by the core, compared with what torch makes of a copy."""

from __future__ import annotations

import copy

import torch

import warpload

from .compare import assert_same_tensor
from .devices import Device

Module = torch.nn.Module


def parameter(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.nn.Parameter:
    """Return a parameter of seeded random numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype))


def assert_same_places(ours: Module, stock: Module) -> None:
    """Fail unless both have the same parameters, gradients and buffers under the same names."""
    for kind in ("named_parameters", "named_buffers"):
        mine = dict(getattr(ours, kind)(remove_duplicate=False))
        theirs = dict(getattr(stock, kind)(remove_duplicate=False))
        assert list(mine) == list(theirs)
        for name, expected in theirs.items():
            assert_same_tensor(mine[name], expected, name)
            if expected.grad is not None:
                assert_same_tensor(mine[name].grad, expected.grad, f"{name}.grad")
            assert (mine[name].grad is None) == (expected.grad is None), name
    assert list(ours.state_dict()) == list(stock.state_dict())


def move(module: Module, device: Device, dtype: torch.dtype | None = None) -> Module:
    """Move the module, fail unless torch makes the same of a copy, and return it."""
    stock = copy.deepcopy(module)
    for mine, theirs in zip(module.parameters(), stock.parameters(), strict=True):
        theirs.grad = None if mine.grad is None else mine.grad.clone()
    arguments = (device.name,) if dtype is None else (device.name, dtype)
    stock = stock.to(*arguments)

    assert warpload.to_device(module, *arguments) is module

    assert_same_places(module, stock)
    return module
