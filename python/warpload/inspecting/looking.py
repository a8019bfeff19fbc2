"""What files of weights hold, told by the core from their headers; no tensor is read, and torch is not imported."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from warpload import _core, engine, mounts
from warpload.errors import WarploadError
from warpload.inspecting.findings import File, Tensor
from warpload.stock import pickles

_SAFETENSORS = ".safetensors"
# What a GGUF file's blocks are turned into where a dtype is asked for.
_NUMBERS = "F32"


def look_at(file: Path, root: Path) -> File:
    """Return what one file of weights holds.

    Args:
        file: safetensors, GGUF, or another format, which is not opened.
        root: the folder to name it from.
    """
    path = os.path.relpath(file, root)
    try:
        size = file.stat().st_size
    except OSError as error:
        return File(path, _format_of(file), 0, problem=f"{file}: {error.strerror}")
    if not is_opened(file):
        return File(path, _format_of(file), size)
    try:
        checkpoint = engine.open_checkpoint(file, gguf=True)
    except WarploadError as error:
        return File(path, _format_of(file), size, problem=str(error))
    tensors = _tensors_of(checkpoint)
    return File(
        path=path,
        format="GGUF" if checkpoint.gguf_path is not None else "safetensors",
        bytes=size,
        data_offset=min((tensor.offset for tensor in tensors), default=None),
        tensors=tensors,
        mappable=not mounts.forbid_mapping([file]),
        blocks=tuple(sorted(_packed_only(checkpoint))),
        metadata=checkpoint.metadata() or {},
    )


def is_opened(file: Path) -> bool:
    """Tell whether the core opens a file: one of another suffix may have any format, a pickle among them."""
    return file.suffix in (_SAFETENSORS, ".gguf")


def problems_of(files: Iterable[File]) -> list[str]:
    """Return why the core cannot open files, a sentence each."""
    return [file.problem for file in files if file.problem]


def _format_of(file: Path) -> str:
    if file.suffix == _SAFETENSORS:
        return "safetensors"
    if file.suffix == ".gguf":
        return "GGUF"
    return "pickle" if file.suffix in pickles.SUFFIXES else file.suffix.removeprefix(".") or "unknown"


def _tensors_of(checkpoint: _core.Checkpoint) -> tuple[Tensor, ...]:
    blocks, found = checkpoint.blocks, []
    for name, code, shape, _ in checkpoint.tensors():
        _, begin, end = checkpoint.locate(name)
        aligned = begin % _core.dtype_alignment(code) == 0
        dtype = blocks[name][0] if name in blocks else code
        found.append(Tensor(name, dtype, tuple(shape), end - begin, begin, aligned))
    return tuple(found)


def _packed_only(checkpoint: _core.Checkpoint) -> set[str]:
    """Return the types of blocks that stay bytes whatever dtype is asked for."""
    return {
        kind for kind, number in checkpoint.blocks.values() if not _core.is_dequantization_supported(number, _NUMBERS)
    }
