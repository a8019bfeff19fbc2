"""The fastest way from files on disk to a ready diffusion pipeline.

``warpload.NAME`` is diffusers' public name, for every one of them: classes that load something do so through the core,
all others are diffusers' own objects.

Importing this package imports neither torch nor diffusers; they come when they are first needed, and by then the bytes
of the weights are already on their way.
"""

from __future__ import annotations

import importlib

from ._core import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is a third of what importing this package takes, and not needed here
    from typing import Any

# Our own public names -> the module that has each.
_HOMES = {
    "Cancelled": "errors",
    "DeviceError": "errors",
    "DiffusionPipeline": "facade",
    "FormatError": "errors",
    "InvalidArgumentError": "errors",
    "IoError": "errors",
    "LoadOptions": "options",
    "LoadReport": "report",
    "OutOfMemoryError": "errors",
    "Prefetch": "prefetch_run",
    "WarploadError": "errors",
    "accelerated": "stock.replacing",
    "install": "stock.replacing",
    "installed": "stock.replacing",
    "last_report": "report",
    "load_file": "whole_file",
    "prefetch": "pipelines.prefetching",
    "release_pinned_memory": "engine",
    "reports": "report",
    "safe_open": "open_file",
    "to_device": "moving.to_device",
    "unfuse_lora": "models.unfusing",
    "uninstall": "stock.replacing",
}

__all__ = [
    "Cancelled",
    "DeviceError",
    "DiffusionPipeline",
    "FormatError",
    "InvalidArgumentError",
    "IoError",
    "LoadOptions",
    "LoadReport",
    "OutOfMemoryError",
    "Prefetch",
    "WarploadError",
    "__version__",
    "accelerated",
    "install",
    "installed",
    "last_report",
    "load_file",
    "prefetch",
    "release_pinned_memory",
    "reports",
    "safe_open",
    "to_device",
    "unfuse_lora",
    "uninstall",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name.startswith("_") or _is_submodule(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    else:
        value = _of_diffusers(name)
    globals()[name] = value
    return value


def _is_submodule(name: str) -> bool:
    # ``from . import engine`` asks for the attribute first, and imports the submodule where there is none.
    import importlib.util

    return name.islower() and importlib.util.find_spec(f"{__name__}.{name}") is not None


def _of_diffusers(name: str) -> Any:
    names = importlib.import_module(f"{__name__}.stock.diffusers_names")
    if names.is_loaded(name):
        return importlib.import_module(f"{__name__}.facade").facade_of(name)
    if name not in names.diffusers_names():
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}: neither warpload nor the installed diffusers has one"
        )
    return getattr(importlib.import_module("diffusers"), name)


def __dir__() -> list[str]:
    names = importlib.import_module(f"{__name__}.stock.diffusers_names")
    of_a_module = [name for name in globals() if name.startswith("__")]
    return sorted({*of_a_module, *__all__, *names.diffusers_names()})
