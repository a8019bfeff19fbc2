"""``from_single_file``: stock converts, the core reads."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any

from .. import context
from ..context import LoadContext
from . import joint_load
from .loaded import mark
from .stock_load import source_name, why_nothing_was_read

logger = logging.getLogger("warpload")

Function = Callable[..., Any]

# What pipelines and models call their first argument.
_SOURCES = ("pretrained_model_link_or_path", "pretrained_model_link_or_path_or_dict")


def from_single_file(stock: Function, cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Replace ``from_single_file`` of diffusers' pipelines and models."""
    load = functools.partial(stock, cls, *args, **kwargs)
    outer = context.current()
    if outer is not None and outer.joint is not None:  # a model of the pipeline being loaded
        return load()
    source = args[0] if args else next((kwargs[name] for name in _SOURCES if name in kwargs), None)
    return _load(source, kwargs, load)


def _load(source: Any, kwargs: dict[str, Any], stock: Function) -> Any:
    label = source_name(source)
    folders = [os.path.abspath(label)] if os.path.exists(label) else []
    zero_copy = not kwargs.get("disable_mmap")
    with joint_load.loading_alone(label, "single file", zero_copy=zero_copy, folders=folders) as load:
        loaded = stock()
    _tell(load, _models(loaded, kwargs), why_nothing_was_read(kwargs, label))
    return mark(loaded)


def _tell(load: LoadContext, models: list[str], why_not: str) -> None:
    report, reading = load.report, load.reading
    refused = [who.removeprefix("stock: ") for who in reading.readers.values() if who.startswith("stock: ")]
    why_not = refused[0] if refused else why_not
    report.bytes += sum(reading.sizes)
    if reading.oddities:
        logger.warning("%s is an odd file: %s", report.source, "; ".join(dict.fromkeys(reading.oddities)))
    for name in models:
        if name not in report.components:
            report.components[name] = "native" if reading.sizes else f"stock: {why_not}"
            if reading.sizes:
                report.placed_by_stock[name] = "a single file"
            else:
                logger.warning("%s of %s is loaded by stock: %s", name, report.source, why_not)


def _models(loaded: Any, given: dict[str, Any]) -> list[str]:
    import torch

    if isinstance(loaded, torch.nn.Module):
        return [type(loaded).__name__]
    components = loaded.components.items()
    return [name for name, value in components if isinstance(value, torch.nn.Module) and name not in given]
