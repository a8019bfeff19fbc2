"""The models that the core loaded and that are alive: ``pipeline.to`` moves these through the core."""

from __future__ import annotations

import weakref
from typing import Any

from ..stock import replacing

_alive: weakref.WeakSet[Any] = weakref.WeakSet()


def mark(loaded: Any) -> Any:
    """Note a model, or the models of a pipeline, as loaded by the core; return what was given.

    ``DiffusionPipeline.to`` is replaced as long as one of them is alive.

    Args:
        loaded: a model, a pipeline, or a tuple that begins with one.
    """
    import torch

    first = loaded[0] if isinstance(loaded, tuple) else loaded
    models = [first] if isinstance(first, torch.nn.Module) else getattr(first, "components", {}).values()
    for model in models:
        if isinstance(model, torch.nn.Module) and model not in _alive:
            _alive.add(model)
            holder = replacing.hold("models alive")
            weakref.finalize(model, replacing.release, "models alive", holder).atexit = False
    return loaded


def is_ours(model: Any) -> bool:
    """Tell whether the core loaded a model."""
    return model in _alive
