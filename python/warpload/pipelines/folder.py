"""What a pipeline's folder holds: its components, and the weight files that stock would take for each.

Needs neither torch nor diffusers, so that bytes can be on their way before either is imported.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL_INDEX = "model_index.json"

_DIFFUSERS_STEM = "diffusion_pytorch_model.safetensors"
_TRANSFORMERS_STEM = "model.safetensors"


@dataclass(frozen=True)
class Component:
    """One entry of ``model_index.json``.

    Attributes:
        name: the component's name in the pipeline, such as ``"unet"``.
        library: the library or pipeline module that has its class.
        class_name: the class.
        location: where it lies, spelled as stock would: the pipeline's folder as the user gave it, and the name.
        variant: the variant that its files carry, or None.
    """

    name: str
    library: str
    class_name: str
    location: str
    variant: str | None

    @property
    def folder(self) -> Path:
        """Return the location as a path."""
        return Path(self.location)


def read_model_index(folder: Path) -> dict[str, Any] | None:
    """Return ``model_index.json`` as a dictionary, or None where there is none that can be read as one."""
    try:
        value = json.loads((folder / MODEL_INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def list_components(folder: str, index: dict[str, Any], given: Collection[str], variant: str | None) -> list[Component]:
    """Return the components that have to be loaded from the folder: not null, and not given by the caller."""
    components = []
    for name, value in index.items():
        if name.startswith("_") or name in given:
            continue
        if not (isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)):
            continue
        inside = os.path.join(folder, name)
        location = inside if os.path.isdir(inside) else folder
        components.append(Component(name, value[0], value[1], location, _variant_of(inside, variant)))
    return components


def _variant_of(place: str, variant: str | None) -> str | None:
    """Tell whether a component has files of the variant: stock looks at what stands behind a file name's first dot."""
    if variant is None or not os.path.isdir(place):
        return None
    parts = (entry.split(".") for entry in os.listdir(place))
    return variant if any(len(part) > 1 and part[1].startswith(variant) for part in parts) else None


def _with_variant(name: str, variant: str | None) -> str:
    if variant is None:
        return name
    stem, suffix = name.rsplit(".", 1)
    return f"{stem}.{variant}.{suffix}"


def find_diffusers_weights(folder: Path, variant: str | None) -> Path | None:
    """Return the index or the file that a diffusers model loads, or None when stock has to look further."""
    index = folder / _with_variant(f"{_DIFFUSERS_STEM}.index.json", variant)
    if index.is_file():
        return index
    # An index in the deprecated spelling takes precedence over a single file: stock knows it, we need not.
    if variant is not None and any(variant in name and ".index." in name for name in os.listdir(folder)):
        return None
    single = folder / _with_variant(_DIFFUSERS_STEM, variant)
    return single if single.is_file() else None


def find_transformers_weights(folder: Path, variant: str | None) -> Path | None:
    """Return the file or the index that a transformers model loads, or None when stock has to look further."""
    if (folder / "adapter_config.json").is_file():
        return None
    for name in (_TRANSFORMERS_STEM, f"{_TRANSFORMERS_STEM}.index.json"):
        path = folder / _with_variant(name, variant)
        if path.is_file():
            return path
    return None


def read_config(folder: Path) -> dict[str, Any]:
    """Return a model's ``config.json``, or an empty dictionary where there is none that can be read."""
    try:
        value = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
