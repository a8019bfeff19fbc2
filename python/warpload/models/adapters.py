"""Adapters (LoRA, textual inversion, IP adapters) and the components of a modular pipeline: stock loads them.

The core reads the safetensors files that stock's code asks for; the call's report says who read each.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any

from .. import hooks
from ..report import LoadReport, recorded, under_way
from . import reader

logger = logging.getLogger("warpload")

Function = Callable[..., Any]


def load_adapter(original: Function) -> Function:
    """Wrap a method of diffusers that loads an adapter's files, such as ``load_lora_weights``."""

    @functools.wraps(original)
    def load(self: Any, *arguments: Any, **keywords: Any) -> Any:
        outer = under_way()
        if not hooks.active() or (outer is not None and outer.kind == "adapter"):
            return original(self, *arguments, **keywords)
        source = _named(arguments[0] if arguments else next(iter(keywords.values()), None))
        with recorded(LoadReport(source, kind="adapter")) as report, report.stage("load"), reader.reading() as seen:
            try:
                return original(self, *arguments, **keywords)
            finally:
                _tell(report, seen)

    return load


def _named(source: Any) -> str:
    if isinstance(source, list | tuple):
        return ", ".join(map(_named, source))
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "a dictionary of tensors"


def _tell(report: LoadReport, seen: reader.Reading) -> None:
    report.bytes += seen.bytes
    for name, who in seen.readers.items():
        report.components[name] = who
        if who == "native":
            report.placed_by_stock[name] = "an adapter"
        else:
            logger.warning("%s of %s is loaded by %s", name, report.source, who)


def load_components(original: Function) -> Function:
    """Wrap ``diffusers.ModularPipeline.load_components``."""

    @functools.wraps(original)
    def load(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if not hooks.active():
            return original(self, *arguments, **keywords)
        source = str(getattr(self, "_pretrained_model_name_or_path", None) or type(self).__name__)
        with recorded(LoadReport(source, kind="components")) as report, report.stage("load"):
            return original(self, *arguments, **keywords)

    return load


def load_component(original: Function) -> Function:
    """Wrap ``diffusers.ComponentSpec.load``: what it loads goes under the component's name."""

    @functools.wraps(original)
    def load(self: Any, **keywords: Any) -> Any:
        outer = under_way()
        if outer is None or outer.kind != "components":
            return original(self, **keywords)
        with recorded(LoadReport(str(self.name), kind="model"), str(self.name)):
            return original(self, **keywords)

    return load
