"""Between the native core and torch: the process's loader, and tensors that own their memory."""

from __future__ import annotations

import functools
import logging
import os
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import _core, context, devices, errors, forked, options, progress_bar, strings, timeline
from .dtypes import torch_dtypes
from .options import LoadOptions

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("warpload")

StrPath = str | os.PathLike[str]

# By their options: the environment may ask for others with each load.
_loaders: dict[LoadOptions, _core.Loader] = {}
_loaders_lock = forked.Lock()


@forked.anew_in_child
def _start_without_loaders() -> None:
    # A child has none of its parent's threads; the core knows not to join them there.
    global _loaders
    _loaders = {}


def loader() -> _core.Loader:
    """Return the loader that all loads of this process with the current options share.

    Its threads start with the first of them.

    Raises:
        InvalidArgumentError: the environment asks for what does not exist.
    """
    wanted = options.current().without_what_loaders_ignore()
    if wanted.threads > (most := _core.Loader.most_threads()):
        _tell_once(f"{options.asked_threads(wanted)} are more threads than can help here: {most} are started")
        wanted = replace(wanted, threads=most)
    with _loaders_lock:
        if wanted not in _loaders:
            _loaders[wanted] = _core.Loader(**wanted.of_loader())
        return _loaders[wanted]


_told: set[str] = set()


def _tell_once(message: str) -> None:
    if message not in _told:
        _told.add(message)
        logger.warning(message)


def worker_count() -> int:
    """Return the number of threads that a load started now has."""
    return loader().threads


def release_pinned_memory() -> int:
    """Release the pinned host memory that is kept for copies to devices.

    The devices' working memory for casts, of the size of a few slots, is released to torch's allocator as well. What a
    load under way uses is kept. The next load to a device pins memory anew, which takes some tens of milliseconds.

    Returns:
        The bytes of host memory that were released.
    """
    with _loaders_lock:
        loaders = list(_loaders.values())
    return sum(each.release_pinned_memory() for each in loaders)


def open_checkpoint(
    source: StrPath | Sequence[StrPath], *, as_published: bool = False, gguf: bool = False
) -> _core.Checkpoint:
    """Open and validate a shard, several shards, or the shards of an index file.

    Args:
        source: the file or files.
        as_published: understand an index as diffusers and transformers do: the shards count, whatever it says of them.
            Otherwise index and shards have to leave no doubt which tensors are meant.
        gguf: whether a GGUF file will do, whose quantised tensors are bytes.

    Raises:
        FormatError: a header or the index breaks the format's rules, or a file is a GGUF file where none will do.
        IoError: a file is missing or unreadable.
        InvalidArgumentError: something is no path.
    """
    several = isinstance(source, Iterable) and not isinstance(source, str | bytes | os.PathLike)
    shards: Iterable[Any] = source if several else [source]  # type: ignore[assignment]
    checkpoint = _core.Checkpoint.open([strings.checked_path(shard) for shard in shards], as_published=as_published)
    if not gguf and (path := checkpoint.gguf_path) is not None:
        reason = "the file is a GGUF file, not safetensors"
        raise errors.make("FormatError", reason, path=str(path), byte_range=(0, 4), cure=_GGUF_CURE)
    return checkpoint


_GGUF_CURE = (
    "load all of it with warpload.load_file, or a model with from_single_file and a GGUFQuantizationConfig; tensor by "
    "tensor, the gguf package reads it"
)

# Where an index is wrong about its shards, though it is clear what is meant.
_WRONG_INDEX = frozenset({"unlisted", "misplaced", "stale copy", "conflicting copy"})


def tell_of_a_wrong_index(checkpoint: _core.Checkpoint) -> None:
    """Log a warning where a checkpoint's index does not say what its shards hold."""
    if wrong := [sentence for kind, sentence in checkpoint.oddities if kind in _WRONG_INDEX]:
        logger.warning("%s", "; ".join(wrong))


def request(
    checkpoint: _core.Checkpoint, device: torch.device | devices.Place | None = None, **wanted: Any
) -> _core.SegmentRequest:
    """Return a request for one checkpoint, ordered behind what is queued in the device's current stream.

    Args:
        checkpoint: what to load.
        device: where to, from ``devices.arena_device`` or ``devices.foreseen_place``.
        wanted: the further arguments of ``SegmentRequest``.

    Raises:
        InvalidArgumentError: no tensor can have one of the names.
    """
    strings.check_names(wanted.get("only") or ())
    strings.check_names(wanted.get("tensor_dtypes") or ())
    if options.trace():
        wanted["trace_events"] = timeline.MOST_EVENTS
    if device is None:
        return _core.SegmentRequest(checkpoint, **wanted)
    stream = devices.current_stream(device)
    return _core.SegmentRequest(checkpoint, device=devices.core_device(device), stream=stream, **wanted)


def start(
    requests: Sequence[_core.SegmentRequest],
    arena_devices: Sequence[torch.device | None] | None = None,
    names: Sequence[str] = (),
) -> _core.LoadHandle:
    """Plan the requests, reserve one arena for all and start filling it in native threads.

    Args:
        requests: made by ``request``.
        arena_devices: the device that each was made with; None where none was.
        names: what the components are called that they are for, where that is known.

    Raises:
        OutOfMemoryError: the arena could not be reserved; nothing is.
        DeviceError: a device reported an error.
    """
    return follow(_started(requests, arena_devices), dict(enumerate(names or [""] * len(requests))))


def follow(handle: _core.LoadHandle, names: Mapping[int, str], *, taken: bool = False) -> _core.LoadHandle:
    """Have the load on this thread tell of what the core does for it, in its bar and its timeline; return the handle.

    Args:
        handle: what the core does.
        names: of its segments that count, what each component is called, if anything; the others are others'.
        taken: whether a prefetch has begun it.
    """
    if (bar := progress_bar.current()) is not None:
        bar.add(handle.meter(), names, taken=taken)
    if (load := context.current()) is not None:
        load.report.timeline.follow(handle.trace, names)
    return handle


def _started(
    requests: Sequence[_core.SegmentRequest], arena_devices: Sequence[torch.device | None] | None
) -> _core.LoadHandle:
    core_loader = loader()
    if arena_devices is None or all(device is None for device in arena_devices):
        return core_loader.start(requests)
    allocate, allocate_staging = (
        functools.partial(each, arena_devices) for each in (devices.allocate, devices.allocate_staging)
    )
    return core_loader.start(requests, allocate, allocate_staging)


def load(
    requests: Sequence[_core.SegmentRequest], arena_devices: Sequence[torch.device | None]
) -> list[dict[str, torch.Tensor]]:
    """Load, wait until all bytes have arrived, and return the tensors by name, a dictionary a request.

    Where this raises, what was loaded is released.

    Args:
        requests: made by ``request``.
        arena_devices: the device that each was made with; None where none was.

    Raises:
        FormatError: torch cannot represent one of the tensors.
        IoError: a file cannot be read, or has changed.
        OutOfMemoryError: the arena could not be reserved.
        DeviceError: a device reported an error.
    """
    segments = [(number, each.checkpoint) for number, each in enumerate(requests)]
    return arrived(start(requests, arena_devices), segments, arena_devices)


def arrived(
    handle: _core.LoadHandle,
    segments: Sequence[tuple[int, _core.Checkpoint]],
    arena_devices: Sequence[torch.device | None],
) -> list[dict[str, torch.Tensor]]:
    """Wait until segments of a load have arrived, and return their tensors by name, a dictionary each.

    Where this raises, what was loaded is released, unless the caller has the handle.

    Args:
        handle: the load.
        segments: the number of each, and the checkpoint that its request was made with.
        arena_devices: the device of each, or None.

    Raises:
        WarploadError: see ``load``.
    """
    loaded: list[dict[str, torch.Tensor]] = []
    try:
        for segment, checkpoint in segments:
            loaded.append(torch_tensors(handle, segment, checkpoint))
        for (segment, _), device in zip(segments, arena_devices, strict=True):
            wait_arrival(handle, segment, device)
    except BaseException as error:
        loaded.clear()  # whoever keeps the traceback must not keep the memory
        traceback.clear_frames(error.__traceback__)
        del handle
        raise
    return loaded


def wait_arrival(handle: _core.LoadHandle, segment: int, device: torch.device | None) -> None:
    """Wait until a segment's bytes have arrived for whoever uses them.

    What is queued in the device's current stream from here on comes after the copies, too.

    Args:
        handle: the load.
        segment: the number of the request in the load.
        device: that the request was made with, or None.

    Raises:
        WarploadError: the first error of the load.
    """
    handle.wait_segment(segment)
    if device is not None:
        handle.make_stream_wait(segment, devices.current_stream(device))
        handle.wait_arrival(segment)
        _tell_of_pinning()


def _tell_of_pinning() -> None:
    """Say once that host memory could not be pinned; the load went on with what there was."""
    core_loader = loader()
    failure = core_loader.pinning_failure
    if failure:
        _tell_once(
            f"only {core_loader.pinned_bytes} bytes of host memory could be pinned, so copies to the device are slower:"
            f" {failure}"
        )


# What the core hands over: name, dtype code, shape, DLPack capsule, whether the capsule has the dtype.
_Described = tuple[str, str, tuple[int, ...], Any, bool]


def torch_tensors(handle: _core.LoadHandle, segment: int, checkpoint: _core.Checkpoint) -> dict[str, torch.Tensor]:
    """Return the tensors of one segment by name, each with a storage of its own of exactly its size.

    The tensors are there at once; what they hold is meaningless until ``handle.wait_segment(segment)`` has returned.

    Args:
        handle: the load.
        segment: the number of the request in the load.
        checkpoint: that the request was made with.

    Raises:
        FormatError: torch cannot represent one of them; names the file and the tensor.
    """
    from torch.utils.dlpack import from_dlpack

    return {described[0]: _adopt(described, checkpoint, from_dlpack) for described in handle.tensors(segment)}


def torch_tensor(handle: _core.LoadHandle, segment: int, name: str, checkpoint: _core.Checkpoint) -> torch.Tensor:
    """Return one tensor of a segment, whether torch can represent the others or not.

    Each call returns another object on the same memory.

    Args:
        handle: the load.
        segment: the number of the request in the load.
        name: the tensor's name.
        checkpoint: that the request was made with.

    Raises:
        FormatError: torch cannot represent the tensor; names the file and the tensor.
    """
    from torch.utils.dlpack import from_dlpack

    return _adopt(handle.tensor(segment, name), checkpoint, from_dlpack)


def check_representable(
    name: str, code: str, shape: Sequence[int], checkpoint: _core.Checkpoint, cure: str = ""
) -> None:
    """Refuse a tensor that torch cannot represent, before anything is done for it.

    Args:
        name: the tensor's name.
        code: its dtype in the file.
        shape: its shape there.
        checkpoint: what it is from.
        cure: what the user can do about it.

    Raises:
        FormatError: torch has no such dtype, or the tensor is an odd number of four-bit elements wide; empty or not.
    """
    if code not in torch_dtypes():
        raise _refusal(name, checkpoint, f"the installed torch has no dtype for {code}", cure)
    if code == "F4" and (not shape or shape[-1] % 2):
        reason = f"torch holds F4 in pairs, and the last dimension of {list(shape)} is odd"
        raise _refusal(name, checkpoint, reason, cure)


def _refusal(name: str, checkpoint: _core.Checkpoint, reason: str, cure: str = "") -> errors.WarploadError:
    path, begin, end = checkpoint.locate(name)
    return errors.make("FormatError", reason, path=str(path), tensor=name, byte_range=(begin, end), cure=cure)


def _adopt(
    described: _Described, checkpoint: _core.Checkpoint, from_dlpack: Callable[[Any], torch.Tensor]
) -> torch.Tensor:
    """Turn what the core hands over into a torch tensor, without a copy."""
    name, code, shape, capsule, typed = described
    if not typed:
        check_representable(name, code, shape, checkpoint)
    try:
        tensor = from_dlpack(capsule)
        return tensor if typed else _reinterpret(tensor, code, shape)
    except (RuntimeError, TypeError, BufferError) as error:
        raise _refusal(name, checkpoint, f"torch does not take {code} of shape {list(shape)}: {error}") from error


def _reinterpret(flat: torch.Tensor, code: str, shape: tuple[int, ...]) -> torch.Tensor:
    """View bytes as a dtype that DLPack's common codes lack."""
    return flat.view(torch_dtypes()[code]).reshape(shape_in_torch(code, shape))


def shape_in_torch(code: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Return a tensor's shape as torch has it: of F4, two elements a byte, it counts the pairs.

    Args:
        code: the tensor's dtype, which torch can represent.
        shape: its shape in the file.
    """
    return (*shape[:-1], shape[-1] // 2) if code == "F4" else tuple(shape)
