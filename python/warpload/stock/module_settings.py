"""One module's dictionary, noted so that others like it can be made; the caller fills some of its attributes himself.

``module_form`` notes whole trees of modules. This is for a layer around another module, which each has its own one of.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from .module_form import is_atomic


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


def _maker(value: Any) -> Callable[[], Any] | None:
    """Return what makes another container like an empty one, or one of plain values; None for anything else."""
    if type(value) is list and all(map(is_atomic, value)):
        return functools.partial(list, tuple(value))
    if type(value) is dict and all(map(is_atomic, (*value, *value.values()))):
        return functools.partial(dict, dict(value))
    is_container = isinstance(value, dict | set) and type(value).__module__ in ("builtins", "collections")
    return type(value) if is_container and not value else None
