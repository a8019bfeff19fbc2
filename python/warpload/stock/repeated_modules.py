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
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

from . import construction, seam_check
from .confined import Confined

Function = Callable[..., Any]

# The layers that models have most of.
_LAYERS = (
    ("torch.nn.modules.linear", "Linear"),
    ("torch.nn.modules.conv", "Conv2d"),
    ("torch.nn.modules.conv", "Conv3d"),
    ("torch.nn.modules.normalization", "GroupNorm"),
    ("torch.nn.modules.normalization", "LayerNorm"),
)
_UNKNOWN: Any = object()
_ATOMS = frozenset({bool, float, int, str, type(None)})


def _class_of(name: str) -> Any:
    import torch

    return getattr(torch.nn, name)


_constructors = [Confined(functools.partial(_class_of, name), "__init__") for _, name in _LAYERS]


@contextlib.contextmanager
def copied() -> Iterator[None]:
    """Have layers that repeat one another copied on this thread inside the block, in which one model is built."""
    if not seam_check.is_whole("repetitions") or is_patched():
        yield
        return
    with contextlib.ExitStack() as replaced:
        noted: dict[Hashable, Settings | None] = {}
        for constructor, (_, name) in zip(_constructors, _LAYERS, strict=True):
            build = functools.partial(_construct, noted, _class_of(name))
            replaced.enter_context(constructor.replaced(build))
        yield


def is_patched() -> bool:
    """Tell whether anything that a layer is built with is not torch's own, so that each call of it counts."""
    import torch

    classes = [torch.nn.Module, *(_class_of(name) for _, name in _LAYERS)]
    functions = [getattr(cls, name, None) for cls in classes for name in ("__setattr__", "reset_parameters")]
    functions += [constructor.present() for constructor in _constructors]
    functions += [torch.nn.Module.__init__, *(each for each in vars(torch.nn.init).values() if callable(each))]
    return bool(construction.foreign_patch() or _registration_hooks()) or not all(map(_is_torchs, functions))


def _is_torchs(function: Any) -> bool:
    # A wrapper says that it is what it wraps, but for the module that it looks names up in.
    settings = getattr(function, "__globals__", None)
    return settings is None or str(settings.get("__name__")).startswith("torch.")


def _registration_hooks() -> Any:
    return seam_check.read("torch.nn.modules.module", "_global_parameter_registration_hooks")


# -- one layer --------------------------------------------------------------------------------------------------------


def _construct(
    noted: dict[Hashable, Settings | None], layer: Any, below: Function, self: Any, *arguments: Any, **keywords: Any
) -> None:
    if type(self) is not layer or vars(self):
        below(self, *arguments, **keywords)
        return
    try:
        key = (layer, told_apart(arguments), told_apart(keywords.items()), *surroundings())
        found = noted.get(key, _UNKNOWN)
    except TypeError:  # a list, as a shape
        found = None
    if isinstance(found, Settings):
        found.give(vars(self))
        return
    below(self, *arguments, **keywords)
    if found is _UNKNOWN:
        noted[key] = Settings.of(vars(self))


def told_apart(values: Any) -> tuple[Any, ...]:
    """Return plain values as a key that has their types, as 1, 1.0 and True are equal."""
    return tuple((type(value), told_apart(value) if isinstance(value, tuple) else value) for value in values)


def surroundings() -> tuple[Any, ...]:
    """Return what a layer depends on beside its arguments."""
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


class Settings:
    """What one module was built to.

    Args:
        settings: its attributes, in their order, those of the two below included.
        fresh: what each module has its own one of, and what makes it.
        parameters: size, stride, dtype and whether it takes gradients, of each that is there.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        fresh: list[tuple[str, Callable[[], Any]]],
        parameters: dict[str, tuple[Any, ...] | None],
    ) -> None:
        self._settings, self._fresh, self._parameters = settings, fresh, parameters

    @classmethod
    def of(cls, settings: dict[str, Any], given: Mapping[str, Callable[[], Any]] | None = None) -> Settings | None:
        """Note a module that has just been built; None where a copy would not be as good.

        Args:
            settings: its dictionary.
            given: attributes that the caller fills by himself, and what makes each.
        """
        fresh: list[tuple[str, Callable[[], Any]]] = []
        parameters: dict[str, tuple[Any, ...] | None] = {}
        for name, value in settings.items():
            if given and name in given:
                fresh.append((name, given[name]))
            elif name == "_parameters":
                fresh.append((name, type(value)))
                for own, parameter in value.items():
                    if parameter is not None and not _is_plain(parameter):
                        return None
                    parameters[own] = None if parameter is None else _form(parameter)
            elif not (is_atomic(value) or (made := _maker(value)) is not None):
                return None
            elif not is_atomic(value):
                assert made is not None
                fresh.append((name, made))
        return cls(dict(settings), fresh, parameters) if "_parameters" in settings else None

    def give(self, settings: dict[str, Any]) -> None:
        """Make a new module's dictionary what torch would make it."""
        import torch

        settings.update(self._settings)
        for name, make in self._fresh:
            settings[name] = make()
        parameters = settings["_parameters"]
        for name, form in self._parameters.items():
            if form is None:
                parameters[name] = None
                continue
            size, stride, dtype, requires_grad = form
            empty = torch.empty_strided(size, stride, dtype=dtype, device="meta")
            parameters[name] = torch.nn.Parameter(empty, requires_grad)


def _is_plain(parameter: Any) -> bool:
    import torch

    return type(parameter) is torch.nn.Parameter and parameter.is_meta and not vars(parameter)


def _form(parameter: Any) -> tuple[Any, ...]:
    return parameter.shape, parameter.stride(), parameter.dtype, parameter.requires_grad


def is_atomic(value: Any) -> bool:
    """Tell whether a value is plain and cannot be changed in place."""
    return type(value) in _ATOMS or (type(value) is tuple and all(map(is_atomic, value)))


def _maker(value: Any) -> Callable[[], Any] | None:
    """Return what makes another container like an empty one, or one of plain values; None for anything else."""
    if type(value) is list and all(map(is_atomic, value)):
        return functools.partial(list, tuple(value))
    if type(value) is dict and all(map(is_atomic, (*value, *value.values()))):
        return functools.partial(dict, dict(value))
    is_container = isinstance(value, dict | set) and type(value).__module__ in ("builtins", "collections")
    return type(value) if is_container and not value else None
