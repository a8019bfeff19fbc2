"""The lock that whoever constructs a model holds, and what a child of fork puts back where another thread held it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from .. import forked


class ConstructionLock(forked.Lock):
    """Held while a model is built: what the libraries patch meanwhile, for the whole process, is known as it was."""

    def __init__(self) -> None:
        super().__init__(self._put_back)
        self._before: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        super().__enter__()
        if self._depth == 1:
            self._before = _as_it_is()

    def __exit__(self, *raised: Any) -> None:
        if self._depth == 1:
            self._before = []
        super().__exit__(*raised)

    def _put_back(self) -> None:
        for put_back in self._before:
            put_back()


def _as_it_is() -> list[Callable[[], None]]:
    """Return what puts back the things that diffusers, transformers and accelerate change while they build a model."""
    import torch

    owners: list[tuple[Any, tuple[str, ...]]] = [
        (torch.nn.Module, ("register_buffer", "register_parameter")),
        (torch.nn.init, tuple(name for name, value in vars(torch.nn.init).items() if callable(value))),
        (torch, ("linspace",)),
    ]
    if (transformers := sys.modules.get("transformers.modeling_utils")) is not None:
        owners.append((transformers.PreTrainedModel, ("tie_weights",)))
    there = [(owner, name) for owner, names in owners for name in names if name in vars(owner)]
    put_back = [functools.partial(setattr, owner, name, vars(owner)[name]) for owner, name in there]
    return [*put_back, functools.partial(torch.set_default_dtype, torch.get_default_dtype())]


# accelerate patches ``torch.nn.Module.register_parameter`` for the whole process while it builds on meta: two threads
# that do so at once leave the patch behind. Parallelism is in the native threads instead. A child of fork finds put
# right what another thread had patched.
construction_lock = ConstructionLock()
