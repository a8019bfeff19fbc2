"""Whether the Hub's cache holds every file that stock would fetch for a component.

Where a whole snapshot was fetched, the cache has the repository's listing, and what it names has to be here. Else a
component is complete if it has what its kind always has, and is known to lack what its kind may have: by a note of
huggingface_hub's, or because the files that are here leave no room for it. In doubt it is incomplete: the Hub is asked.
"""

from __future__ import annotations

import os

from ..stock import cached_models
from ..stock.hub import Snapshot
from ..stock.model_files import read_json
from .folder import Component

WEIGHT_SUFFIXES = (
    *(".bin", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".onnx_data", ".pb", ".pt", ".pth", ".safetensors"),
    *(".index.json", ".flashpack"),
)
_TOKENIZER_SETTINGS = "tokenizer_config.json"
# transformers takes these into account only if the settings were written by a version that wrote them, too.
_OLD_TOKENIZER_FILES = ("special_tokens_map.json", "added_tokens.json")
_CHAT_TEMPLATE = "chat_template.jinja"
# Tokenizers of text encoders that nobody chats with.
_WITHOUT_TEMPLATE = ("CLIPTokenizer", "T5Tokenizer")


def is_complete(snapshot: Snapshot, component: Component, variant: str | None) -> bool:
    """Tell whether nothing of a component has to be fetched.

    Args:
        snapshot: where it lies.
        component: as ``model_index.json`` names it.
        variant: that the call asks for.
    """
    subfolder, names = component.name, names_here(component)
    listed = _names_listed(snapshot, subfolder)
    if component.folder.name != subfolder or f"{component.library}.py" in names | listed:
        return False
    if is_model(names | listed):
        # A variant that this component does not come in is known only from the listing.
        as_asked = component.variant == variant or (
            snapshot.listing is not None and not any(f".{variant}" in name for name in listed)
        )
        return as_asked and cached_models.has_model(snapshot, subfolder, component.variant)
    if not names or not all(snapshot.has(f"{subfolder}/{name}") for name in names | listed):
        return False
    return snapshot.listing is not None or _has_what_its_kind_has(snapshot, component)


def names_here(component: Component) -> set[str]:
    """Return the names of a component's files, below its folder, links that lead nowhere included."""
    found: set[str] = set()
    for folder, _, names in os.walk(component.folder):
        found.update(os.path.relpath(os.path.join(folder, name), component.folder) for name in names)
    return {name.replace(os.sep, "/") for name in found}


def _names_listed(snapshot: Snapshot, subfolder: str) -> set[str]:
    return {name.removeprefix(f"{subfolder}/") for name in snapshot.listing or () if name.startswith(f"{subfolder}/")}


def is_model(names: set[str]) -> bool:
    """Tell by the names of a component's files whether it is a model; without its settings it is one all the same."""
    return "config.json" in names or any(name.endswith(WEIGHT_SUFFIXES) for name in names)


def _has_what_its_kind_has(snapshot: Snapshot, component: Component) -> bool:
    """Judge without a listing; the files that are here are whole."""
    kind = component.class_name.removesuffix("Fast").removesuffix("Pil")
    if kind.endswith("Scheduler"):
        return snapshot.has(f"{component.name}/scheduler_config.json")
    if kind.endswith(("ImageProcessor", "FeatureExtractor")):
        return snapshot.has(f"{component.name}/preprocessor_config.json")
    return kind.endswith("Tokenizer") and _has_tokenizer(snapshot, component.name, kind)


def _has_tokenizer(snapshot: Snapshot, subfolder: str, kind: str) -> bool:
    settings = read_json(snapshot.folder / subfolder / _TOKENIZER_SETTINGS)
    if settings is None or not snapshot.has(f"{subfolder}/tokenizer.json"):
        return False
    may_be: list[str] = []
    if "backend" not in settings and "added_tokens_decoder" not in settings:
        may_be += _OLD_TOKENIZER_FILES
    if kind not in _WITHOUT_TEMPLATE:
        may_be.append(_CHAT_TEMPLATE)
    return all(snapshot.has_or_lacks(f"{subfolder}/{name}") for name in may_be)
