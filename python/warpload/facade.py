"""What stands for diffusers' classes: the same names, loading through the core, diffusers' own objects."""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Callable
from typing import Any

from .stock import diffusers_names as names

# Methods that load: stock's own run inside ``accelerated()``.
_LOADING_METHODS = frozenset({"from_pretrained", "from_single_file", "load_components"})


class _FacadeMeta(type):
    """All but the loading methods is the diffusers class's own, which is imported when it is first needed."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **keywords: Any) -> Any:
        if namespace.get("__module__") in (__name__, "warpload"):
            return super().__new__(mcs, name, bases, namespace)
        # A user's own subclass is one of the diffusers class.
        genuine = tuple(base.stock if isinstance(base, _FacadeMeta) else base for base in bases)
        return types.new_class(name, genuine, keywords, lambda own: own.update(namespace))

    @property
    def stock(cls) -> Any:
        """Return the diffusers class that this one stands for."""
        from .stock import deferring, imports_ahead

        imports_ahead.begin()
        with deferring.imports_put_off():
            import diffusers

            return getattr(diffusers, cls.__name__)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):  # protocols are asked of the class itself, and must not import anything
            raise AttributeError(name)
        value = getattr(cls.stock, name)
        if name == "from_pipe" and callable(value):
            return _sharing(cls.stock)
        return _accelerated(cls.stock, name) if name in _LOADING_METHODS and callable(value) else value

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        return cls.stock(*arguments, **keywords)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.stock)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if isinstance(subclass, _FacadeMeta):
            subclass = subclass.stock
        return issubclass(subclass, cls.stock)

    def __dir__(cls) -> list[str]:
        return sorted({*super().__dir__(), *dir(cls.stock)})

    def __repr__(cls) -> str:
        return f"<warpload's {cls.__name__}: diffusers.{cls.__name__} with native loading>"


def _accelerated(stock: Any, name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(stock, name))
    def load(*arguments: Any, **keywords: Any) -> Any:
        from .pipelines import snapshot
        from .stock import deferring, hub, replacing

        with deferring.imports_put_off(), replacing.accelerated():
            call = functools.partial(getattr(stock, name), *arguments)  # looked up here, where it is the replaced one
            complete = (
                name == "from_pretrained" and bool(arguments) and snapshot.holds_all(stock, arguments[0], keywords)
            )
            return hub.from_cache_first(call, complete, keywords)

    return load


def _sharing(stock: Any) -> Callable[..., Any]:
    @functools.wraps(stock.from_pipe)
    def share(*arguments: Any, **keywords: Any) -> Any:
        from .pipelines.from_pipe import from_pipe

        return from_pipe(stock, *arguments, **keywords)

    return share


class DiffusionPipeline(metaclass=_FacadeMeta):
    """``diffusers.DiffusionPipeline``, loading natively; calling it or asking ``isinstance`` means diffusers' class."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load a pipeline from a folder or a Hub id, with the weights put in place by the native core.

        This method takes all of stock's keyword arguments and returns the object that stock would: of diffusers' own
        classes, and equal bit for bit. What the core does not load (no safetensors, a quantiser) goes through stock;
        ``warpload.last_report()`` and the log say what and why.

        Args:
            pretrained_model_name_or_path: a folder in diffusers' layout, or a repository's id on the Hub. Where the
                Hub's cache holds all of it, the Hub is not asked.
            kwargs: as for ``diffusers.DiffusionPipeline.from_pretrained``. Beyond stock, ``device_map`` also takes a
                ``torch.device``, a number, a name such as ``"cuda:1"``, or a dictionary from components' names (and
                ``"default"``) to any of these.

        Returns:
            The pipeline, of the class that stock would choose. All bytes of its weights have arrived.

        Raises:
            FormatError: a weight file is not valid; nothing is half loaded.
            IoError: a weight file cannot be read.
            OutOfMemoryError: the arena could not be reserved.
            DeviceError: ``device_map`` names a GPU that is not there, or a device's driver reported an error.
            InvalidArgumentError: ``device_map`` names a component that is not there, or what is no device.
        """
        from .pipelines.pipeline_load import load_pipeline

        return load_pipeline(lambda: cls.stock, pretrained_model_name_or_path, kwargs)


class _AutoPipeline(metaclass=_FacadeMeta):
    """A class of diffusers that picks a pipeline for a task."""

    @classmethod
    def from_pretrained(cls, pretrained_model_or_path: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load the pipeline that diffusers has for a task, with the weights put in place by the native core.

        Args:
            pretrained_model_or_path: a folder in diffusers' layout, or a repository's id on the Hub.
            kwargs: as for ``from_pretrained`` of the diffusers class. A ``device_map`` may be what it may be for
                ``warpload.DiffusionPipeline``.

        Returns:
            The pipeline, of the class that stock chooses for the task.

        Raises:
            WarploadError: what ``warpload.DiffusionPipeline.from_pretrained`` raises.
        """
        from .pipelines.pipeline_load import load_pipeline

        return load_pipeline(lambda: cls.stock, pretrained_model_or_path, kwargs)


class _Loaded(metaclass=_FacadeMeta):
    """A class of diffusers whose loading methods go through the core."""


@functools.cache
def facade_of(name: str) -> type:
    """Return the class that stands for the diffusers class of that name."""
    base: type = _Loaded
    if names.is_pipeline(name):
        base = _AutoPipeline if name.startswith("AutoPipelineFor") else DiffusionPipeline
    text = f"``diffusers.{name}``, loading through the core; all else is diffusers' own."
    facade: type = _FacadeMeta(name, (base,), {"__doc__": text, "__module__": "warpload"})
    return facade
