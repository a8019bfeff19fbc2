"""The fastest way from files on disk to a ready diffusion pipeline.

Importing this package imports neither torch nor diffusers; they come when they are first needed, and by then the bytes
of the weights are already on their way.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._core import __version__

if TYPE_CHECKING:
    from .errors import (
        Cancelled,
        DeviceError,
        FormatError,
        InvalidArgumentError,
        IoError,
        OutOfMemoryError,
        WarploadError,
    )
    from .files import load_file, safe_open
    from .pipelines.facade import DiffusionPipeline
    from .report import LoadReport, last_report

# Public name -> the module that has it.
_HOMES = {
    "Cancelled": "errors",
    "DeviceError": "errors",
    "DiffusionPipeline": "pipelines.facade",
    "FormatError": "errors",
    "InvalidArgumentError": "errors",
    "IoError": "errors",
    "LoadReport": "report",
    "OutOfMemoryError": "errors",
    "WarploadError": "errors",
    "last_report": "report",
    "load_file": "files",
    "safe_open": "files",
}

__all__ = [
    "Cancelled",
    "DeviceError",
    "DiffusionPipeline",
    "FormatError",
    "InvalidArgumentError",
    "IoError",
    "LoadReport",
    "OutOfMemoryError",
    "WarploadError",
    "__version__",
    "last_report",
    "load_file",
    "safe_open",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name.endswith("Pipeline"):
        value = importlib.import_module(f"{__name__}.pipelines.facade").facade_of(name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
