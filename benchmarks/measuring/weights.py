"""The files with a pipeline's weights: which they are, and the sizes and dtypes of what is in them.

Imports only the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16}
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
_SUFFIXES = (".safetensors", ".bin", ".pt", ".ckpt")


def weight_files(folder: Path) -> list[Path]:
    """Return the files with weights in a pipeline's folder, at any depth, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())


def component_files(folder: Path, suffix: str = ".safetensors") -> dict[str, list[Path]]:
    """Return the files of each component of a pipeline that stock loads by default, by the component's folder's name.

    Where a folder has variants beside the plain files, the plain ones; where it has an index, the shards that it names.

    Args:
        folder: with a folder a component.
        suffix: of the files; an index is looked for beside safetensors only.
    """
    found = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = _plain_files(place, suffix)
        if files:
            found[place.name] = files
    return found


def _plain_files(folder: Path, suffix: str) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix == suffix and path.is_file())
    # A plain name has one dot, a variant's has two: model.safetensors, model.fp16.safetensors.
    plain = [path for path in files if path.name.count(".") == 1 and not _is_shard(path)]
    indexes = sorted(folder.glob(f"*{suffix}.index.json"), key=lambda path: (path.name.count("."), path.name))
    if plain or not indexes:
        return plain or files
    shards = json.loads(indexes[0].read_text(encoding="utf-8"))["weight_map"].values()
    return [folder / name for name in sorted(set(shards))]


def _is_shard(path: Path) -> bool:
    return "-of-" in path.name


def result_bytes(files: Iterable[Path], element_size: int | None) -> int:
    """Return the memory that the tensors of these files take when loaded.

    Args:
        files: as weight_files returns them; what is not safetensors counts with its size.
        element_size: bytes of a floating-point element after the cast; None keeps the files' own.
    """
    total = 0
    for path in files:
        if path.suffix != ".safetensors" or element_size is None:
            total += path.stat().st_size
            continue
        for entry in _read_header(path).values():
            size = element_size if "F" in entry["dtype"] else _BITS.get(entry["dtype"], 8) // 8
            total += prod(entry["shape"]) * size
    return total


def bytes_by_dtype(path: Path) -> dict[str, int]:
    """Return the bytes that tensors of each dtype have in a file, by the format's code; empty if not safetensors."""
    sizes: dict[str, int] = {}
    if path.suffix == ".safetensors":
        for entry in _read_header(path).values():
            begin, end = entry["data_offsets"]
            sizes[entry["dtype"]] = sizes.get(entry["dtype"], 0) + end - begin
    return sizes


def files_dtype(folder: Path) -> str:
    """Return the dtype that most bytes of a pipeline's safetensors files have; "none" when there are none."""
    sizes: dict[str, int] = {}
    for path in weight_files(folder):
        for code, size in bytes_by_dtype(path).items():
            sizes[code] = sizes.get(code, 0) + size
    return _DTYPES.get(max(sizes, key=lambda code: sizes[code], default=""), "none")


def total_size(files: Iterable[Path]) -> int:
    """Return the size of the files together, in bytes."""
    return sum(path.stat().st_size for path in files)


def _read_header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header
