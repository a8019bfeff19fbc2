"""``from_single_file``: stock converts; the core reads, casts and places."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from .. import context
from ..context import LoadContext
from ..stock import repeated_blocks, seam_check, torch_modes, unexpected
from . import joint_load
from .conversion import Conversion, Goal
from .loaded import mark
from .reader import load_for_conversion
from .stock_load import source_name, tell_of_placing, why_nothing_was_read

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


def load_state_dict(stock: Function, checkpoint_file: Any, disable_mmap: bool = False, **keywords: Any) -> Any:
    """Replace ``load_state_dict`` where diffusers calls it for single files."""
    conversion = _conversion()
    is_safetensors = isinstance(checkpoint_file, str) and checkpoint_file.endswith(".safetensors")
    if conversion is not None and is_safetensors and not keywords:
        tensors = load_for_conversion(conversion, checkpoint_file)
        if tensors is not None:
            return tensors
    return stock(checkpoint_file, disable_mmap=disable_mmap, **keywords)


def load_model_dict_into_meta(stock: Function, model: Any, state_dict: Any, **keywords: Any) -> Any:
    """Replace ``load_model_dict_into_meta`` where diffusers calls it for what it has converted."""
    conversion = _conversion()
    if conversion is None:
        return stock(model, state_dict, **keywords)
    from .file_tensors import plain

    try:
        left = conversion.place(model, state_dict, _goal(keywords))
    except Exception as error:
        if unexpected.is_the_callers(error):
            raise
        conversion.failed(model, unexpected.told(error))
        left = dict(state_dict)
    if left:  # what does not fit, which stock says in its own words
        return stock(model, {key: plain(value) for key, value in left.items()}, **keywords)
    return None, None


def _conversion() -> Conversion | None:
    load = context.current()
    return None if load is None else load.conversion


def _goal(keywords: Mapping[str, Any]) -> Goal:
    import torch

    device = (keywords.get("device_map") or {}).get("", "cpu")
    return Goal(keywords.get("dtype"), keywords.get("keep_in_fp32_modules") or (), torch.device(device))


def _load(source: Any, kwargs: dict[str, Any], stock: Function) -> Any:
    label = source_name(source)
    folders = [os.path.abspath(label)] if os.path.exists(label) else []
    zero_copy = not kwargs.get("disable_mmap")
    why_not = _why_not_placed(source, kwargs)
    with joint_load.loading_alone(label, "single file", zero_copy=zero_copy, folders=folders) as load:
        load.conversion = None if why_not else Conversion(load.report, zero_copy=zero_copy)
        if torch_modes.interposed() is None:  # else a mode is to see each operation
            load.building = repeated_blocks.copied_as_ever
        loaded = stock()
    _tell(load, _models(loaded, kwargs), why_not, why_nothing_was_read(kwargs, label))
    load.conversion = None
    return mark(loaded)


def _why_not_placed(source: Any, kwargs: Mapping[str, Any]) -> str:
    """Say why stock places the tensors, or return the empty string where the core does."""
    if reason := seam_check.why_off("converted files"):
        return reason
    if not isinstance(source, str | os.PathLike):
        return "a dictionary of tensors"
    if kwargs.get("quantization_config") is not None:
        return "quantization_config"
    return "" if kwargs.get("low_cpu_mem_usage", True) else "low_cpu_mem_usage=False"


def _tell(load: LoadContext, models: Mapping[str, Any], why_not_placed: str, why_not_read: str) -> None:
    report, reading = load.report, load.reading
    refused = [who.removeprefix("stock: ") for who in reading.readers.values() if who.startswith("stock: ")]
    why_not_read = refused[0] if refused else why_not_read
    report.bytes += sum(reading.sizes)
    if reading.oddities:
        logger.warning("%s is an odd file: %s", report.source, "; ".join(dict.fromkeys(reading.oddities)))
    for name, model in models.items():
        if name in report.components:
            continue
        report.components[name] = "native" if reading.sizes else f"stock: {why_not_read}"
        if not reading.sizes:
            logger.warning("%s of %s is loaded by stock: %s", name, report.source, why_not_read)
        elif reason := why_not_placed if load.conversion is None else load.conversion.why_not_placed(model):
            tell_of_placing(report, name, reason)


def _models(loaded: Any, given: dict[str, Any]) -> dict[str, Any]:
    import torch

    if isinstance(loaded, torch.nn.Module):
        return {type(loaded).__name__: loaded}
    components = loaded.components.items()
    return {name: value for name, value in components if isinstance(value, torch.nn.Module) and name not in given}
