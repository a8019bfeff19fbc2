"""The layers of a LoRA, most of which repeat one another: one is built by peft, the others are copies of it.

A LoRA for SDXL has 722 layers in the U-Net, of some dozen shapes. Each is a module of peft's with six more in it, which
take a millisecond or two to build. On the meta device, where diffusers has them built before it gives them the file's
tensors, all that is left of one is a tree of dictionaries: the same for the same shape, rank and settings.

    lora.Linear(to_q, rank 32)  -> peft builds it -> plain? -> noted      within one load: nothing is kept afterwards
    lora.Linear(to_k, rank 32)  -> noted          -> the same tree, around another base layer

peft's own way to the meta device patches all threads' modules, once for each layer; here it is this thread's alone.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from typing import Any

from . import construction, repeated_modules, seam_check
from .module_form import Form, Mould, is_atomic, told_apart
from .repeated_modules import Same

Function = Callable[..., Any]

# What the load under way on this thread has noted; None where nothing is to be copied.
_noted: ContextVar[dict[Hashable, _Layer | None] | None] = ContextVar("warpload_adapter_layers", default=None)
_UNKNOWN: Any = object()
# What transformers notes of a module whose parameters have their values, which no adapter asks for.
_MARKS = frozenset({"_is_hf_initialized"})
# Of the call, what each layer has its own of, and what is compared by itself.
_OWN = ("target_name", "config")


@contextlib.contextmanager
def copied() -> Iterator[None]:
    """Have layers of adapters that repeat one another copied on this thread inside the block."""
    if not seam_check.is_whole("adapter layers") or repeated_modules.is_patched():
        yield
        return
    token = _noted.set({})
    try:
        with construction.often_elsewhere():
            yield
    finally:
        _noted.reset(token)


def init_on_device(stock: Function, device: Any, include_buffers: bool | None = None) -> Any:
    """Replace ``peft.utils.integrations._init_on_device``: it counts on this thread only."""
    if include_buffers or _noted.get() is None:
        return stock(device, include_buffers=include_buffers)
    return construction.parameters_on(device, but=_is_skipped)


def _is_skipped() -> bool:
    """Tell whether peft wants parameters to stay where they are all the same."""
    return getattr(seam_check.read("peft.utils.integrations", "_init_on_device"), "_skip", False) is True


def construct(stock: Function, self: Any, base_layer: Any, *arguments: Any, **keywords: Any) -> None:
    """Replace ``peft.tuners.lora.layer.Linear.__init__``."""
    noted = _noted.get()
    key = None if noted is None or vars(self) else _key(type(self), base_layer, arguments, keywords)
    if noted is None or key is None:
        stock(self, base_layer, *arguments, **keywords)
        return
    found = noted.get(key, _UNKNOWN)
    if isinstance(found, _Layer):
        found.give(self, base_layer, keywords)
        return
    stock(self, base_layer, *arguments, **keywords)
    if found is _UNKNOWN:
        noted[key] = _Layer.of(self, base_layer, keywords)


def _key(cls: Any, base_layer: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Hashable | None:
    """Return all that a layer depends on, or None where that may be more than is known here."""
    import torch

    if type(base_layer) is not torch.nn.Linear or not construction.registers_elsewhere() or _is_distributed():
        return None
    config = keywords.get("config")
    if config is None or getattr(config, "lora_bias", True) or _cannot_tell(base_layer):
        return None
    try:
        told = tuple((name, None if name in _OWN else _told(value)) for name, value in keywords.items())
        shape = (base_layer.in_features, base_layer.out_features)
        key = (cls, shape, told_apart(arguments), Same(config), told)
        hash(key)
    except TypeError:
        return None
    return (*key, *repeated_modules.surroundings())


def _told(value: Any) -> Hashable:
    """Return a value as part of a key: itself with its type, or what it has of such values."""
    import torch

    if type(value) is dict:
        return (dict, *((_told(name), _told(each)) for name, each in value.items()))
    if not is_atomic(value) and not isinstance(value, torch.device):
        raise TypeError
    return (type(value), value)


def _cannot_tell(base_layer: Any) -> bool:
    """Tell whether a base layer has more about it than torch's own has, which peft might ask for."""
    import torch

    return not vars(base_layer).keys() - _MARKS <= _plain_attributes(torch.nn.Linear)


@functools.cache
def _plain_attributes(cls: Any) -> frozenset[str]:
    return frozenset(vars(cls(1, 1, device="meta")))


def _is_distributed() -> bool:
    import torch

    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized()


class _Layer:
    """What one layer was built to.

    Args:
        mould: of the layer and the modules in it, but for the base layer.
        kept: the arguments of its call that it keeps.
    """

    def __init__(self, mould: Mould, kept: list[str]) -> None:
        self._mould, self._kept = mould, kept

    @classmethod
    def of(cls, layer: Any, base_layer: Any, keywords: dict[str, Any]) -> _Layer | None:
        """Note a layer that peft has just built; None where a copy would not be as good."""
        kept = vars(layer).get("kwargs")
        if type(kept) is not dict or not all(keywords.get(name, _UNKNOWN) is value for name, value in kept.items()):
            return None
        form = Form.of(layer, base_layer, given=("kwargs",))
        mould = None if form is None else form.mould()
        return None if mould is None else cls(mould, list(kept))

    def give(self, layer: Any, base_layer: Any, keywords: dict[str, Any]) -> None:
        """Make a new layer what peft would make it."""
        self._mould.give(layer, base_layer)
        vars(layer)["kwargs"].update((name, keywords[name]) for name in self._kept)
