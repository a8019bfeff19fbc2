"""The weight files that stock would take for a model. Needs neither torch nor diffusers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from ..dtypes import code_of_name

_DIFFUSERS_STEM = "diffusion_pytorch_model.safetensors"
_TRANSFORMERS_STEM = "model.safetensors"


# A checkpoint that several processes wrote: transformers takes it before any other file.
_OF_A_PROCESS = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors$")


def _names_in(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


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
    if (folder / "adapter_config.json").is_file() or any(map(_OF_A_PROCESS.match, _names_in(folder))):
        return None
    for name in (_TRANSFORMERS_STEM, f"{_TRANSFORMERS_STEM}.index.json"):
        path = folder / _with_variant(name, variant)
        if path.is_file():
            return path
    return None


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


def configured_dtype(folder: Path) -> str | None:
    """Return the code of the dtype that a transformers model's configuration names, or None where it names none."""
    config = read_config(folder)
    named = config.get("dtype", config.get("torch_dtype"))
    return code_of_name(named) if isinstance(named, str) else None


# transformers' models that keep a layer in float32 where all else is in float16: known here so that the layer need not
# be read twice. What is missing from this list, or wrong, is put right once the class is known.
_WIDE_IN_HALF = {"t5": ("wo",), "mt5": ("wo",), "umt5": ("wo",)}


def kept_in_float32(folder: Path, code: str | None) -> tuple[str, ...]:
    """Return the parts of names whose tensors a model keeps in float32 although it is loaded in the dtype ``code``."""
    return _WIDE_IN_HALF.get(str(read_config(folder).get("model_type")), ()) if code == "F16" else ()


def shards_of(path: Path) -> list[Path]:
    """Return the files that hold a model's weights: the weight file itself, or the shards that an index names."""
    if path.suffix != ".json":
        return [path]
    shards = (read_json(path) or {}).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        return []
    return [path.parent / name for name in set(shards.values())]


def weight_names(variant: str | None) -> list[str]:
    """Return every name that a model's weight file or index may have."""
    stems = (_DIFFUSERS_STEM, _TRANSFORMERS_STEM)
    return [_with_variant(name, variant) for stem in stems for name in (stem, f"{stem}.index.json")]
