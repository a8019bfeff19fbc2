"""What both kinds of models share: when the core does not place a model's tensors, and the lock of construction."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import forked

if TYPE_CHECKING:
    from ..errors import WarploadError


class NotNativeError(Exception):
    """The core does not put this model together; stock does, for the reason given. Never reaches the user.

    Attributes:
        readable: whether stock's own code may still read the files through the core.
        fault: the error of the core's that is to be raised if stock cannot load the files either.
        built: a model without weights that stock is to go on with (``construction.Built``), or None.
    """

    def __init__(self, reason: str, *, readable: bool = True, fault: WarploadError | None = None) -> None:
        super().__init__(reason)
        self.readable = readable
        self.fault = fault
        self.built: Any = None

    def bare(self) -> NotNativeError:
        """Return the same without the frames that it came through: they may hold tensors in a device's memory."""
        fault = None if self.fault is None else self.fault.with_traceback(None)
        same = NotNativeError(str(self), readable=self.readable, fault=fault)
        same.built = self.built
        return same


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
    put_back = [functools.partial(setattr, owner, name, vars(owner)[name]) for owner, names in owners for name in names]
    return [*put_back, functools.partial(torch.set_default_dtype, torch.get_default_dtype())]


# accelerate patches ``torch.nn.Module.register_parameter`` for the whole process while it builds on meta: two threads
# that do so at once leave the patch behind. Parallelism is in the native threads instead. A child of fork finds put
# right what another thread had patched.
construction_lock = ConstructionLock()


def check_own_loading(cls: type, base: type, names: tuple[str, ...]) -> None:
    """Refuse a class that brings its own version of one of the base's methods, as we don't know what it does.

    Raises:
        NotNativeError: it does; names the class and the method.
    """
    for name in names:
        own, known = getattr(cls, name), getattr(base, name)
        if getattr(own, "__func__", own) is not getattr(known, "__func__", known):
            raise NotNativeError(f"{cls.__name__} has its own {name}")


def some_of(names: set[str]) -> str:
    """Return a few of many names, for a reason."""
    shown = sorted(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
