"""A whole pipeline: the bytes of all components first, then stock's own ``from_pretrained`` around the core's models.

time ->   headers | import diffusers, transformers | stock: tokenizers, schedulers; models are built and placed | wait
threads           [======= bytes of all components, transformers' first ===========================]

Stock's code runs unchanged. Each model that it asks its class for is put together by ``models.model_load``, which finds
the bytes under way in this load's joint load.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from .. import collector, context, devices, engine, progress_bar
from ..context import LoadContext
from ..models.joint_load import JointLoad
from ..report import LoadReport
from ..stock import deferring, hub, imports_ahead, replacing, seam_check, unexpected
from . import early_start, snapshot
from . import folder as folders
from .device_map import ComponentDevices, component_devices
from .folder import Component

logger = logging.getLogger("warpload")

Function = Callable[..., Any]


def load_pipeline(resolve: Callable[[], Any], source: str | os.PathLike[str], kwargs: dict[str, Any]) -> Any:
    """Load a pipeline whose class is not imported yet; see ``DiffusionPipeline.from_pretrained`` for the contract.

    Args:
        resolve: imports diffusers and returns the class, once the bytes are on their way.
        source: a folder, or a repository's id.
        kwargs: the keyword arguments of ``from_pretrained``.
    """
    imports_ahead.begin()
    with deferring.imports_put_off(), PipelineLoad(source, kwargs) as load, replacing.accelerated():
        with load.report.stage("import"), progress_bar.importing():
            cls = resolve()
        if not seam_check.is_whole("pipelines"):
            load.joint.close()  # each model is loaded by itself
        load.expects_stock = True
        pipeline = hub.from_cache_first(functools.partial(cls.from_pretrained, source), load.cached, kwargs)
        load.tell_of_unseen(pipeline)
        imports_ahead.end()
        return pipeline


def from_pretrained(stock: Function, cls: Any, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
    """Replace ``diffusers.DiffusionPipeline.from_pretrained``."""
    expected = _under_way()
    if expected is not None and expected.expects_stock and expected.source is pretrained_model_name_or_path:
        return expected.run(stock, cls, kwargs)
    with PipelineLoad(pretrained_model_name_or_path, kwargs) as own:
        return own.run(stock, cls, kwargs)


def register_modules(stock: Function, self: Any, **kwargs: Any) -> Any:
    """Replace ``diffusers.DiffusionPipeline.register_modules``: its own code sees weights that are there."""
    if (load := _under_way()) is not None:
        load.wait()
    return stock(self, **kwargs)


def _under_way() -> PipelineLoad | None:
    load = context.current()
    return None if load is None else load.pipeline


class PipelineLoad:
    """One call of ``from_pretrained``. Used as a context, it ends what its joint load began.

    Attributes:
        source: the folder, or the repository's id.
        kwargs: the keyword arguments.
        report: what is told of it.
        joint: the models whose bytes are loaded together.
        devices: the device of each component, where only we understand the device map.
        folder: where its files are, once that is known.
        cached: whether the Hub's cache holds all of it, so that the Hub is not asked.
        expects_stock: whether the bytes are on their way already and stock's call is the next to come.
    """

    def __init__(self, source: str | os.PathLike[str], kwargs: dict[str, Any]) -> None:
        self.source, self.kwargs = source, dict(kwargs)
        self.report = LoadReport(str(source))
        self.joint = JointLoad(self.report, zero_copy=not kwargs.get("disable_mmap", False))
        self.devices: ComponentDevices | None = None
        self.folder: str | None = None
        self.expects_stock = False
        self.cached = False
        self._context: LoadContext | None = None
        self._fetching = contextlib.ExitStack()

    def __enter__(self) -> PipelineLoad:
        with contextlib.ExitStack() as cleanup:
            # Of a load that fails the report tells how far it came.
            self._context = cleanup.enter_context(context.began(self.report, joint=self.joint, pipeline=self))
            cleanup.enter_context(collector.suspended())
            cleanup.callback(self.joint.close)
            self.devices = component_devices(self.kwargs.get("device_map"))
            if folders.is_folder(self.source):
                self.found(os.fspath(self.source))
            elif (complete := snapshot.complete_snapshot(self.source, self.kwargs)) is not None:
                self.cached = True
                self.found(str(complete))
            self._check_devices()
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.__exit__(kind, error, traceback)

    def _check_devices(self) -> None:
        if self.devices is not None or self.kwargs.get("device_map") == "cuda":
            devices.require_all(self.kwargs["device_map"])

    def run(self, stock: Function, cls: Any, kwargs: dict[str, Any]) -> Any:
        """Let stock load, with the models from the joint load.

        Args:
            stock: stock's function.
            cls: the class that it is called on.
            kwargs: its keyword arguments; what the bytes began with, but for what an ``AutoPipeline`` makes of them.
        """
        self.kwargs, self.expects_stock = dict(kwargs), False
        with self.report.stage("assemble"), self._fetching:
            if self.folder is None:
                self._fetching.enter_context(self.report.stage("fetch"))
            pipeline = self._call(stock, cls)
            self.wait()
            self.tell_of_unseen(pipeline)
        if self.devices is not None:
            pipeline.hf_device_map = self.devices.device_map
        return pipeline

    def wait(self) -> None:
        """Wait for the bytes of all models that are placed."""
        with self.report.stage("wait"):
            self.joint.wait()

    def tell_of_unseen(self, pipeline: Any) -> None:
        """Tell of the models that no function of ours has seen, as a library's version has others in its place."""
        for name, model in getattr(pipeline, "components", {}).items():
            if name in self.report.components or self.kwargs.get(name) is not None or not hasattr(model, "parameters"):
                continue
            if reason := seam_check.why_off(early_start.feature_of(hasattr(model, "register_to_config"))):
                self._tell_of_unseen(name, reason)

    def _tell_of_unseen(self, name: str, reason: str) -> None:
        assert self._context is not None
        reading = self._context.reading
        if not reading.sizes:
            self.report.components[name] = f"stock: {reason}"
            return
        self.report.components[name], self.report.placed_by_stock[name] = "native", reason
        self.report.bytes += sum(reading.sizes)
        reading.sizes[:] = [0]  # counted for all of them

    def found(self, folder: str) -> None:
        """Take note of where the files are, and put their bytes on their way."""
        self._fetching.close()
        self.folder = folder
        index = folders.read_model_index(Path(folder))
        if index is None:
            return
        components = folders.list_components(folder, index, self.kwargs.keys(), self.kwargs.get("variant"))
        if self.kwargs.get("device_map") is not None:
            devices.prepare(engine.loader(), self.kwargs["device_map"], folders.weight_bytes(components))
            self._check_devices()  # imports torch, which is not to be waited for above
        for component in components:
            if component.location != folder:
                self.joint.name(component.location, component.name)
        if self.devices is not None:
            self.joint.device_maps = self.devices.device_maps(component.name for component in components)
        self._begin(components)

    def _begin(self, components: list[Component]) -> None:
        if early_start.is_in_vain(self.kwargs) or not seam_check.is_whole("pipelines"):
            self.joint.pass_over(self.folder or "", "the core does not foresee what this call needs")
            return
        with self.report.stage("open"):
            try:
                asked = early_start.AskedInCall(self.kwargs, self.joint.device_maps)
                self.joint.begin(early_start.wanted_models(components, asked))
            except Exception as error:
                if unexpected.is_the_callers(error):
                    raise
                self.joint.close()
                logger.warning("nothing of %s is read ahead: %s", self.source, unexpected.told(error))

    def _call(self, stock: Function, cls: Any) -> Any:
        kwargs = dict(self.kwargs)
        if self.devices is not None:
            del kwargs["device_map"]
        if not seam_check.is_whole("pipelines"):
            return hub.from_cache_first(functools.partial(stock, cls, self.source), self.cached, kwargs)
        try:
            chosen = self._class_for(cls)
        except Exception as error:
            if unexpected.is_the_callers(error):
                raise
            logger.warning("%s is called as it is for %s: %s", cls.__name__, self.source, unexpected.told(error))
            chosen = cls
        load = functools.partial(stock, chosen, self.source)
        return hub.from_cache_first(load, self.cached, kwargs)

    def _class_for(self, cls: Any) -> Any:
        """Return the class to call.

        Stock asks the class that ``from_pretrained`` was called on which components are optional. Called on
        DiffusionPipeline, it takes an optional component that it is given (Wan's transformer) for a plain argument, and
        loads another one in its place. Called on the pipeline's own class it does not.
        """
        from diffusers import DiffusionPipeline

        index = None if self.folder is None else folders.read_model_index(Path(self.folder))
        if cls is not DiffusionPipeline or index is None or not isinstance(index.get("_class_name"), str):
            return cls
        given = {name for name in index if self.kwargs.get(name) is not None}
        if self.kwargs.get("custom_pipeline") is not None or not given:
            return cls
        own = seam_check.read("diffusers.pipelines.pipeline_loading_utils", "_get_pipeline_class")(cls, config=index)
        inherited = own.from_pretrained.__func__ is cls.from_pretrained.__func__
        return own if inherited and not given.isdisjoint(own._optional_components) else cls
