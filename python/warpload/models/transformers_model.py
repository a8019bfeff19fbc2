"""A transformers model: the library's own ``from_pretrained``, given native tensors as its state dict.

That keeps key renames (files of CLIPTextModel on the Hub say ``text_model.*``, the module does not), ties, buffers and
converters, which binding by hand would miss.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from ..dtypes import FLOATING_POINT, code_of
from .native import NotNativeError, check_own_loading, construction_lock
from .warmup import spared
from .weights import ModelWeights

_LOADING_METHODS = ("_load_pretrained_model", "_load_from_state_dict")


def build(
    cls: type[PreTrainedModel],
    folder: Path,
    name: str,
    dtype: torch.dtype | None,
    settings: Mapping[str, Any],
    weights: ModelWeights,
) -> PreTrainedModel:
    """Return the model in evaluation mode, all its bytes arrived.

    Args:
        cls: a subclass of ``transformers.PreTrainedModel``.
        folder: where its configuration lies.
        name: what the model remembers as the place it came from.
        dtype: as given to ``from_pretrained``; None takes the checkpoint's own, as its configuration says.
        settings: ``config``, when the caller has one, and ``device_map``.
        weights: the checkpoint, being loaded.

    Raises:
        NotNativeError: stock has to put this one together.
    """
    config = settings.get("config")
    if config is None:
        config, _ = cls.config_class.from_pretrained(str(folder), return_unused_kwargs=True)
    _check(cls, config, dtype, weights)
    final = dtype if dtype is not None else config.dtype
    weights.require(_wanted_dtypes(cls, final, weights))
    arguments = {"config": config, "device_map": settings.get("device_map")}
    if dtype is not None:
        arguments["dtype"] = dtype
    model = _from_state_dict(cls, arguments, weights)
    if _recast(model, weights):
        # The library wanted some tensors in another dtype than planned: give it the file's own and let it cast.
        del model
        weights.require({name: weights.described[name][0] for name in weights.cast_names()})
        model = _from_state_dict(cls, arguments, weights)
    _restore_names(model, name)
    if model.can_generate() and hasattr(model, "adjust_generation_fn"):
        _read_generation_settings(model, folder)
    return model


def _check(cls: type[PreTrainedModel], config: Any, dtype: torch.dtype | None, weights: ModelWeights) -> None:
    check_own_loading(cls, PreTrainedModel, _LOADING_METHODS)
    if getattr(config, "quantization_config", None) is not None:
        raise NotNativeError("quantised checkpoint", readable=False)
    if getattr(config, "transformers_weights", None) is not None or getattr(type(config), "extra_files", None):
        raise NotNativeError("the configuration names its weight files")
    if dtype is None and config.dtype is None and weights.sharded:
        raise NotNativeError("neither the call nor the configuration says the dtype")


def _wanted_dtypes(cls: type[PreTrainedModel], final: torch.dtype | None, weights: ModelWeights) -> dict[str, str]:
    """Predict each tensor's final dtype; what the library makes of it is checked afterwards."""
    code = None if final is None else code_of(final)
    patterns: set[str] = set()
    if final == torch.float16:
        patterns |= set(cls._keep_in_fp32_modules or ())
    if final in (torch.float16, torch.bfloat16):
        patterns |= set(getattr(cls, "_keep_in_fp32_modules_strict", None) or ())
    wanted: dict[str, str] = {}
    for name, (own, _) in weights.described.items():
        kept = any(f".{pattern}." in f".{name}." for pattern in patterns)
        target = "F32" if kept else code
        floating = own in FLOATING_POINT
        wanted[name] = target if floating and target is not None and weights.can_become(name, target) else own
    return wanted


def _from_state_dict(
    cls: type[PreTrainedModel], arguments: Mapping[str, Any], weights: ModelWeights
) -> PreTrainedModel:
    weights.wait_arrival()  # ties are decided, and converters work, on values, in threads and streams of their own
    tensors = weights.tensors()
    state_dict = {name: tensors[name] for name in sorted(tensors)}
    with construction_lock, spared(), _held_records() as records, _no_draws_if_refused(weights.place):
        try:
            model, info = cls.from_pretrained(None, state_dict=state_dict, output_loading_info=True, **arguments)
        except RuntimeError as error:
            records.clear()  # stock will say it, with the right name
            raise NotNativeError(str(error).strip().splitlines()[0]) from error
        faults = [key for key, value in info.items() if value]
        if faults:
            records.clear()
            raise NotNativeError(f"{', '.join(faults).replace('_', ' ')} in the checkpoint")
    return model


@contextlib.contextmanager
def _no_draws_if_refused(place: torch.device | None) -> Iterator[None]:
    """Put the random numbers back that a refused model drew for what is missing: stock will draw them."""
    gpu = place if place is not None and place.type == "cuda" else None
    state, gpu_state = torch.get_rng_state(), None if gpu is None else torch.cuda.get_rng_state(gpu)
    try:
        yield
    except NotNativeError:
        torch.set_rng_state(state)
        if gpu is not None and gpu_state is not None:
            torch.cuda.set_rng_state(gpu_state, gpu)
        raise


def _recast(model: PreTrainedModel, weights: ModelWeights) -> bool:
    """Tell whether a tensor that was cast on its way is not in the model as it is."""
    tensors = weights.tensors()
    present = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    return any(tensors[name].data_ptr() not in present for name in weights.cast_names() if tensors[name].numel())


def _restore_names(model: PreTrainedModel, name: str) -> None:
    """Say where the model and the models inside it come from, which the library cannot know of a state dict."""
    for module in model.modules():
        if not isinstance(module, PreTrainedModel):
            continue
        for named in (module, module.config):
            if named.name_or_path in (None, "None"):
                named.name_or_path = name


def _read_generation_settings(model: PreTrainedModel, folder: Path) -> None:
    """Let the model read its settings for generation, as ``from_pretrained`` of a folder does."""
    model.adjust_generation_fn(
        None,
        False,
        None,
        str(folder),
        cache_dir=None,
        force_download=False,
        proxies=None,
        local_files_only=False,
        token=None,
        revision="main",
        subfolder="",
        trust_remote_code=None,
    )


class _Holder(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self.records: list[logging.LogRecord] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if threading.get_ident() != self.thread:
            return True
        self.records.append(record)
        return False


@contextlib.contextmanager
def _held_records() -> Iterator[list[logging.LogRecord]]:
    """Hold back what the library logs, to be said at the end or, when stock takes over, not at all."""
    logger = logging.getLogger("transformers.modeling_utils")
    holder = _Holder()
    logger.addFilter(holder)
    try:
        yield holder.records
    finally:
        logger.removeFilter(holder)
        for record in holder.records:
            logger.handle(record)
