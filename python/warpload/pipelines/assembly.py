"""A whole pipeline: bytes first, Python meanwhile, stock's own assembly at the end.

time ->   headers | import diffusers, transformers | build on meta | tokenizers | wait | stock assembles
threads           [======= bytes of all components, transformers' first =======]
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import collector
from ..dtypes import code_of, code_of_name
from ..report import LoadReport, remember
from . import folder as folders
from .folder import Component
from .native import NotNativeError
from .weights import WeightSet

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("warpload")

# Keyword arguments of ``from_pretrained`` that do not concern what is fetched from the Hub.
_NOT_FOR_DOWNLOAD = frozenset(
    {
        "device_map",
        "disable_mmap",
        "dtype",
        "low_cpu_mem_usage",
        "max_memory",
        "offload_folder",
        "offload_state_dict",
        "provider",
        "provider_options",
        "quantization_config",
        "sess_options",
        "torch_dtype",
        "use_flashpack",
    }
)


def load_pipeline(facade: Any, source: str | os.PathLike[str], kwargs: dict[str, Any]) -> Any:
    """Load what ``facade`` stands for; see ``DiffusionPipeline.from_pretrained`` for the contract."""
    report = LoadReport(str(source))
    remember(report)  # of a load that fails it tells how far it came
    with collector.suspended():
        folder = os.fspath(source) if os.path.isdir(source) else _download(facade, source, kwargs, report)
        index = None if folder is None else folders.read_model_index(Path(folder))
        if folder is None or index is None:
            pipeline = facade.stock.from_pretrained(source, **kwargs)  # stock says what is wrong
        else:
            pipeline = _PipelineLoad(facade, source, folder, index, kwargs, report).run()
    return pipeline


def _download(facade: Any, source: str | os.PathLike[str], kwargs: dict[str, Any], report: LoadReport) -> str | None:
    """Fetch a Hub id by stock's own rules; None for a name that stock refuses."""
    if str(source).count("/") > 1:
        return None
    wanted = {name: value for name, value in kwargs.items() if name not in _NOT_FOR_DOWNLOAD}
    with report.stage("fetch"):
        return str(facade.stock.download(source, **wanted))


def _reason_for_stock(index: Mapping[str, Any], kwargs: Mapping[str, Any]) -> str | None:
    """Return why stock has to load all weights of this call, or None."""
    if kwargs.get("dtype") is not None and kwargs.get("torch_dtype") is not None:
        return "both dtype and torch_dtype"
    if kwargs.get("custom_pipeline") is not None or not isinstance(index.get("_class_name"), str):
        return "custom pipeline code"
    for name in ("device_map", "offload_folder", "offload_state_dict", "use_flashpack"):
        if kwargs.get(name):
            return f"{name}={kwargs[name]!r}"
    for name in ("low_cpu_mem_usage", "use_safetensors"):
        if kwargs.get(name, True) is False:
            return f"{name}=False"
    return None


class _PipelineLoad:
    """One call of ``from_pretrained``, step by step."""

    def __init__(
        self,
        facade: Any,
        source: str | os.PathLike[str],
        folder: str,
        index: dict[str, Any],
        kwargs: dict[str, Any],
        report: LoadReport,
    ) -> None:
        self.facade, self.source, self.folder, self.index = facade, source, folder, index
        self.kwargs, self.report = kwargs, report
        self.components = folders.list_components(folder, index, kwargs.keys(), kwargs.get("variant"))
        self.by_name = {component.name: component for component in self.components}
        self.weights = WeightSet()
        self.stock_class: Any = None  # whose from_pretrained assembles the pipeline; diffusers is not imported yet
        self.stock_reason = _reason_for_stock(index, kwargs)

    def run(self) -> Any:
        try:
            if self.stock_reason is None and self.kwargs.get("quantization_config") is None:
                with self.report.stage("open"):
                    self._begin(self.components)
            with self.report.stage("import"):
                classes = self._classes()
            built = self._build(classes)
            with self.report.stage("assemble"):
                return self._assemble(built)
        finally:
            self.weights.close()

    # -- bytes ---------------------------------------------------------------------------------------------------

    def _dtype_of(self, name: str) -> torch.dtype | None:
        dtype = self.kwargs.get("dtype") if self.kwargs.get("torch_dtype") is None else self.kwargs["torch_dtype"]
        if isinstance(dtype, dict):
            import torch

            return dtype.get(name, dtype.get("default", torch.float32))
        return dtype

    def _guess(self, component: Component) -> tuple[str, Path, str | None] | None:
        """Say which file a component will read, and as which dtype, before its class is known."""
        import torch

        dtype = self._dtype_of(component.name)
        if dtype is not None and not isinstance(dtype, torch.dtype):
            return None
        if component.library == "diffusers":
            path = folders.find_diffusers_weights(component.folder, component.variant)
            code = "F32" if dtype is None else code_of(dtype)
        else:
            path = folders.find_transformers_weights(component.folder, component.variant)
            config = folders.read_config(component.folder)
            named = config.get("dtype", config.get("torch_dtype"))
            code = code_of(dtype) if dtype is not None else code_of_name(named) if isinstance(named, str) else None
        return None if path is None else (component.name, path, code)

    def _begin(self, components: list[Component]) -> None:
        """Put the bytes on their way; text encoders first, as transformers wants theirs before diffusers does."""
        ordered = sorted(components, key=lambda component: component.library == "diffusers")
        guesses = [guess for guess in map(self._guess, ordered) if guess is not None]
        self.weights.begin(guesses, zero_copy=not self.kwargs.get("disable_mmap", False))

    # -- classes -------------------------------------------------------------------------------------------------

    def _classes(self) -> dict[str, type]:
        """Import the pipeline's class and return the class of each component that it takes."""
        from diffusers import pipelines
        from diffusers.pipelines.pipeline_loading_utils import (
            ALL_IMPORTABLE_CLASSES,
            get_class_obj_and_candidates,
        )

        expected = self._expected_names()
        classes: dict[str, type] = {}
        for component in self.components:
            if expected is not None and component.name not in expected:
                continue
            in_pipelines = hasattr(pipelines, component.library)
            if not in_pipelines and (component.folder / f"{component.library}.py").is_file():
                self._leave(component.name, "custom class")
                continue
            try:
                classes[component.name], _ = get_class_obj_and_candidates(
                    component.library,
                    component.class_name,
                    ALL_IMPORTABLE_CLASSES,
                    pipelines,
                    in_pipelines,
                    component_name=component.name,
                    cache_dir=self.folder,
                )
            except Exception as error:
                self._leave(component.name, f"no class {component.library}.{component.class_name} ({error})")
        return classes

    def _expected_names(self) -> set[str] | None:
        """Return the components that the pipeline's class takes, or None where only its custom code knows."""
        from diffusers import DiffusionPipeline
        from diffusers.pipelines.pipeline_loading_utils import _get_pipeline_class

        self.stock_class = self.facade.stock
        if self.stock_reason is not None:
            return None
        pipeline_class = _get_pipeline_class(
            self.stock_class,
            config=self.index,
            load_connected_pipeline=self.kwargs.get("load_connected_pipeline", False),
        )
        # Stock asks the class that from_pretrained was called on which components are optional. Called on
        # DiffusionPipeline, it would take an optional component (Wan's transformer) for a plain argument, load it again
        # and drop the one that we pass. Called on the pipeline's own class it does not.
        if pipeline_class.from_pretrained.__func__ is DiffusionPipeline.from_pretrained.__func__:
            self.stock_class = pipeline_class
        expected, _ = self.stock_class._get_signature_keys(pipeline_class)
        return set(expected)

    def _leave(self, name: str, reason: str) -> None:
        """Let stock load a component, and say so."""
        self.report.components[name] = f"stock: {reason}"
        logger.warning("%s of %s is loaded by stock: %s", name, self.source, reason)

    # -- modules -------------------------------------------------------------------------------------------------

    def _build(self, classes: Mapping[str, type]) -> dict[str, Any]:
        """Build all that we can; what is missing in the result is stock's."""
        import torch

        models = {name: cls for name, cls in classes.items() if issubclass(cls, torch.nn.Module)}
        native = {name: cls for name, cls in models.items() if self._takes_natively(name, cls)}
        if native and not self.weights.started:
            self._begin([self.by_name[name] for name in native])
        self.weights.raise_errors(native)
        built: dict[str, Any] = {}
        with self.report.stage("build"):
            self._build_models(built, {name: cls for name, cls in native.items() if not _is_transformers(cls)})
        with self.report.stage("prepare"):
            for name, cls in classes.items():
                if name not in models:
                    self._prepare(built, self.by_name[name], cls)
        with self.report.stage("build"):
            self._build_models(built, {name: cls for name, cls in native.items() if _is_transformers(cls)})
        with self.report.stage("wait"):
            self.weights.wait(native.keys() & built.keys())
        return built

    def _takes_natively(self, name: str, cls: type) -> bool:
        reason = self.stock_reason or self._quantiser(name, cls)
        if reason is not None:
            self._leave(name, reason)
        return reason is None

    def _quantiser(self, name: str, cls: type) -> str | None:
        """Return the reason when the call quantises this component."""
        config = self.kwargs.get("quantization_config")
        if config is None:
            return None
        try:
            chosen = config._resolve_quant_config(is_diffusers=not _is_transformers(cls), module_name=name)
        except Exception as error:  # stock makes the same call and is the one to say what is wrong
            return f"quantization_config ({error})"
        return None if chosen is None else "quantization_config"

    def _build_models(self, built: dict[str, Any], classes: Mapping[str, type]) -> None:
        for name, cls in classes.items():
            try:
                built[name] = self._build_model(self.by_name[name], cls)
            except NotNativeError as reason:
                self._leave(name, str(reason))
            else:
                self.report.components[name] = "native"
                self._say_loaded(self.by_name[name])

    def _build_model(self, component: Component, cls: Any) -> Any:
        import torch

        dtype = self._dtype_of(component.name)
        if dtype is not None and not isinstance(dtype, torch.dtype):
            raise NotNativeError(f"dtype {dtype!r} is not a torch.dtype")
        if dtype is not None and (not dtype.is_floating_point or dtype.itemsize < 2):
            raise NotNativeError(f"dtype {dtype}")
        weights = self._weights_of(component, cls)
        if _is_transformers(cls):
            from . import transformers_model

            model = transformers_model.build(cls, component.location, dtype, weights)
        else:
            from . import diffusers_model

            model = diffusers_model.build(cls, component.location, dtype, weights)
        self.report.bytes += weights.checkpoint.nbytes
        return model

    def _weights_of(self, component: Component, cls: type) -> Any:
        from diffusers import ModelMixin

        if issubclass(cls, ModelMixin):
            path = folders.find_diffusers_weights(component.folder, component.variant)
        elif _is_transformers(cls):
            path = folders.find_transformers_weights(component.folder, component.variant)
        else:
            raise NotNativeError(f"{cls.__name__} is neither a diffusers nor a transformers model")
        if path is None:
            raise NotNativeError("no safetensors")
        weights = self.weights.get(component.name, path)
        if weights is None:
            raise NotNativeError(f"{cls.__name__} is not a class of the library that model_index.json names")
        return weights

    def _prepare(self, built: dict[str, Any], component: Component, cls: Any) -> None:
        """Load a tokenizer, scheduler or processor while bytes are under way, by the call that stock makes."""
        if component.library not in ("diffusers", "transformers") or not hasattr(cls, "from_pretrained"):
            return
        from diffusers import DiffusionPipeline, OnnxRuntimeModel

        if issubclass(cls, (DiffusionPipeline, OnnxRuntimeModel)):
            return
        try:
            built[component.name] = cls.from_pretrained(component.location)
        except Exception as error:  # stock makes the same call and is the one to say what is wrong
            logger.debug("%s is left to stock: %s", component.name, error)
        else:
            self._say_loaded(component)

    # -- stock ---------------------------------------------------------------------------------------------------

    def _say_loaded(self, component: Component) -> None:
        """Say what stock says of each component that it loads itself."""
        logging.getLogger("diffusers.pipelines.pipeline_utils").info(
            f"Loaded {component.name} as {component.class_name} from `{component.name}` subfolder of {self.source}."
        )

    def _assemble(self, built: Mapping[str, Any]) -> Any:
        pipeline = self.stock_class.from_pretrained(self.folder, **{**self.kwargs, **built})
        if self.source != self.folder:  # a Hub id, or a path object
            pipeline.register_to_config(_name_or_path=self.source)
        return pipeline


def _is_transformers(cls: type) -> bool:
    from transformers import PreTrainedModel

    return issubclass(cls, PreTrainedModel)
