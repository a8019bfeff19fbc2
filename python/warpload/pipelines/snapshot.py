"""Whether the Hub's cache holds all that a call needs, which is then spared the question at the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..stock import cached_models, hub
from . import completeness
from . import folder as folders

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


def holds_all(cls: Any, source: Any, options: Mapping[str, Any]) -> bool:
    """Tell whether the Hub's cache has all that ``from_pretrained`` of a class of diffusers reads of a repository.

    Pipelines and models find that out by themselves, when they load.

    Args:
        cls: the class.
        source: as given to ``from_pretrained``.
        options: its keyword arguments.
    """
    import diffusers

    if issubclass(cls, diffusers.DiffusionPipeline | diffusers.ModelMixin):
        return False
    if (snapshot := hub.cached_snapshot(source, options)) is None:
        return False
    subfolder = options.get("subfolder")
    if cls is diffusers.AutoModel:
        return cached_models.has_model(snapshot, subfolder, options.get("variant"))
    is_scheduler = issubclass(cls, diffusers.SchedulerMixin)
    return is_scheduler and snapshot.has(hub.inside(subfolder, str(cls.config_name)))
