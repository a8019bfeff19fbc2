"""What stands for diffusers' pipeline classes: the same names, loading through the core, diffusers' own objects."""

from __future__ import annotations

import functools
import importlib.util
import os
from pathlib import Path
from typing import Any


class _FacadeMeta(type):
    """Everything but ``from_pretrained`` is the diffusers class's own, which is imported when it is first needed."""

    @property
    def stock(cls) -> Any:
        """Return the diffusers class that this one stands for."""
        import diffusers

        return getattr(diffusers, cls.__name__)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):  # protocols are asked of the class itself, and must not import anything
            raise AttributeError(name)
        return getattr(cls.stock, name)

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        return cls.stock(*arguments, **keywords)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.stock)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if isinstance(subclass, _FacadeMeta):
            subclass = subclass.stock
        return issubclass(subclass, cls.stock)

    def __repr__(cls) -> str:
        return f"<warpload's {cls.__name__}: diffusers.{cls.__name__} with native loading>"


class DiffusionPipeline(metaclass=_FacadeMeta):
    """``diffusers.DiffusionPipeline``, loading natively; calling it or asking ``isinstance`` means diffusers' class."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load a pipeline from a folder or a Hub id, with the weights put in place by the native core.

        Takes all of stock's keyword arguments and returns the object that stock would, of diffusers' own classes, equal
        bit for bit. What the core does not load (no safetensors, a quantiser, a class with its own loader, missing or
        mismatching keys) goes through stock; ``warpload.last_report()`` and the log say what and why.

        Args:
            pretrained_model_name_or_path: a folder in diffusers' layout, or a repository's id on the Hub.
            kwargs: as for ``diffusers.DiffusionPipeline.from_pretrained``.

        Raises:
            FormatError: a weight file is not valid; nothing is half loaded.
            IoError: a weight file cannot be read.
            OutOfMemoryError: the arena could not be reserved.
        """
        from . import assembly

        return assembly.load_pipeline(cls, pretrained_model_name_or_path, kwargs)


@functools.cache
def facade_of(name: str) -> type:
    """Return the class that stands for the diffusers pipeline of that name.

    Raises:
        AttributeError: the installed diffusers has no such class.
    """
    if not _diffusers_has(name):
        raise AttributeError(f"module 'warpload' has no attribute {name!r}: diffusers has no such class")
    return _FacadeMeta(name, (DiffusionPipeline,), {"__doc__": DiffusionPipeline.__doc__, "__module__": "warpload"})


def _diffusers_has(name: str) -> bool:
    # Read, not imported: the import takes a second, during which bytes could already be moving.
    specification = importlib.util.find_spec("diffusers")
    if specification is None or specification.origin is None:
        return False
    return f'"{name}"' in Path(specification.origin).read_text(encoding="utf-8")
