"""The list of families: filled by the decorator, complete once every module of the package is imported."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

import families

Builder = Callable[[], Any]
B = TypeVar("B", bound=Builder)

_builders: dict[str, Builder] = {}

# Families, and modules of them, that cannot be built with what is installed -> why.
unavailable: dict[str, str] = {}


def family(name: str, needs: str | None = None) -> Callable[[B], B]:
    """Register a builder of a pipeline under a name of words and dashes, such as ``"flux-controlnet"``.

    Where the package that it needs is not installed the family is not there; ``unavailable`` says so.
    """

    def register(builder: B) -> B:
        if name in _builders:
            raise ValueError(f"two families are called {name}")
        if needs is not None and importlib.util.find_spec(needs) is None:
            unavailable[name] = f"needs {needs}"
        else:
            _builders[name] = builder
        return builder

    return register


def families_by_name() -> dict[str, Builder]:
    """Return every family's builder."""
    for module in pkgutil.iter_modules(families.__path__):
        try:
            importlib.import_module(f"families.{module.name}")
        except (ImportError, RuntimeError) as error:  # an older diffusers or transformers lacks one of its classes
            unavailable[module.name] = str(error)
    return dict(sorted(_builders.items()))
