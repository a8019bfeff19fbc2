"""What a model is made of, with the identity of each part as a number, so that two models can be compared."""

from __future__ import annotations

import inspect
from typing import Any

import torch


def structure(model: torch.nn.Module) -> list[tuple[Any, ...]]:
    """Return each module's name, class and attributes in their order.

    Containers, tensors, modules and objects carry the number of when they were first met: where two places of one model
    have the same object, the other model's have too.
    """
    numbers = _Numbers()
    return [
        (
            name,
            type(module).__qualname__,
            numbers.of(module),
            [(key, numbers.look(at)) for key, at in vars(module).items()],
        )
        for name, module in model.named_modules(remove_duplicate=False)
    ]


class _Numbers:
    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []

    def of(self, value: Any) -> int:
        self._alive.append(value)
        return self._numbers.setdefault(id(value), len(self._numbers))

    def look(self, value: Any) -> tuple[Any, ...]:
        kind = type(value).__qualname__
        if value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.device):
            return (kind, repr(value))
        if isinstance(value, tuple):
            return (kind, [self.look(each) for each in value])
        if inspect.isroutine(value) or inspect.isclass(value):
            return (kind, value.__qualname__)
        return (kind, self.of(value), self._inside(value))

    def _inside(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            form = (value.shape, value.stride(), value.dtype, value.device, value.requires_grad, sorted(vars(value)))
            return (*form, None if value.is_meta else value.tolist())
        if isinstance(value, dict):
            return [(repr(key), self.look(each)) for key, each in value.items()]
        if isinstance(value, list | set):
            return [self.look(each) for each in value]
        if isinstance(value, torch.nn.Module):
            return None  # has its own place
        return str(value) if "0x" not in repr(value) else [(key, self.look(each)) for key, each in vars(value).items()]
