"""Between the native core and torch: the process's loader, and tensors that own their memory."""

from __future__ import annotations

import functools
import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import _core, devices, options, strings
from .dtypes import torch_dtypes
from .errors import FormatError
from .options import LoadOptions

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("warpload")

StrPath = str | os.PathLike[str]

# By their options: the environment may ask for others with each load.
_loaders: dict[LoadOptions, _core.Loader] = {}
_loaders_lock = threading.Lock()


def _forget_loaders() -> None:
    # A child has none of its parent's threads; the core knows not to join them there.
    global _loaders, _loaders_lock
    _loaders = {}
    _loaders_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_loaders)


def loader() -> _core.Loader:
    """Return the loader that all loads of this process with the current options share.

    Its threads start with the first of them.

    Raises:
        InvalidArgumentError: the environment asks for what does not exist.
    """
    wanted = replace(options.current(), arena="auto")  # that one is none of the loader's
    with _loaders_lock:
        if wanted not in _loaders:
            _loaders[wanted] = _core.Loader(**wanted.of_loader())
        return _loaders[wanted]


def worker_count() -> int:
    """Return the number of threads that a load started now has."""
    return loader().threads


def release_pinned_memory() -> int:
    """Unlock and free the host memory that is kept for copies to devices; returns its bytes.

    The devices' working memory for casts, a few slots of torch's allocator, goes as well. What a load under way uses is
    kept. The next load to a device pins anew, which takes some tens of milliseconds.
    """
    with _loaders_lock:
        loaders = list(_loaders.values())
    return sum(each.release_pinned_memory() for each in loaders)


def open_checkpoint(source: StrPath | Sequence[StrPath], *, as_published: bool = False) -> _core.Checkpoint:
    """Open and validate a shard, several shards, or the shards of an index file.

    Args:
        source: the file or files.
        as_published: understand an index as diffusers and transformers do: the shards count, whatever it says of them.
            Otherwise index and shards have to leave no doubt which tensors are meant.

    Raises:
        FormatError: a header or the index breaks the format's rules.
        IoError: a file is missing or unreadable.
        InvalidArgumentError: something is no path.
    """
    several = isinstance(source, Iterable) and not isinstance(source, str | bytes | os.PathLike)
    shards: Iterable[Any] = source if several else [source]  # type: ignore[assignment]
    return _core.Checkpoint.open([strings.checked_path(shard) for shard in shards], as_published=as_published)


# Where an index is wrong about its shards, though it is clear what is meant.
_WRONG_INDEX = frozenset({"unlisted", "misplaced", "stale copy", "conflicting copy"})


def tell_of_a_wrong_index(checkpoint: _core.Checkpoint) -> None:
    """Warn where a checkpoint's index does not say what its shards hold."""
    if wrong := [sentence for kind, sentence in checkpoint.oddities if kind in _WRONG_INDEX]:
        logger.warning("%s", "; ".join(wrong))


def request(checkpoint: _core.Checkpoint, device: torch.device | None = None, **wanted: Any) -> _core.SegmentRequest:
    """Return a request for one checkpoint, ordered behind what is queued in the device's current stream.

    Args:
        checkpoint: what to load.
        device: where to, from ``devices.arena_device``.
        wanted: the further arguments of ``SegmentRequest``.

    Raises:
        InvalidArgumentError: no tensor can have one of the names.
    """
    strings.check_names(wanted.get("only") or ())
    strings.check_names(wanted.get("tensor_dtypes") or ())
    if device is None:
        return _core.SegmentRequest(checkpoint, **wanted)
    stream = devices.current_stream(device)
    return _core.SegmentRequest(checkpoint, device=devices.native(device), stream=stream, **wanted)


def start(
    requests: Sequence[_core.SegmentRequest], places: Sequence[torch.device | None] | None = None
) -> _core.LoadHandle:
    """Plan the requests, reserve one arena for all and start filling it in native threads.

    Args:
        requests: made by ``request``.
        places: the device that each was made with; None where none was.

    Raises:
        OutOfMemoryError: the arena could not be reserved; nothing is.
        DeviceError: a device reported an error.
    """
    native = loader()
    if places is None or all(place is None for place in places):
        return native.start(requests)
    allocate, allocate_staging = (
        functools.partial(each, places) for each in (devices.allocate, devices.allocate_staging)
    )
    return native.start(requests, allocate, allocate_staging)


def load(
    requests: Sequence[_core.SegmentRequest], places: Sequence[torch.device | None]
) -> list[dict[str, torch.Tensor]]:
    """Load and wait; return the tensors by name, a dictionary a request.

    Takes and raises what ``start`` does, and the first worker's error; what was loaded is then given up.
    """
    handle = start(requests, places)
    loaded = [torch_tensors(handle, segment) for segment in range(len(requests))]
    try:
        for segment, place in enumerate(places):
            wait_arrival(handle, segment, place)
    except BaseException as error:
        loaded.clear()  # whoever keeps the traceback must not keep the memory
        traceback.clear_frames(error.__traceback__)
        del handle
        raise
    return loaded


def wait_arrival(handle: _core.LoadHandle, segment: int, device: torch.device | None) -> None:
    """Wait until a segment's bytes are in place for whoever uses them; raises the first error.

    What the device's current stream does next comes after the copies, too.
    """
    handle.wait_segment(segment)
    if device is not None:
        handle.make_stream_wait(segment, devices.current_stream(device))
        handle.wait_arrival(segment)
        _tell_of_pinning()


_told: set[str] = set()


def _tell_of_pinning() -> None:
    """Say once that host memory could not be pinned; the load went on with what there was."""
    native = loader()
    failure = native.pinning_failure
    if failure and failure not in _told:
        _told.add(failure)
        logger.warning(
            "only %d bytes of host memory could be pinned, so copies to the device are slower: %s",
            native.pinned_bytes,
            failure,
        )


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
        if shape[-1] % 2:
            raise FormatError(f"tensor '{name}': torch's F4 takes two elements for one, but a row has {shape[-1]}")
        shape = (*shape[:-1], shape[-1] // 2)
    return flat.view(dtype).reshape(shape)
