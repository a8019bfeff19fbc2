"""What a pipeline's folder holds. Needs neither torch nor diffusers: bytes can move before either is imported."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..stock.model_files import read_json

MODEL_INDEX = "model_index.json"


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
    return read_json(folder / MODEL_INDEX)


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


def _variant_of(folder: str, variant: str | None) -> str | None:
    """Tell whether a component has files of the variant: stock looks at what stands behind a file name's first dot."""
    if variant is None or not os.path.isdir(folder):
        return None
    parts = (entry.split(".") for entry in os.listdir(folder))
    return variant if any(len(part) > 1 and part[1].startswith(variant) for part in parts) else None


def weight_bytes(components: list[Component]) -> int:
    """Return the bytes of all safetensors files in the components' folders."""
    folders = {component.folder for component in components}
    return sum(file.stat().st_size for folder in folders for file in folder.glob("*.safetensors"))


def is_folder(source: Any) -> bool:
    """Tell whether a source is a folder on this disk."""
    return isinstance(source, str | os.PathLike) and os.path.isdir(source)
