"""One model: ``from_pretrained`` of diffusers' and transformers' models, as the core does it.

from_pretrained(cls, source, ...)
|  what the call asks for is plain, keys and shapes match       -> the core places the tensors         "native"
|  else, and the files are safetensors                          -> stock places, the core reads        "native"
|  quantised, or no safetensors                                 -> stock does it all                   "stock: ..."
"""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import devices, hooks, hub
from ..dtypes import code_of
from ..errors import FormatError, WarploadError
from ..report import LoadReport
from . import batch as batches
from . import files, reader
from .batch import LoadBatch
from .native import NotNativeError

if TYPE_CHECKING:
    import torch

    from .weights import ModelWeights

logger = logging.getLogger("warpload")

Function = Callable[..., Any]

# Keyword arguments that say where files come from. A model that is found on the disk has no use for them.
_FETCHING = frozenset({"cache_dir", "force_download", "local_files_only", "proxies", "revision", "token"})
# Arguments without meaning where nothing is offloaded.
_OFFLOADING = frozenset({"max_memory", "offload_buffers", "offload_folder", "offload_state_dict"})


def diffusers_from_pretrained(original: Function) -> Function:
    """Wrap ``diffusers.ModelMixin.from_pretrained``."""

    @functools.wraps(original)
    def from_pretrained(cls: Any, pretrained_model_name_or_path: Any = None, **kwargs: Any) -> Any:
        if not hooks.active() or pretrained_model_name_or_path is None:
            return original(cls, pretrained_model_name_or_path, **kwargs)
        stock = functools.partial(original, cls)
        return _load(_DiffusersCall(cls, pretrained_model_name_or_path, kwargs), stock)

    return from_pretrained


def transformers_from_pretrained(original: Function) -> Function:
    """Wrap ``transformers.PreTrainedModel.from_pretrained``."""

    @functools.wraps(original)
    def from_pretrained(cls: Any, pretrained_model_name_or_path: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not hooks.active() or pretrained_model_name_or_path is None or args:
            return original(cls, pretrained_model_name_or_path, *args, **kwargs)
        stock = functools.partial(original, cls)
        return _load(_TransformersCall(cls, pretrained_model_name_or_path, kwargs), stock)

    return from_pretrained


class _Call:
    """What one call of ``from_pretrained`` asks for; the subclasses know each library's rules."""

    _LEFT_TO_STOCK: frozenset[str] = frozenset()  # kinds of oddities with which stock puts the model together

    def __init__(self, cls: Any, source: Any, kwargs: dict[str, Any]) -> None:
        self.cls, self.source, self.kwargs = cls, source, kwargs
        subfolder = kwargs.get("subfolder") or ""
        self.location = os.path.join(os.fspath(source), subfolder) if isinstance(source, str | os.PathLike) else ""
        self.label = subfolder or cls.__name__
        self.oddities: list[str] = []  # of its files, to be told once it is loaded

    def build(self, batch: LoadBatch) -> Any:
        raise NotImplementedError

    def folder(self) -> Path:
        """Return where the model lies on this disk, in the Hub's cache if need be."""
        if not self.location:
            raise NotNativeError(f"{self.source!r} is no path")
        folder = Path(self.location)
        if not os.path.isdir(self.source):
            snapshot = hub.cached_snapshot(self.source, self.kwargs)
            if snapshot is None:
                raise NotNativeError("not in the cache yet")
            folder = snapshot / (self.kwargs.get("subfolder") or "")
        if not (folder / "config.json").is_file():
            raise NotNativeError("no config.json")
        return folder

    def dtype(self) -> torch.dtype | None:
        """Return the dtype asked for."""
        import torch

        dtype = self.kwargs.get("dtype")
        dtype = self.kwargs.get("torch_dtype") if dtype is None else dtype
        if dtype is None:
            return None
        if not isinstance(dtype, torch.dtype):
            raise NotNativeError(f"dtype {dtype!r} is not a torch.dtype")
        if not dtype.is_floating_point or dtype.itemsize < 2:
            raise NotNativeError(f"dtype {dtype}")
        return dtype

    def refuse(self, **plain: Any) -> None:
        """Refuse arguments that have another value than the plain one."""
        for name, value in plain.items():
            given = self.kwargs.get(name, value)
            if given is not None and given != value:
                raise NotNativeError(f"{name}={given!r}")

    def others(self, known: frozenset[str]) -> dict[str, Any]:
        """Return the arguments that are not in the list."""
        return {name: value for name, value in self.kwargs.items() if name not in known}

    def claim(
        self, batch: LoadBatch, folder: Path, path: Path | None, code: str | None, device_map: dict[str, Any] | None
    ) -> ModelWeights:
        if path is None:
            raise NotNativeError(_why_none(folder))
        if not os.path.isdir(self.source) and not files.shards_are_there(path):
            raise NotNativeError("not in the cache yet")
        try:
            weights = batch.claim(self.label, path, code, devices.arena_device((device_map or {}).get("")))
        except FormatError as fault:
            if not files.stock_may_take(fault, path):
                raise
            raise NotNativeError(str(fault), fault=fault) from None
        self.oddities = [text for kind, each in weights.oddities.items() if kind != "path" for text in each]
        left = [text for kind, (text, *_) in weights.oddities.items() if kind in self._LEFT_TO_STOCK]
        if left:
            batch.forget(weights)
            raise NotNativeError(left[0])
        return weights


class _DiffusersCall(_Call):
    # Stock decides by an index's names what it says is missing, puts every copy of a tensor into the model, one after
    # the other, and takes only plain names of safetensors files.
    _LEFT_TO_STOCK = frozenset({"absent", "conflicting copy", "path", "suffix", "unlisted"})
    _KNOWN = (
        _FETCHING
        | _OFFLOADING
        | {
            "device_map",
            "disable_mmap",
            "dtype",
            "flashpack_kwargs",
            "ignore_mismatched_sizes",
            "low_cpu_mem_usage",
            "output_loading_info",
            "parallel_config",
            "quantization_config",
            "subfolder",
            "torch_dtype",
            "use_flashpack",
            "use_safetensors",
            "variant",
        }
    )

    def build(self, batch: LoadBatch) -> Any:
        from . import diffusers_model

        if self.kwargs.get("quantization_config") is not None:
            raise NotNativeError("quantization_config", readable=False)
        self.refuse(use_flashpack=False, use_safetensors=True, parallel_config=None)
        if not self.kwargs.get("low_cpu_mem_usage", True):
            raise NotNativeError("low_cpu_mem_usage=False")
        device_map = _whole_device(self.kwargs.get("device_map"))
        dtype, folder = self.dtype(), self.folder()
        if files.read_config(folder).get("quantization_config") is not None:
            raise NotNativeError("quantised checkpoint", readable=False)
        path = files.find_diffusers_weights(folder, self.kwargs.get("variant"))
        weights = self.claim(batch, folder, path, "F32" if dtype is None else code_of(dtype), device_map)
        with _forgotten_if_refused(batch, weights):
            model = diffusers_model.build(self.cls, folder, dtype, self.others(self._KNOWN), weights)
        model.register_to_config(_name_or_path=self.source)
        if device_map is not None:
            _dispatch(model, device_map, None if weights.place is not None else batch)
        batch.report.bytes += weights.checkpoint.nbytes
        if not self.kwargs.get("output_loading_info"):
            return model
        return model, {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": []}


class _TransformersCall(_Call):
    _LEFT_TO_STOCK = frozenset({"suffix"})  # else the shards count, which stock reads whatever the index says of them
    # Arguments that change nothing in the plain case; any other is transformers' own affair.
    _KNOWN = (
        _FETCHING
        | _OFFLOADING
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

    def build(self, batch: LoadBatch) -> Any:
        from transformers import PretrainedConfig

        from . import transformers_model

        if self.kwargs.get("quantization_config") is not None:
            raise NotNativeError("quantization_config", readable=False)
        self.refuse(use_safetensors=True, trust_remote_code=False)
        if others := self.others(self._KNOWN):
            raise NotNativeError(f"{next(iter(others))} is given")
        config = self.kwargs.get("config")
        if config is not None and not isinstance(config, PretrainedConfig):
            raise NotNativeError("config is no configuration object")
        device_map = _whole_device(devices.spelled_by_transformers(self.kwargs.get("device_map")))
        if self.cls.config_class is None:
            raise NotNativeError(f"{self.cls.__name__} has no configuration class")
        dtype, folder = self.dtype(), self.folder()
        path = files.find_transformers_weights(folder, self.kwargs.get("variant"))
        code = code_of(dtype) if dtype is not None else files.configured_dtype(folder)
        weights = self.claim(batch, folder, path, code, device_map)
        settings = {"config": config, "device_map": device_map}
        with _forgotten_if_refused(batch, weights):
            model = transformers_model.build(self.cls, folder, str(self.source), dtype, settings, weights)
        batch.report.bytes += weights.checkpoint.nbytes
        return model


def _why_none(folder: Path) -> str:
    found = next(folder.glob("*.safetensors"), None)
    return "no safetensors" if found is None else f"weight files in another spelling, such as {found.name}"


@contextlib.contextmanager
def _forgotten_if_refused(batch: LoadBatch, weights: ModelWeights) -> Iterator[None]:
    try:
        yield
    except NotNativeError:
        batch.forget(weights)
        raise


def _whole_device(device_map: Any) -> dict[str, Any] | None:
    """Return a device map that puts the whole model on one device, as stock spells it, or None for none."""
    import torch

    if device_map is None:
        return None
    if isinstance(device_map, Mapping):
        if set(device_map) != {""} or device_map[""] == "disk":
            raise NotNativeError(f"device_map={device_map!r}")
        return dict(device_map)
    if isinstance(device_map, str):
        try:
            return {"": torch.device(device_map)}
        except RuntimeError:
            raise NotNativeError(f"device_map={device_map!r}") from None
    if isinstance(device_map, int) and device_map < 0:
        raise NotNativeError(f"device_map={device_map!r}")
    return {"": device_map}


def _dispatch(model: Any, device_map: dict[str, Any], batch: LoadBatch | None) -> None:
    """Let accelerate bring a model to its device, as stock does once the tensors are in it.

    Tensors that go to the device's own arena stay as they are: only the buffers that no file has are moved. Others are
    copied, so that the bytes of the batch have to be there.
    """
    from accelerate import dispatch_model

    if batch is not None:
        batch.wait()
    dispatch_model(model, device_map=device_map, offload_dir=None, offload_index=None)


# -- one call -------------------------------------------------------------------------------------------------------


def _load(call: _Call, stock: Function) -> Any:
    batch = batches.current.get()
    if batch is not None:
        return _load_in(batch, call, stock)
    zero_copy = not call.kwargs.get("disable_mmap", False)
    with batches.batch_of_its_own(str(call.source), zero_copy=zero_copy) as batch:
        return _load_in(batch, call, stock)


def _load_in(batch: LoadBatch, call: _Call, stock: Function) -> Any:
    call.label = batch.label_of(call.location) or call.label
    if call.label in batch.device_maps:
        call.kwargs["device_map"] = batch.device_maps[call.label]
    refused: NotNativeError | None = None
    try:
        with batch.report.stage("build"):
            model = call.build(batch)
    except NotNativeError as error:
        refused = error.bare()
    if refused is not None:
        if call.kwargs.get("device_map") is not None:
            gc.collect()  # the refused model may hold a device's memory in cycles
        return _load_by_stock(batch.report, call, stock, refused)
    batch.report.components[call.label] = "native"
    if call.oddities:
        logger.warning("%s of %s has odd files: %s", call.label, batch.report.source, "; ".join(call.oddities))
    return marked(model)


def _load_by_stock(report: LoadReport, call: _Call, stock: Function, reason: NotNativeError) -> Any:
    """Let stock put the model together; the core reads its files where it can."""
    with reader.reading() as seen, contextlib.nullcontext() if reason.readable else reader.paused():
        model = _ask_stock(call, stock, reason.fault)
    odd = reason.fault is not None or bool(call.oddities or seen.oddities)
    said = "; ".join(dict.fromkeys([str(reason), *call.oddities, *seen.oddities]))
    if seen.files and call.label not in report.components:
        report.components[call.label] = "native"
        report.placed_by_stock[call.label] = str(reason)
        report.bytes += seen.bytes
        level = logging.WARNING if odd else logging.INFO
        logger.log(level, "%s of %s is read by the core and placed by stock: %s", call.label, report.source, said)
    elif not seen.files:
        report.components[call.label] = f"stock: {reason}"
        logger.warning("%s of %s is loaded by stock: %s", call.label, report.source, said)
    return marked(model)


def _ask_stock(call: _Call, stock: Function, fault: WarploadError | None) -> Any:
    """Call stock; where it cannot load what the core refused either, the core's error says why."""
    import torch

    try:
        return stock(call.source, **call.kwargs)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if fault is None:
            raise
        raise fault from error


def marked(loaded: Any) -> Any:
    """Return what was loaded, known as such to ``pipeline.to``."""
    from ..pipelines import moving

    moving.mark(loaded[0] if isinstance(loaded, tuple) else loaded)
    return loaded
