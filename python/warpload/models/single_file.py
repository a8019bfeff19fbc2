"""``from_single_file``: stock converts, the core reads."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from .. import hooks
from . import batch as batches
from . import reader
from .loading import marked

logger = logging.getLogger("warpload")

Function = Callable[..., Any]

# What pipelines and models call their first argument.
_SOURCES = ("pretrained_model_link_or_path", "pretrained_model_link_or_path_or_dict")


def from_single_file(original: Function) -> Function:
    """Wrap ``from_single_file`` of diffusers' pipelines and models."""

    @functools.wraps(original)
    def load(cls: Any, *args: Any, **kwargs: Any) -> Any:
        stock = functools.partial(original, cls, *args, **kwargs)
        if not hooks.active() or batches.current.get() is not None:  # a model of the pipeline being loaded
            return stock()
        source = args[0] if args else next((kwargs[name] for name in _SOURCES if name in kwargs), None)
        return _load(source, kwargs, stock)

    return load


def _load(source: Any, kwargs: dict[str, Any], stock: Function) -> Any:
    named = isinstance(source, str) or hasattr(source, "__fspath__")
    label = str(source) if named else "a dictionary of tensors"
    with batches.batch_of_its_own(label) as batch, reader.reading() as seen:
        loaded = stock()
    report = batch.report
    report.bytes += seen.bytes
    if seen.oddities:
        logger.warning("%s is an odd file: %s", label, "; ".join(dict.fromkeys(seen.oddities)))
    for name in _models(loaded, kwargs):
        if name not in report.components:
            report.components[name] = "native" if seen.files else "stock: no safetensors"
            if seen.files:
                report.placed_by_stock[name] = "a single file"
    return marked(loaded)


def _models(loaded: Any, given: dict[str, Any]) -> list[str]:
    import torch

    if isinstance(loaded, torch.nn.Module):
        return [type(loaded).__name__]
    components = loaded.components.items()
    return [name for name, value in components if isinstance(value, torch.nn.Module) and name not in given]
