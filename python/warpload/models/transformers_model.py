"""A transformers model: the library's own ``from_pretrained``, given native tensors as its state dict.

That keeps key renames (files of CLIPTextModel on the Hub say ``text_model.*``, the module does not), ties, buffers and
converters, which binding by hand would miss.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.dlpack import from_dlpack
from transformers import PreTrainedModel

from .. import forked
from ..dtypes import FLOATING_POINT, code_of
from .attempt import Attempt
from .construction import undisturbed
from .native import NotNativeError, check_own_loading
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
    stock: Callable[..., Any],
    attempt: Attempt,
) -> tuple[PreTrainedModel, str]:
    """Return the model in evaluation mode, all its bytes arrived, and what did not match its checkpoint.

    The library's own code places the tensors, and does with a missing, unexpected or mismatching key what it always
    does. It is called once: what it draws, logs and warns of is what it would with the files.

    Args:
        cls: a subclass of ``transformers.PreTrainedModel``.
        folder: where its configuration lies.
        name: what the model remembers as the place it came from.
        dtype: as given to ``from_pretrained``; None takes the checkpoint's own, as its configuration says.
        settings: ``config``, when the caller has one, ``device_map`` and ``ignore_mismatched_sizes``.
        weights: the checkpoint, being loaded.
        stock: the library's ``from_pretrained`` of this class.
        attempt: what is undone where this is refused.

    Raises:
        NotNativeError: stock has to put this one together.
        RuntimeError: the library's, where the checkpoint does not fit the model.
    """
    config = settings.get("config")
    if config is None:
        config, _ = cls.config_class.from_pretrained(str(folder), return_unused_kwargs=True)
    _check(cls, config, dtype, weights)
    final = dtype if dtype is not None else config.dtype
    arguments = {**settings, "config": config}
    if dtype is not None:
        arguments["dtype"] = dtype
    inference = torch.is_inference_mode_enabled()
    # Under inference mode too, the library makes parameters of what its own threads read: those have not got that mode.
    with torch.inference_mode(False):
        weights.require(_wanted_dtypes(cls, final, weights))
        weights.wait_arrival()  # ties are decided, and converters work, on values, in threads and streams of their own
        state_dict = _state_dict(weights, inference)

    attempt.settle()

    def load() -> tuple[PreTrainedModel, dict[str, Any]]:
        loaded: tuple[PreTrainedModel, dict[str, Any]] = stock(
            None, state_dict=state_dict, output_loading_info=True, **arguments
        )
        return loaded

    with spared(), _named_in_records(name):
        model, info = undisturbed(cls.__name__, load, device_map=arguments["device_map"])
    _restore_names(model, name)
    if model.can_generate() and hasattr(model, "adjust_generation_fn"):
        _read_generation_settings(model, folder)
    faults = [key for key, value in info.items() if value]
    return model, f"{', '.join(faults).replace('_', ' ')} in the checkpoint" if faults else ""


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


class _OnItsWay:
    """A tensor that was cast while it was read, for a library that says in taking it which dtype it wants.

    Where that is another one than was foreseen, it gets the file's own to cast: casting twice could round twice.
    """

    def __init__(self, weights: ModelWeights, name: str, tensor: torch.Tensor) -> None:
        self._weights, self._name, self._tensor = weights, name, tensor
        self.dtype, self.shape = tensor.dtype, tensor.shape

    def is_floating_point(self) -> bool:
        return self._tensor.is_floating_point()

    def __getitem__(self, index: Any) -> Any:
        return self if index is Ellipsis else _taken(self._weights.in_own_dtype(self._name)[index])

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        foreseen = dtype is None or dtype == self._tensor.dtype
        tensor = self._tensor if foreseen else self._weights.in_own_dtype(self._name)
        return _taken(tensor).to(device=device, dtype=dtype)


class _AsItIs:
    """A tensor that is as in its file."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self.dtype, self.shape = tensor.dtype, tensor.shape

    def is_floating_point(self) -> bool:
        return self._tensor.is_floating_point()

    def __getitem__(self, index: Any) -> torch.Tensor:
        return _taken(self._tensor[index])


def _taken(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor as one that was read on this thread: under inference mode it is an inference tensor."""
    return from_dlpack(tensor) if torch.is_inference_mode_enabled() else tensor


def _state_dict(weights: ModelWeights, inference: bool) -> dict[str, Any]:
    """Return what the library takes for a state dict; it reads a slice of each, as of a file's.

    Args:
        weights: the tensors.
        inference: whether the caller is in inference mode, so that it matters on which thread a tensor is taken.
    """
    found: dict[str, Any] = dict(sorted(weights.tensors().items()))
    if inference:
        found = {name: _AsItIs(tensor) for name, tensor in found.items()}
    tensors = weights.tensors()
    return found | {name: _OnItsWay(weights, name, tensors[name]) for name in weights.cast_names()}


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


class _Namer(logging.Filter):
    """Names the checkpoint where the library, which was given a state dict, knows no name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name_in_records, self.thread = name, threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if threading.get_ident() == self.thread and isinstance(record.msg, str) and "LOAD REPORT" in record.msg:
            record.msg = record.msg.replace(" from: None\n", f" from: {self.name_in_records}\n", 1)
        return True


@contextlib.contextmanager
def _named_in_records(name: str) -> Iterator[None]:
    logger = logging.getLogger("transformers.modeling_utils")
    namer = _Namer(name)
    logger.filters = [*logger.filters, namer]
    try:
        yield
    finally:
        logger.filters = [each for each in logger.filters if each is not namer]


@forked.anew_in_child
def _forget_names() -> None:
    # A thread of the child may get the number of one of the parent's.
    logger = logging.getLogger("transformers.modeling_utils")
    own = threading.get_ident()
    logger.filters = [each for each in logger.filters if not (isinstance(each, _Namer) and each.thread != own)]
