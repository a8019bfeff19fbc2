"""A whole pipeline: the bytes of all components first, then stock's own ``from_pretrained`` around the core's models.

time ->   headers | import diffusers, transformers | stock: tokenizers, schedulers; models are built and bound | wait
threads           [======= bytes of all components, transformers' first ===========================]

Stock's code runs unchanged. Each model that it asks its class for is put together by ``models.loading``, which finds
the bytes under way in this load's batch.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any

from .. import collector, devices, engine, hooks, hub
from ..dtypes import code_of
from ..models import batch as batches
from ..models import files
from ..models.batch import LoadBatch, WantedModel
from ..report import LoadReport, recorded
from . import folder as folders
from . import snapshot
from .folder import Component
from .placement import Placement, placement_of

Function = Callable[..., Any]

# With one of these stock places the tensors, or reads other files: bytes that move early would move in vain.
_NOT_EARLY: dict[str, Any] = {
    "custom_pipeline": None,
    "low_cpu_mem_usage": True,
    "quantization_config": None,
    "use_flashpack": False,
    "use_onnx": False,
    "use_safetensors": True,
}


def load_pipeline(resolve: Callable[[], Any], source: str | os.PathLike[str], kwargs: dict[str, Any]) -> Any:
    """Load a pipeline whose class is not imported yet; see ``DiffusionPipeline.from_pretrained`` for the contract.

    Args:
        resolve: imports diffusers and returns the class, once the bytes are on their way.
        source: a folder, or a repository's id.
        kwargs: the keyword arguments of ``from_pretrained``.
    """
    load = _PipelineLoad(source, kwargs)
    with load, hooks.accelerated():
        with load.report.stage("import"):
            cls = resolve()
        token = _expected.set(load)
        try:
            return cls.from_pretrained(source, **kwargs)
        finally:
            _expected.reset(token)


# A load whose bytes are on their way before stock was called; stock's call takes it from here.
_expected: ContextVar[_PipelineLoad | None] = ContextVar("warpload_expected_pipeline", default=None)


def from_pretrained(original: Function) -> Function:
    """Wrap ``diffusers.DiffusionPipeline.from_pretrained``."""

    @functools.wraps(original)
    def load(cls: Any, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        if not hooks.active():
            return original(cls, pretrained_model_name_or_path, **kwargs)
        expected = _expected.get()
        if expected is not None and expected.source is pretrained_model_name_or_path:
            _expected.set(None)
            return expected.run(original, cls, kwargs)
        with _PipelineLoad(pretrained_model_name_or_path, kwargs) as own:
            return own.run(original, cls, kwargs)

    return load


def download(original: Function) -> Function:
    """Wrap ``diffusers.DiffusionPipeline.download``: a load that knows its snapshot spares the question."""

    @functools.wraps(original)
    def fetch(cls: Any, pretrained_model_name: Any, **kwargs: Any) -> Any:
        load = _loading.get() if hooks.active() else None
        if load is None or load.source is not pretrained_model_name:
            return original(cls, pretrained_model_name, **kwargs)
        return load.fetch(functools.partial(original, cls, pretrained_model_name), kwargs)

    return fetch


def register_modules(original: Function) -> Function:
    """Wrap ``diffusers.DiffusionPipeline.register_modules``: a pipeline's own code sees weights that are there."""

    @functools.wraps(original)
    def register(self: Any, **kwargs: Any) -> Any:
        load = _loading.get() if hooks.active() else None
        if load is not None:
            load.wait()
        return original(self, **kwargs)

    return register


class _PipelineLoad:
    """One call of ``from_pretrained``. As a context, what its batch began ends with it."""

    def __init__(self, source: str | os.PathLike[str], kwargs: dict[str, Any]) -> None:
        self.source, self.kwargs = source, dict(kwargs)
        self.report = LoadReport(str(source))
        self.batch = LoadBatch(self.report, zero_copy=not kwargs.get("disable_mmap", False))
        self.placement: Placement | None = None
        self.cached: Path | None = None
        self.folder: str | None = None

    def __enter__(self) -> _PipelineLoad:
        with contextlib.ExitStack() as cleanup:
            cleanup.enter_context(recorded(self.report))  # of a load that fails it tells how far it came
            cleanup.enter_context(collector.suspended())
            cleanup.callback(self.batch.close)
            self.placement = placement_of(self.kwargs.get("device_map"))
            self.cached = None if _is_folder(self.source) else snapshot.complete_snapshot(self.source, self.kwargs)
            if _is_folder(self.source):
                self._begin(os.fspath(self.source))
            elif self.cached is not None:
                self._begin(str(self.cached))
            self._check_devices()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.__exit__(kind, error, traceback)

    def _check_devices(self) -> None:
        if self.placement is not None or self.kwargs.get("device_map") == "cuda":
            devices.require_all(self.kwargs["device_map"])

    def run(self, original: Function, cls: Any, kwargs: dict[str, Any]) -> Any:
        """Let stock load, with the models from the batch.

        Args:
            original: stock's function.
            cls: the class that it is called on.
            kwargs: its keyword arguments; what the bytes began with, but for what an ``AutoPipeline`` makes of them.
        """
        self.kwargs = dict(kwargs)
        batch_token, load_token = batches.current.set(self.batch), _loading.set(self)
        try:
            with self.report.stage("assemble"):
                pipeline = self._call(original, cls)
                self.wait()
        finally:
            batches.current.reset(batch_token)
            _loading.reset(load_token)
        if self.placement is not None:
            pipeline.hf_device_map = self.placement.device_map
        return pipeline

    def wait(self) -> None:
        """Wait for the bytes of all models that are bound."""
        with self.report.stage("wait"):
            self.batch.wait()

    def fetch(self, original: Function, kwargs: dict[str, Any]) -> Any:
        """Return the folder of a Hub id, by stock's own rules unless the cache has it all."""
        if self.cached is not None and kwargs.get("local_files_only"):
            return self.cached
        with self.report.stage("fetch"):
            folder = original(**kwargs)
        self._begin(str(folder))
        return folder

    def _call(self, original: Function, cls: Any) -> Any:
        kwargs = dict(self.kwargs)
        if self.placement is not None:
            del kwargs["device_map"]
        stock = functools.partial(original, self._class_for(cls), self.source)
        return hub.from_cache_first(stock, self.cached is not None, kwargs)

    def _class_for(self, cls: Any) -> Any:
        """Return the class to call.

        Stock asks the class that ``from_pretrained`` was called on which components are optional. Called on
        DiffusionPipeline, it takes an optional component that it is given (Wan's transformer) for a plain argument,
        loads it again and drops the given one. Called on the pipeline's own class it does not.
        """
        from diffusers import DiffusionPipeline
        from diffusers.pipelines.pipeline_loading_utils import _get_pipeline_class

        index = None if self.folder is None else folders.read_model_index(Path(self.folder))
        if cls is not DiffusionPipeline or index is None or not isinstance(index.get("_class_name"), str):
            return cls
        given = {name for name in index if self.kwargs.get(name) is not None}
        if self.kwargs.get("custom_pipeline") is not None or not given:
            return cls
        own = _get_pipeline_class(cls, config=index)
        inherited = own.from_pretrained.__func__ is cls.from_pretrained.__func__
        return own if inherited and not given.isdisjoint(own._optional_components) else cls

    # -- bytes -------------------------------------------------------------------------------------------------------

    def _begin(self, folder: str) -> None:
        """Put the bytes on their way; text encoders first, as transformers wants theirs before diffusers does."""
        self.folder = folder
        index = folders.read_model_index(Path(folder))
        if index is None:
            return
        components = folders.list_components(folder, index, self.kwargs.keys(), self.kwargs.get("variant"))
        if self.kwargs.get("device_map") is not None:
            devices.prepare(engine.loader(), self.kwargs["device_map"], _weight_bytes(components))
            self._check_devices()  # imports torch, which is not to be waited for above
        for component in components:
            if component.location != folder:
                self.batch.name(component.location, component.name)
        if self.placement is not None:
            self.batch.device_maps = self.placement.device_maps(component.name for component in components)
        if any(self.kwargs.get(name, plain) not in (None, plain) for name, plain in _NOT_EARLY.items()):
            return
        if self.kwargs.get("device_map") == "balanced":  # stock decides later which model goes where
            return
        ordered = sorted(components, key=_is_of_diffusers)
        with self.report.stage("open"):
            self.batch.begin([guess for guess in map(self._guess, ordered) if guess is not None])

    def _guess(self, component: Component) -> WantedModel | None:
        """Say which file a component will read, and as which dtype, before its class is known."""
        import torch

        dtype = self._dtype_of(component.name)
        if dtype is not None and not isinstance(dtype, torch.dtype):
            return None
        of_diffusers = _is_of_diffusers(component)
        if of_diffusers:
            path = files.find_diffusers_weights(component.folder, component.variant)
            code = "F32" if dtype is None else code_of(dtype)
        else:
            path = files.find_transformers_weights(component.folder, component.variant)
            code = code_of(dtype) if dtype is not None else files.configured_dtype(component.folder)
        if path is None:
            return None
        place = devices.arena_device(self._device_of(component.name, of_diffusers))
        return WantedModel(component.name, path, code, place, files.kept_in_float32(component.folder, code))

    def _device_of(self, name: str, of_diffusers: bool) -> Any:
        if self.placement is not None:
            return self.batch.device_maps.get(name, {}).get("")
        device_map = self.kwargs.get("device_map")
        return device_map if of_diffusers else devices.spelled_by_transformers(device_map)

    def _dtype_of(self, name: str) -> Any:
        dtype = self.kwargs.get("dtype") if self.kwargs.get("torch_dtype") is None else self.kwargs["torch_dtype"]
        if isinstance(dtype, Mapping):
            import torch

            return dtype.get(name, dtype.get("default", torch.float32))
        return dtype


_loading: ContextVar[_PipelineLoad | None] = ContextVar("warpload_pipeline", default=None)


def _weight_bytes(components: list[Component]) -> int:
    folders_with_weights = {component.folder for component in components}
    return sum(file.stat().st_size for folder in folders_with_weights for file in folder.glob("*.safetensors"))


def _is_of_diffusers(component: Component) -> bool:
    # A model in a pipeline's own module may be either library's; only diffusers writes its class into the settings.
    return component.library == "diffusers" or "_class_name" in files.read_config(component.folder)


def _is_folder(source: Any) -> bool:
    return isinstance(source, str | os.PathLike) and os.path.isdir(source)
