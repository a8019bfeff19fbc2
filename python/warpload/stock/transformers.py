"""transformers: what its models' ``from_pretrained`` takes, where weights are, which dtypes they get, how one is built.

The library's own ``from_pretrained`` builds the model and places the tensors, given native ones as its state dict. That
keeps key renames (files of CLIPTextModel on the Hub say ``text_model.*``, the module does not), ties, buffers and
converters, which placing by hand would miss.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import context, devices, forked
from ..dtypes import FLOATING_POINT, code_of, code_of_name
from . import (
    construction,
    hub,
    kept_in_float32,
    repeated_blocks,
    repeated_renames,
    seam_check,
    tensors_in_hand,
    unexpected,
)
from .call import FETCHING, OFFLOADING, Call, whole_device
from .model_files import is_quantised, read_config, with_variant
from .refusal import NotNativeError, check_own_loading

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from ..models.weights import ModelWeights
    from .attempt import Attempt

_STEM = "model.safetensors"

# Arguments that change nothing in the plain case; any other is transformers' own affair.
_ARGUMENTS = (
    FETCHING
    | OFFLOADING
    | {
        "_from_auto",
        "adapter_kwargs",  # a folder with an adapter goes to stock
        "config",
        "device_map",
        "disable_mmap",
        "dtype",
        "ignore_mismatched_sizes",
        "low_cpu_mem_usage",
        "quantization_config",
        "subfolder",
        "torch_dtype",
        "trust_remote_code",  # where it is trusted, the repository may have code for generating
        "use_safetensors",
        "variant",
        "weights_only",
    }
)

_LOADING_METHODS = ("_load_pretrained_model", "_load_from_state_dict")

# A checkpoint that several processes wrote: transformers takes it before any other file.
_OF_A_PROCESS = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors$")


# -- files and dtypes, known before transformers is imported ----------------------------------------------------------


def weight_names(variant: str | None) -> list[str]:
    """Return every name that a model's weight file or index may have."""
    return [with_variant(name, variant) for name in (_STEM, f"{_STEM}.index.json")]


def weights_file(folder: Path, variant: str | None) -> Path | None:
    """Return the file or the index that a model loads, or None where transformers has to look further."""
    names = os.listdir(folder) if folder.is_dir() else []
    if (folder / "adapter_config.json").is_file() or any(map(_OF_A_PROCESS.match, names)):
        return None
    return next((path for name in weight_names(variant) if (path := folder / name).is_file()), None)


def code(dtype: torch.dtype | None, folder: Path) -> str | None:
    """Return the dtype of floating-point tensors: without one asked for the configuration's, or else each its own."""
    if dtype is not None:
        return code_of(dtype)
    config = read_config(folder)
    named = config.get("dtype", config.get("torch_dtype"))
    return code_of_name(named) if isinstance(named, str) else None


# -- one call ---------------------------------------------------------------------------------------------------------


class TransformersCall(Call):
    """``transformers.PreTrainedModel.from_pretrained``."""

    library = "transformers"
    feature = "transformers models"
    left_to_stock = frozenset({"suffix"})  # else the shards count, which stock reads whatever the index says of them

    def check(self) -> None:
        """Refuse quantisers, code of the repository's and whatever is not in the table."""
        from transformers import PretrainedConfig

        if self.kwargs.get("quantization_config") is not None:
            raise NotNativeError("quantization_config", quantised=True)
        self.refuse(use_safetensors=True, trust_remote_code=False)
        if others := self.others(_ARGUMENTS):
            raise NotNativeError(f"{next(iter(others))} is given")
        _check_processes()
        config = self.kwargs.get("config")
        if config is not None and not isinstance(config, PretrainedConfig):
            raise NotNativeError("config is no configuration object")
        if self.cls.config_class is None:
            raise NotNativeError(f"{self.cls.__name__} has no configuration class")

    def check_folder(self, folder: Path) -> None:
        """Refuse what is saved quantised, and a cache without the settings for generating, asked for last."""
        if is_quantised(folder):
            raise NotNativeError("quantised checkpoint", quantised=True)
        if self.snapshot is None or self.asks_nobody() or not self.cls.can_generate():
            return
        if not self.snapshot.has_or_lacks(hub.inside(self.kwargs.get("subfolder"), "generation_config.json")):
            raise NotNativeError(hub.NOT_CACHED)

    def weights_file(self, folder: Path) -> Path | None:
        """Return the file or index that transformers takes; see ``weights_file``."""
        return weights_file(folder, self.kwargs.get("variant"))

    def code(self, dtype: torch.dtype | None, folder: Path) -> str | None:
        """Return the dtype of floating-point tensors; see ``code``."""
        return code(dtype, folder)

    def device_map(self) -> dict[str, Any] | None:
        """Return the device map, with the GPU that transformers takes for a bare ``"cuda"``."""
        return whole_device(devices.spelled_by_transformers(self.kwargs.get("device_map")))

    def build(
        self,
        folder: Path,
        dtype: torch.dtype | None,
        device_map: dict[str, Any] | None,
        weights: ModelWeights,
        attempt: Attempt,
    ) -> tuple[Any, str]:
        """Return the model, all its bytes arrived, and what did not match its checkpoint."""
        settings = {
            "config": self.kwargs.get("config"),
            "device_map": device_map,
            "ignore_mismatched_sizes": self.kwargs.get("ignore_mismatched_sizes", False),
        }
        return build(self.cls, folder, str(self.source), dtype, settings, weights, self.stock, attempt)

    def by_stock(self) -> Any:
        """Let transformers load the model, one at a time like all."""
        load = functools.partial(self.stock, self.source, **self.kwargs)
        device_map = self.kwargs.get("device_map")
        return construction.undisturbed(self.label, load, construction.turn_when_begun, device_map=device_map)


def _check_processes() -> None:
    """Refuse where transformers finds out by itself that this process is to have only a part of the weights."""
    for found, name in (("is_deepspeed_zero3_enabled", "DeepSpeed ZeRO-3"), ("is_fsdp_enabled", "FSDP")):
        if seam_check.read("transformers.modeling_utils", found)():
            raise NotNativeError(f"{name} is enabled")


# -- how a model is built ---------------------------------------------------------------------------------------------


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
        name: the source that the model remembers.
        dtype: as given to ``from_pretrained``; None takes the checkpoint's own, as its configuration says.
        settings: ``config``, when the caller has one, ``device_map`` and ``ignore_mismatched_sizes``.
        weights: the checkpoint, being loaded.
        stock: the library's ``from_pretrained`` of this class.
        attempt: what is undone where this is refused.

    Raises:
        NotNativeError: stock has to put this one together.
        RuntimeError: the library's, where the checkpoint does not fit the model.
    """
    import torch

    from .state_dict import state_dict

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
        faults: list[str] = []
        tensors = state_dict(weights, inference, faults)

    attempt.answering = True

    def load() -> tuple[PreTrainedModel, dict[str, Any]]:
        try:
            with (
                repeated_blocks.copied(attempt.said),
                repeated_renames.compiled_when_asked(tensors.keys()),
                tensors_in_hand.taken_as_they_are(),
            ):
                loaded: tuple[PreTrainedModel, dict[str, Any]] = stock(
                    None, state_dict=tensors, output_loading_info=True, **arguments
                )
        except Exception as error:
            if faults and not unexpected.is_the_callers(error):  # it may have another error for all of them
                raise NotNativeError(f"unexpected {faults[0]}", unexpected=True) from error
            raise
        return loaded

    with _without_warmup(), _named_in_records(name):
        model, info = construction.undisturbed(cls.__name__, load, device_map=arguments["device_map"])
    attempt.answering = False
    _restore_names(model, name)
    if model.can_generate() and hasattr(model, "adjust_generation_fn"):
        _read_generation_settings(model, folder)
    different = [key for key, value in info.items() if value]
    return model, f"{', '.join(different).replace('_', ' ')} in the checkpoint" if different else ""


def _check(cls: type[PreTrainedModel], config: Any, dtype: torch.dtype | None, weights: ModelWeights) -> None:
    from transformers import PreTrainedModel

    check_own_loading(cls, PreTrainedModel, _LOADING_METHODS)
    if getattr(config, "quantization_config", None) is not None:
        raise NotNativeError("quantised checkpoint", quantised=True)
    if getattr(config, "transformers_weights", None) is not None or getattr(type(config), "extra_files", None):
        raise NotNativeError("the configuration names its weight files")
    if cls.can_generate():
        seam_check.require("generating models")
    if dtype is None and config.dtype is None and weights.sharded:
        raise NotNativeError("neither the call nor the configuration says the dtype")


def _wanted_dtypes(cls: type[PreTrainedModel], final: torch.dtype | None, weights: ModelWeights) -> dict[str, str]:
    """Predict each tensor's final dtype; what the library makes of it is checked afterwards."""
    named = None if final is None else code_of(final)
    kept = kept_in_float32.by_transformers(cls, named)
    wanted: dict[str, str] = {}
    for name, (own, _) in weights.described.items():
        target = "F32" if kept_in_float32.keeps(kept, name) else named
        floating = own in FLOATING_POINT
        wanted[name] = target if floating and target is not None and weights.can_become(name, target) else own
    return wanted


@contextlib.contextmanager
def _without_warmup() -> Iterator[None]:
    """Have transformers take no memory for tensors that have theirs, inside the block."""
    load = context.current()
    if load is None:
        yield
        return
    before, load.spares_warmup = load.spares_warmup, True
    try:
        yield
    finally:
        load.spares_warmup = before


def _restore_names(model: PreTrainedModel, name: str) -> None:
    """Say where the model and the models inside it come from, which the library cannot know of a state dict."""
    from transformers import PreTrainedModel

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
def _remove_namers() -> None:
    # A thread of the child may get the number of one of the parent's.
    logger = logging.getLogger("transformers.modeling_utils")
    own = threading.get_ident()
    logger.filters = [each for each in logger.filters if not (isinstance(each, _Namer) and each.thread != own)]
