"""torch's own layers, which a model has by the hundred: each that is built as another one was is a copy of that one.

A U-Net has 743 linear layers of some twenty shapes. Building one takes torch a tenth of a millisecond: two tensors in
memory, their initial values, registrations. While a model is built without weights all that is left of it is a
dictionary of settings and parameters on the meta device, the same for the same arguments.

    Linear(640, 640)  -> torch builds it -> plain? -> noted        within one model: nothing is kept afterwards
    Linear(640, 640)  -> noted           -> the same dictionary, with containers and parameters of its own

What is not plain (a parameter off the meta device, an object that two modules would share), a subclass, and whatever
other code has patched is built by torch each time.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from . import construction, seam_check
from .confined import Confined
from .module_form import Form, Mould, told_apart

Function = Callable[..., Any]

# The layers that models have most of.
_LAYERS = ("Linear", "Conv2d", "Conv3d", "GroupNorm", "LayerNorm")
_UNKNOWN: Any = object()
_constructors: dict[Any, Confined] = {}


def constructor_of(cls: Any) -> Confined:
    """Return the constructor of a class, to be replaced on one thread."""
    if cls not in _constructors:
        _constructors.setdefault(cls, Confined(lambda: cls, "__init__"))
    return _constructors[cls]


def present(cls: Any) -> Any:
    """Return a class's own constructor as others see it, with ours taken for the one that it stands before, or None."""
    return _constructors[cls].present() if cls in _constructors else vars(cls).get("__init__")


def _layers() -> list[Any]:
    import torch

    return [getattr(torch.nn, name) for name in _LAYERS]


@contextlib.contextmanager
def copied() -> Iterator[None]:
    """Have layers that repeat one another copied on this thread inside the block, in which one model is built."""
    if not can_be_copied():
        yield
        return
    with contextlib.ExitStack() as replaced:
        noted: dict[Hashable, Mould | None] = {}
        for layer in _layers():
            replaced.enter_context(constructor_of(layer).replaced(functools.partial(_construct, noted, layer)))
        yield


def can_be_copied() -> bool:
    """Tell whether copies are as good as what torch builds: whether nothing is patched or missing."""
    return seam_check.is_whole("repetitions") and not is_patched()


def is_patched() -> bool:
    """Tell whether anything that a layer is built with is not torch's own, so that each call of it counts."""
    import torch

    classes = [torch.nn.Module, *_layers()]
    functions = [getattr(cls, name, None) for cls in classes for name in ("__setattr__", "reset_parameters")]
    functions += [
        *construction.registering(),
        *map(present, classes),
        *(each for each in vars(torch.nn.init).values() if callable(each)),
    ]
    return bool(construction.foreign_patch() or _registration_hooks()) or not all(map(_is_torchs, functions))


def _is_torchs(function: Any) -> bool:
    # A wrapper says that it is what it wraps, but for the module that it looks names up in.
    settings = getattr(function, "__globals__", None)
    return settings is None or str(settings.get("__name__")).startswith("torch.")


def _registration_hooks() -> Any:
    return seam_check.read("torch.nn.modules.module", "_global_parameter_registration_hooks")


# -- one layer --------------------------------------------------------------------------------------------------------


def _construct(
    noted: dict[Hashable, Mould | None], layer: Any, below: Function, self: Any, *arguments: Any, **keywords: Any
) -> None:
    if type(self) is not layer or vars(self):
        below(self, *arguments, **keywords)
        return
    try:
        key = (layer, told_apart(arguments), told_apart(keywords.items()), *surroundings())
        found = noted.get(key, _UNKNOWN)
    except TypeError:  # a list, as a shape
        found = None
    if isinstance(found, Mould):
        found.give(self)
        return
    below(self, *arguments, **keywords)
    if found is _UNKNOWN:
        form = Form.of(self)
        noted[key] = None if form is None else form.mould()


def surroundings() -> tuple[Any, ...]:
    """Return what a module depends on beside its arguments."""
    import torch

    modes = seam_check.read("torch.overrides", "_get_current_function_mode_stack")()  # the default device is one
    elsewhere = construction.registers_elsewhere()
    return (torch.get_default_dtype(), torch.is_inference_mode_enabled(), elsewhere, *map(Same, modes))


class Same:
    """An object as a key: equal to nothing but itself, and alive as long as the key is."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)
