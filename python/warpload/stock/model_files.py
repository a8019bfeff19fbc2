"""A model's folder: its configuration, and the files that an index names. Needs neither torch nor diffusers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_json(file: Path) -> dict[str, Any] | None:
    """Return a JSON file's dictionary, or None where there is none that can be read as one."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_config(folder: Path) -> dict[str, Any]:
    """Return a model's ``config.json``, or an empty dictionary where there is none that can be read."""
    return read_json(folder / "config.json") or {}


def is_quantised(folder: Path) -> bool:
    """Tell whether a model is saved quantised, as its configuration says."""
    return read_config(folder).get("quantization_config") is not None


def with_variant(name: str, variant: str | None) -> str:
    """Return a file's name as a variant has it."""
    if variant is None:
        return name
    stem, suffix = name.rsplit(".", 1)
    return f"{stem}.{variant}.{suffix}"


def shards_of(path: Path) -> list[Path]:
    """Return the files that hold a model's weights: the weight file itself, or the shards that an index names."""
    if path.suffix != ".json":
        return [path]
    return [path.parent / name for name in set((weight_map_of(read_json(path)) or {}).values())]


def weight_map_of(index: dict[str, Any] | None) -> dict[str, str] | None:
    """Return what an index says of each tensor: the name of its shard. None where it is no index.

    Args:
        index: as ``read_json`` returns it.
    """
    shards = (index or {}).get("weight_map")
    is_one = isinstance(shards, dict) and all(isinstance(name, str) for name in shards.values())
    return shards if is_one else None
