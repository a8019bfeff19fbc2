"""Whether the Hub's cache holds all of a pipeline, and the calls that are then spared the question at the Hub."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..stock import cached_models, hub
from . import completeness
from . import folder as folders

Function = Callable[..., Any]

# With one of these the call needs files that the list of components does not tell of.
_NEEDS_MORE = (
    "custom_pipeline",
    "custom_revision",
    "load_connected_pipeline",
    "trust_remote_code",
    "use_flashpack",
    "use_onnx",
)


def complete_snapshot(source: Any, options: Mapping[str, Any]) -> Path | None:
    """Return the folder of the Hub's cache that holds all that a pipeline needs, or None.

    Args:
        source: as given to ``from_pretrained``.
        options: its keyword arguments: components among them need not be there.
    """
    if any(options.get(name) for name in _NEEDS_MORE) or options.get("use_safetensors") is False:
        return None
    snapshot = hub.cached_snapshot(source, options)
    if snapshot is None or not snapshot.has(folders.MODEL_INDEX):
        return None
    index = folders.read_model_index(snapshot.folder)
    if index is None or not isinstance(index.get("_class_name"), str):
        return None
    if "Combined" in index["_class_name"]:  # its connected pipelines are repositories of their own
        return None
    components = folders.list_components(str(snapshot.folder), index, options.keys(), options.get("variant"))
    whole = all(completeness.is_complete(snapshot, component, options.get("variant")) for component in components)
    return snapshot.folder if whole else None


def has_config(cls: Any, source: Any, options: Mapping[str, Any]) -> bool:
    """Tell whether the cache has the configuration that a class of diffusers reads of a repository."""
    name = getattr(cls, "config_name", None)
    snapshot = hub.cached_snapshot(source, options) if name else None
    return snapshot is not None and snapshot.has(hub.inside(options.get("subfolder"), str(name)))


def auto_pipeline(stock: Function, cls: Any, pretrained_model_or_path: Any, **kwargs: Any) -> Any:
    """Stand for ``from_pretrained`` of the ``AutoPipelineFor...`` classes."""
    complete = complete_snapshot(pretrained_model_or_path, kwargs) is not None
    return hub.from_cache_first(functools.partial(stock, cls, pretrained_model_or_path), complete, kwargs)


def auto_model(stock: Function, cls: Any, pretrained_model_or_path: Any = None, **kwargs: Any) -> Any:
    """Stand for ``diffusers.AutoModel.from_pretrained``."""
    snapshot = hub.cached_snapshot(pretrained_model_or_path, kwargs)
    complete = snapshot is not None and cached_models.has_model(
        snapshot, kwargs.get("subfolder"), kwargs.get("variant")
    )
    return hub.from_cache_first(functools.partial(stock, cls, pretrained_model_or_path), complete, kwargs)
