"""``pipeline.to(device)`` of pipelines that the core loaded: their tensors go to the device through the core as well.

``diffusers.DiffusionPipeline.to`` is replaced while a model that the core loaded is alive, and acts on pipelines that
have one; all others get stock's.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import torch

from .. import devices, forked, transfer

_lock = forked.Lock()
_ours: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
_alive = 0
_original: Callable[..., Any] | None = None


def mark(loaded: Any) -> None:
    """Say that the core loaded a model, or the models of a pipeline."""
    models = [loaded] if isinstance(loaded, torch.nn.Module) else getattr(loaded, "components", {}).values()
    for model in models:
        if isinstance(model, torch.nn.Module) and model not in _ours:
            _ours.add(model)
            _replace()
            weakref.finalize(model, _restore).atexit = False


def _replace() -> None:
    global _alive, _original
    from diffusers import DiffusionPipeline

    with _lock:
        _alive += 1
        if _original is None:
            DiffusionPipeline.to = _wrapped(before := DiffusionPipeline.to)
            _original = before


def _restore() -> None:
    global _alive, _original
    from diffusers import DiffusionPipeline

    with _lock:
        _alive -= 1
        if _alive == 0 and _original is not None:
            if getattr(DiffusionPipeline.to, "__warpload_original__", None) is _original:  # else someone replaced ours
                DiffusionPipeline.to = _original
            _original = None


def _wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        if any(model in _ours for model in _models(self)):
            _move_ahead(self, args, kwargs)
        return original(self, *args, **kwargs)

    to.__warpload_original__ = original  # type: ignore[attr-defined]
    return to


def move(pipeline: Any, device: Any, dtype: torch.dtype | None) -> Any:
    """Bring a pipeline to a device through the core, whoever loaded it, and let stock do the rest."""
    arguments = (device,) if dtype is None else (device, dtype)
    _move_ahead(pipeline, arguments, {})
    return pipeline.to(*arguments)


def _models(pipeline: Any) -> list[torch.nn.Module]:
    return [value for value in pipeline.components.values() if isinstance(value, torch.nn.Module)]


def _move_ahead(pipeline: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Move the tensors before stock does, which then finds them where it wants them."""
    given = [*args, kwargs.get("device"), kwargs.get("dtype")]
    dtypes = [value for value in given if isinstance(value, torch.dtype)]
    wanted = [value for value in given if value is not None and not isinstance(value, torch.dtype)]
    if len(args) > 2 or len(wanted) != 1 or len(dtypes) > 1:
        return  # stock knows what to say
    place = devices.arena_device(wanted[0])
    models = _models(pipeline)
    if place is None or pipeline._is_pipeline_device_mapped() or any(map(_is_special, models)):
        return
    transfer.move(models, place, dtypes[0] if dtypes else None)


def _is_special(model: torch.nn.Module) -> bool:
    """Tell whether stock has rules of its own for moving a model: offloaded, dispatched or quantised ones."""
    if getattr(model, "is_quantized", False) or getattr(model, "quantization_method", None) is not None:
        return True
    if getattr(model, "is_loaded_in_8bit", False) or getattr(model, "is_loaded_in_4bit", False):
        return True
    return any(hasattr(each, "_hf_hook") or hasattr(each, "_diffusers_hook") for each in model.modules())
