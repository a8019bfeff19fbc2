"""``pipeline.to(device)`` of pipelines that the core loaded: their tensors go to the device through the core as well.

``diffusers.DiffusionPipeline.to`` is replaced while a model that the core loaded is alive, and acts on pipelines that
have one; all others get stock's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .. import devices
from ..models.loaded import is_ours
from ..stock import seam_check
from ..stock.refusal import NotNativeError
from . import modules


def to(stock: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    """Replace ``diffusers.DiffusionPipeline.to``."""
    if any(map(is_ours, _models(self))):
        _move_ahead(self, args, kwargs)
    return stock(self, *args, **kwargs)


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
    device = devices.arena_device(wanted[0])
    models = _models(pipeline)
    if device is None or _is_device_mapped(pipeline) or any(map(_is_special, models)):
        return
    modules.move(models, device, dtypes[0] if dtypes else None)


def _is_device_mapped(pipeline: Any) -> bool:
    """Tell whether stock has spread the pipeline over devices; without the seams that tell, all are taken for it."""
    try:
        asks = seam_check.read("diffusers.pipelines.pipeline_utils", "DiffusionPipeline._is_pipeline_device_mapped")
    except NotNativeError:
        return True
    return not seam_check.is_whole("moving") or bool(asks(pipeline))


def _is_special(model: torch.nn.Module) -> bool:
    """Tell whether stock has rules of its own for moving a model: offloaded, dispatched or quantised ones."""
    if getattr(model, "is_quantized", False) or getattr(model, "quantization_method", None) is not None:
        return True
    if getattr(model, "is_loaded_in_8bit", False) or getattr(model, "is_loaded_in_4bit", False):
        return True
    return any(hasattr(each, "_hf_hook") or hasattr(each, "_diffusers_hook") for each in model.modules())
