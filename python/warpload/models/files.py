"""The weight files that stock would take for a model. Needs neither torch nor diffusers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..dtypes import code_of_name
from ..errors import FormatError

_DIFFUSERS_STEM = "diffusion_pytorch_model.safetensors"
_TRANSFORMERS_STEM = "model.safetensors"


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


def shards_are_there(path: Path) -> bool:
    """Tell whether a weight file, or every shard that an index names, is there."""
    if path.suffix != ".json":
        return path.is_file()
    shards = (read_json(path) or {}).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        return False
    return all(os.path.isfile(os.path.join(path.parent, name)) for name in set(shards.values()))


def stock_may_take(fault: FormatError, path: Path) -> bool:
    """Tell whether stock may well load a checkpoint that the core refuses.

    An index is Python's to read there, and a shard that is no safetensors file is torch's. Headers are read by the
    safetensors package, which is asked; but what it takes of two tensors of one name is never what was meant.

    Args:
        fault: why the core refuses it.
        path: the file or index.
    """
    if fault.path == str(path) and path.suffix == ".json":
        return True
    if not fault.path.endswith(".safetensors"):
        return True
    if fault.reason.startswith("duplicate key"):
        return False
    import safetensors

    try:
        with safetensors.safe_open(fault.path, framework="pt"):
            return True
    except (safetensors.SafetensorError, OSError):
        return False
