"""One model: ``from_pretrained`` of diffusers' and transformers' models, as the core does it.

from_pretrained(cls, source, ...)
|  what the call asks for is plain, keys and shapes match       -> the core places the tensors         "native"
|  else, and the files are safetensors                          -> stock places, the core reads        "native"
|  quantised, or no safetensors                                 -> stock does it all                   "stock: ..."
"""

from __future__ import annotations

import functools
import gc
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from .. import context, devices, progress_bar
from ..context import LoadContext
from ..stock import seam_check
from ..stock.call import Call
from ..stock.refusal import NotNativeError
from . import joint_load, stock_load
from .loaded import mark
from .native_load import NativeLoad

logger = logging.getLogger("warpload")

Function = Callable[..., Any]


def diffusers_from_pretrained(
    stock: Function, cls: Any, pretrained_model_name_or_path: Any = None, **kwargs: Any
) -> Any:
    """Replace ``diffusers.ModelMixin.from_pretrained``."""
    from ..stock.diffusers import DiffusersCall

    if pretrained_model_name_or_path is None:
        return stock(cls, pretrained_model_name_or_path, **kwargs)
    return _load(DiffusersCall(cls, pretrained_model_name_or_path, kwargs, functools.partial(stock, cls)))


def transformers_from_pretrained(
    stock: Function, cls: Any, pretrained_model_name_or_path: Any = None, *args: Any, **kwargs: Any
) -> Any:
    """Replace ``transformers.PreTrainedModel.from_pretrained``."""
    from ..stock.transformers import TransformersCall

    if pretrained_model_name_or_path is None or args:
        return stock(cls, pretrained_model_name_or_path, *args, **kwargs)
    return _load(TransformersCall(cls, pretrained_model_name_or_path, kwargs, functools.partial(stock, cls)))


def _load(call: Call) -> Any:
    outer = context.current()
    if outer is not None and outer.joint is not None:
        with context.part(outer) as load:
            model = _load_in(load, call)
            if not seam_check.is_whole("pipelines"):
                outer.joint.wait()  # nobody else is sure to
            return model
    zero_copy = not call.kwargs.get("disable_mmap", False)
    with joint_load.loading_alone(str(call.source), zero_copy=zero_copy, library=call.library) as load:
        _check_device(call.kwargs.get("device_map"))
        return _load_in(load, call)


def _check_device(device_map: Any) -> None:
    if isinstance(device_map, Mapping):  # one by parts of the model is stock's affair
        device_map = device_map.get("")
    devices.require(device_map)


def _load_in(load: LoadContext, call: Call) -> Any:
    assert load.joint is not None
    if load.pipeline is not None and load.pipeline.folder is None:  # stock has fetched it: its models lie side by side
        load.pipeline.found(os.path.dirname(call.location))
    call.label = load.joint.label_of(call.location) or call.label
    if call.label in load.joint.device_maps:
        call.kwargs["device_map"] = load.joint.device_maps[call.label]
    progress_bar.build(call.label)
    native = NativeLoad()
    refusal: NotNativeError | None = None
    try:
        native.run(call, load)
    except NotNativeError as error:
        refusal = error.bare()
    if refusal is not None:
        if refusal.unexpected or call.kwargs.get("device_map") is not None:
            gc.collect()  # the refused model may hold memory in cycles, and so may a library's exceptions
        return mark(stock_load.load_by_stock(call, load, refusal, native.oddities))
    report = load.report
    report.components[call.label] = "native"
    if native.fault:
        stock_load.tell_of_placing(report, call.label, native.fault)
    if native.oddities:
        logger.warning("%s of %s has odd files: %s", call.label, report.source, "; ".join(native.oddities))
    return mark(native.model)
