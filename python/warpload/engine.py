"""Between the native core and torch: the process's loader, and tensors that own their memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core
from .dtypes import torch_dtypes
from .errors import FormatError, InvalidArgumentError

if TYPE_CHECKING:
    import torch

StrPath = str | os.PathLike[str]

# By their number of threads: the environment may ask for another number with each load.
_loaders: dict[int, _core.Loader] = {}
_loaders_lock = threading.Lock()


def _forget_loaders() -> None:
    # A child has none of its parent's threads; the core knows not to join them there.
    global _loaders, _loaders_lock
    _loaders = {}
    _loaders_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_loaders)

_TRUE, _FALSE = {"1", "ON", "YES", "TRUE"}, {"0", "OFF", "NO", "FALSE"}
_PARALLEL_WORKERS = 8  # what diffusers' guide promises where the number is not said


def _requested_threads() -> int:
    """Return the number of workers that the environment asks for, by diffusers' own variables; 0 leaves it to us."""
    enabled = os.environ.get("HF_ENABLE_PARALLEL_LOADING", "").upper()
    workers = os.environ.get("HF_PARALLEL_LOADING_WORKERS", "").strip()
    if enabled in _FALSE:
        return 0
    if workers:
        if not workers.isdecimal() or int(workers) == 0:
            raise InvalidArgumentError(f"HF_PARALLEL_LOADING_WORKERS is {workers!r}, not a positive number")
        return int(workers)
    return _PARALLEL_WORKERS if enabled in _TRUE else 0


def loader() -> _core.Loader:
    """Return the loader that all loads of this process share; its threads start with the first of them.

    Raises:
        InvalidArgumentError: the environment asks for a number of workers that is none.
    """
    threads = _requested_threads()
    with _loaders_lock:
        if threads not in _loaders:
            _loaders[threads] = _core.Loader(threads)
        return _loaders[threads]


def worker_count() -> int:
    """Return the number of threads that a load started now has."""
    return loader().threads


def open_checkpoint(source: StrPath | Sequence[StrPath]) -> _core.Checkpoint:
    """Open and validate a shard, several shards, or the shards of an index file.

    Raises:
        FormatError: a header or the index breaks the format's rules.
        IoError: a file is missing or unreadable.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if ".index." in path.name and path.suffix == ".json":  # a variant stands between the two
            return _core.Checkpoint.open_index(path)
        return _core.Checkpoint.open([path])
    return _core.Checkpoint.open([Path(item) for item in source])


def start(requests: Sequence[_core.SegmentRequest]) -> _core.LoadHandle:
    """Plan the requests, reserve one arena for all and start filling it in native threads."""
    return loader().start(requests)


def torch_tensors(handle: _core.LoadHandle, segment: int) -> dict[str, torch.Tensor]:
    """Return the tensors of one segment by name, each with a storage of its own of exactly its size.

    They are there at once; what they hold is meaningless until ``handle.wait_segment(segment)`` has returned.
    """
    return adopt(handle.tensors(segment))


def adopt(described: Iterable[tuple[str, str, tuple[int, ...], Any, bool]]) -> dict[str, torch.Tensor]:
    """Turn what the core hands over into torch tensors, without a copy."""
    from torch.utils.dlpack import from_dlpack

    convert: Callable[[Any], torch.Tensor] = from_dlpack
    tensors: dict[str, torch.Tensor] = {}
    for name, code, shape, capsule, typed in described:
        tensor = convert(capsule)
        tensors[name] = tensor if typed else _reinterpret(tensor, name, code, shape)
    return tensors


def _reinterpret(flat: torch.Tensor, name: str, code: str, shape: tuple[int, ...]) -> torch.Tensor:
    """View bytes as a dtype that DLPack's common codes lack."""
    dtype = torch_dtypes().get(code)
    if dtype is None:
        raise FormatError(f"tensor '{name}': the installed torch has no dtype for {code}")
    if code == "F4":  # two elements a byte: torch counts the pairs
        shape = (*shape[:-1], shape[-1] // 2)
    return flat.view(dtype).reshape(shape)
