"""Between torch's devices and the core's: who allocates a segment, and which stream is current.

All that knows of CUDA in Python is here. With ``LoadOptions(arena="always")`` the CPU goes the same way, so that every
other line of the device's path runs on any machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from . import _core, errors, forked, options, room
from .errors import DeviceError, InvalidArgumentError, MissingDeviceError, device_out_of_memory

if TYPE_CHECKING:
    import torch

_core_devices: dict[tuple[str, int], _core.Device] = {}
_core_devices_lock = forked.Lock()


@forked.anew_in_child
def _start_without_devices() -> None:
    # A child must not use its parent's driver.
    global _core_devices
    _core_devices = {}


@dataclass(frozen=True)
class Place:
    """A device whose memory the core fills through slots, named without torch; compare ``place_of``.

    Attributes:
        type: ``"cuda"``, or ``"cpu"`` where the CPU is treated like a device.
        index: the device's number.
    """

    type: str
    index: int


def place_of(device: torch.device | Place | None) -> Place | None:
    """Return what ``arena_device`` or ``foreseen_place`` has returned as a place, to be compared."""
    return None if device is None else Place(device.type, device.index or 0)


def foreseen_place(device: Any, current: int) -> Place | None:
    """Return what ``arena_device`` will return for a device, without torch; whether there is such a GPU is not asked.

    Args:
        device: a ``torch.device``, a name, a number, or None for the CPU.
        current: the number of the GPU that a bare ``"cuda"`` names; see ``current_gpu``.
    """
    if device is None or str(device).partition(":")[0] == "cpu":
        return Place("cpu", 0) if options.current().arena == "always" else None
    ordinal = _ordinal(device, current)
    return None if ordinal is None else Place("cuda", ordinal)


def torch_device(device: torch.device | Place | None) -> torch.device | None:
    """Return torch's device for a place, which imports torch; any other is returned as it is."""
    if not isinstance(device, Place):
        return device
    import torch

    return torch.device("cpu") if device.type == "cpu" else torch.device(device.type, device.index)


def torch_is_ready() -> bool:
    """Tell whether somebody has imported torch, all of it."""
    torch = sys.modules.get("torch")
    return torch is not None and not getattr(torch.__spec__, "_initializing", False)


def arena_device(device: Any) -> torch.device | None:
    """Return the device whose memory the core fills through slots, or None where it fills the host's directly.

    Imports torch, unless that is for the CPU, whose memory is not treated like a device's.

    Args:
        device: as torch takes it: a ``torch.device``, a name, a number, or None for the CPU. What torch does not know,
            and devices other than CUDA's, are None: stock brings tensors there.
    """
    if (device is None or device == "cpu") and options.current().arena != "always":
        return None
    import torch

    try:
        wanted = torch.device("cpu") if device is None else torch.device(device)
    except (RuntimeError, TypeError):
        return None
    if wanted.type == "cpu":
        return torch.device("cpu") if options.current().arena == "always" else None
    if wanted.type != "cuda" or torch.version.cuda is None or not torch.cuda.is_available():
        return None
    return wanted if wanted.index is not None else torch.device("cuda", torch.cuda.current_device())


# A device that has been checked; the CPU may be plain "cpu", which takes no torch.
Device: TypeAlias = "torch.device | int | str"


def checked(device: Any) -> Device:
    """Return a device as a caller names it: a name, a ``torch.device``, an accelerator's number, or None for the CPU.

    Whether the machine has the device is found out when a tensor is brought there.

    Args:
        device: what the caller gave.

    Raises:
        InvalidArgumentError: the value names no device that torch knows.
    """
    if device is None or device == "cpu":
        return "cpu"
    import torch

    if isinstance(device, torch.device) or (isinstance(device, int) and device >= 0):
        return device
    if isinstance(device, str):
        with contextlib.suppress(RuntimeError):
            return torch.device(device)
    raise errors.make(
        "InvalidArgumentError",
        f"device {device!r} is invalid",
        cure="'cpu', 'cuda', 'cuda:1' or another name that torch knows, a torch.device, or a GPU's number",
    )


def is_cpu(device: Device) -> bool:
    """Tell whether a checked device is the CPU."""
    return device == "cpu" or (not isinstance(device, int | str) and device.type == "cpu")


def bring(tensor: torch.Tensor, device: Device) -> torch.Tensor:
    """Return a tensor on a device, copied there by torch unless it is there.

    Args:
        tensor: a tensor on the CPU.
        device: from ``checked``.

    Raises:
        OutOfMemoryError: the tensor does not fit; the error is also a ``torch.OutOfMemoryError``.
        DeviceError: the machine has no such device, or the device reported an error.
    """
    if is_cpu(device):
        return tensor
    import torch

    try:
        return tensor.to(device)
    except torch.OutOfMemoryError as error:
        raise device_out_of_memory()(str(error)) from error
    except (RuntimeError, AssertionError, ImportError) as error:  # torch words each lack of a device in its own way
        raise errors.make("DeviceError", f"torch brings no tensor to device {device}: {error}") from error


def require(device: Any) -> None:
    """Refuse a GPU that is not there before anything is read for it; what is no device at all passes.

    Args:
        device: as torch takes it, or None.

    Raises:
        MissingDeviceError: torch has no CUDA, no GPU, or none of that number.
    """
    index = _gpu_index(device)
    if index is None:
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index < count:
        return
    reason, cure = _why_missing(count)
    error = MissingDeviceError(f"device {device}: {reason} ({cure})")
    error.message, error.reason, error.cure = str(error), reason, cure
    raise error


def _gpu_index(device: Any) -> int | None:
    """Return the number of the GPU that is meant, or None where none is."""
    import torch

    if device is None or isinstance(device, bool):
        return None
    if isinstance(device, int):
        known = getattr(torch, "accelerator", None)  # torch has it since 2.6
        accelerator = None if known is None else known.current_accelerator()
        return device if device >= 0 and (accelerator is None or accelerator.type == "cuda") else None
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError):
        return None
    return (wanted.index or 0) if wanted.type == "cuda" else None


def _why_missing(count: int) -> tuple[str, str]:
    """Return the reason and the cure."""
    import torch

    if count:
        return f"there is no such GPU: this process sees {count}, numbered from 0", "name one of these"
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built without CUDA", "install a build with CUDA, or load to the CPU"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not visible.strip("-1, "):
        return f"CUDA_VISIBLE_DEVICES={visible!r} hides every GPU", "unset it, or load to the CPU"
    if not os.path.exists("/proc/driver/nvidia/version"):
        return "there is no NVIDIA driver", "install it, give the container the GPU, or load to the CPU"
    return "the driver offers no GPU", "see what nvidia-smi says, or load to the CPU"


def require_all(device_map: Any) -> None:
    """Refuse a device map, of a model or of a pipeline, that names a GPU which is not there.

    Args:
        device_map: one device, or a dictionary whose values are devices.

    Raises:
        MissingDeviceError: torch has no CUDA, no GPU, or none of that number.
    """
    for device in device_map.values() if isinstance(device_map, Mapping) else [device_map]:
        require(device)


def spelled_by_transformers(device_map: Any) -> Any:
    """Return a device map in which a bare ``"cuda"`` names the GPU that transformers takes for it.

    That is the process's local rank, where diffusers takes the current device.
    """
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0))}" if device_map == "cuda" else device_map


def core_device(device: torch.device | Place) -> _core.Device:
    """Return the core's device for one of torch's, always the same.

    Raises:
        DeviceError: there is no driver or no such device.
    """
    return _core_device(device.type, device.index or 0)


def _core_device(kind: str, index: int) -> _core.Device:
    with _core_devices_lock:
        if (kind, index) not in _core_devices:
            _core_devices[kind, index] = (
                _core.Device.cuda(index) if kind == "cuda" else _core.Device.host_through_slots()
            )
        return _core_devices[kind, index]


def _beside_captures(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Let what this thread has torch do with the device disturb no CUDA graph that another thread captures.

    torch sees to that in the thread that captures only: its ``cudaMalloc`` in another one would end the capture.
    """
    return core_device(device).beside_captures() if device.type == "cuda" else contextlib.nullcontext()


def current_stream(device: torch.device | Place) -> int:
    """Return the handle of torch's current stream on the device; of a place it is the default stream.

    Raises:
        InvalidArgumentError: the stream is being captured into a CUDA graph, which a load cannot be part of; nothing
            has been taken from the graph's pool of memory yet.
    """
    if device.type != "cuda" or isinstance(device, Place):
        return 0
    import torch

    with _beside_captures(device), torch.cuda.device(device):
        if torch.cuda.is_current_stream_capturing():
            raise InvalidArgumentError(
                f"{device}: the current stream is being captured into a CUDA graph, and a load cannot be part of one"
                " (load before the capture begins)"
            )
    return torch.cuda.current_stream(device).cuda_stream


def prepare(loader: _core.Loader, device_map: Any, nbytes: int) -> None:
    """Open the GPUs that a device map names, and pin slots, beside this thread; does not need torch.

    What fails here is ignored: it fails again, and is reported, when the load needs it.

    Args:
        loader: whose slots are pinned.
        device_map: as a caller gave it; what names no GPU is passed over.
        nbytes: the bytes that the load will probably copy to the devices.
    """
    values = device_map.values() if isinstance(device_map, Mapping) else [device_map]
    ordinals = sorted({ordinal for value in values if (ordinal := _ordinal(value, current_gpu())) is not None})
    if ordinals:
        threading.Thread(target=_prepare, args=(loader, ordinals, nbytes), name="warpload-prepare").start()


def _prepare(loader: _core.Loader, ordinals: list[int], nbytes: int) -> None:
    with contextlib.suppress(DeviceError):
        for ordinal in ordinals:
            loader.prepare(_core_device("cuda", ordinal), nbytes)


def _ordinal(device: Any, current: int) -> int | None:
    if isinstance(device, int) and not isinstance(device, bool):
        return device if device >= 0 else None
    kind, _, index = str(device).partition(":")
    if kind != "cuda" or (index and not index.isdecimal()):
        return None
    return int(index) if index else current


def current_gpu() -> int:
    """Return the number of this thread's current GPU: the first one where torch has not used CUDA yet."""
    if not torch_is_ready():
        return 0
    torch: Any = sys.modules["torch"]
    return torch.cuda.current_device() if torch.cuda.is_initialized() else 0


def allocate(devices: Sequence[torch.device | None], sizes: Sequence[tuple[int, int]]) -> list[tuple[int, Any]]:
    """Return memory of torch's allocator for segments, as ``(address, owner)`` each: all of them or none.

    Args:
        devices: of every segment of the load; None where the core allocates, which an address of 0 tells it.
        sizes: ``(segment, bytes)`` of those that want memory.

    Raises:
        OutOfMemoryError: the memory does not fit; on a GPU the error is also a ``torch.OutOfMemoryError``.
    """
    return _allocate(devices, sizes)


def allocate_staging(devices: Sequence[torch.device | None], sizes: Sequence[tuple[int, int]]) -> list[tuple[int, Any]]:
    """Return working memory for casts on devices, as ``allocate`` does; the core keeps it for later loads.

    The memory comes from torch's allocator, so that memory fractions hold for it and releasing it stalls nobody.

    Args:
        devices: of every segment of the load; None where the core allocates, which an address of 0 tells it.
        sizes: ``(segment, bytes)`` of those whose device casts.

    Raises:
        OutOfMemoryError: the memory does not fit; on a GPU the error is also a ``torch.OutOfMemoryError``.
    """
    return _allocate(devices, sizes)


def _allocate(devices: Sequence[torch.device | None], sizes: Sequence[tuple[int, int]]) -> list[tuple[int, Any]]:
    wanted = [(segment, nbytes, device) for segment, nbytes in sizes if (device := devices[segment]) is not None]
    needed: dict[torch.device, list[int]] = defaultdict(list)
    for _, nbytes, device in wanted:
        needed[device].append(nbytes)
    with contextlib.ExitStack() as scopes:
        for device in needed:
            scopes.enter_context(_beside_captures(device))
        for device, each in needed.items():
            _check_room(device, each)
        tensors = _take(wanted)
    allocated = {segment: (_aligned_address(tensor), tensor) for segment, tensor in tensors.items()}
    return [allocated.get(segment, (0, None)) for segment, _ in sizes]


def _take(wanted: Sequence[tuple[int, int, torch.device]]) -> dict[int, torch.Tensor]:
    """Return a tensor for each ``(segment, bytes, device)``, or raise and keep none."""
    import torch

    tensors = {}
    on_host = all(device.type == "cpu" for _, _, device in wanted)
    refusal = RuntimeError if on_host else torch.OutOfMemoryError
    try:
        for segment, nbytes, device in wanted:
            spare = _ALIGNMENT if device.type == "cpu" else 0
            tensors[segment] = torch.empty(nbytes + spare, dtype=torch.uint8, device=device)
    except refusal as error:  # the CPU's allocator raises no class of its own
        tensors.clear()
        raise device_out_of_memory()(
            f"an arena of {sum(nbytes for _, nbytes, _ in wanted)} bytes could not be reserved: {error}"
        ) from error
    return tensors


# torch's allocators align at 64 bytes on the CPU and at 512 on a GPU; the core wants 256.
_ALIGNMENT = 256


def _aligned_address(tensor: torch.Tensor) -> int:
    address = tensor.data_ptr()
    return address + -address % _ALIGNMENT


def _check_room(device: torch.device, sizes: Sequence[int]) -> None:
    """Refuse segments that torch's allocator cannot give, before it has emptied its cache for them."""
    if device.type != "cuda":
        return
    import torch

    free, total = torch.cuda.mem_get_info(device)
    try:
        allocated, reserved = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
        limit = int(torch.cuda.get_per_process_memory_fraction(device) * total)
    except RuntimeError:  # an allocator of the user's, or the driver's pool, which do not say: they decide themselves
        return
    if sum(map(room.allocation_bytes, sizes)) <= min(free, limit - reserved):
        return  # whatever the cache is like
    spare, allowed, needed = reserved - allocated, limit - allocated, sum(sizes)
    refusal = (
        f"{device}: an arena of {needed} bytes does not fit: {free} of {total} bytes are free, torch holds {spare} to"
        f" spare and may allocate {allowed} more"
    )
    if needed > min(free + spare, allowed):
        raise device_out_of_memory()(f"{refusal} (load fewer components at once, or in a smaller dtype)")
    if not _fits_into_cache(device, sizes, free, limit - reserved):
        raise device_out_of_memory()(
            f"{refusal}, but what it holds lies in pieces between tensors in use: no piece has"
            f" {max(sizes)} bytes (load before other work, or set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True)"
        )


def _fits_into_cache(device: torch.device, sizes: Sequence[int], free: int, allowance: int) -> bool:
    """Ask for the cache's pieces, which takes milliseconds where there are many."""
    import torch

    try:
        snapshot = torch.cuda.memory_snapshot()  # type: ignore[no-untyped-call]
    except RuntimeError:
        return True
    stream = torch.cuda.current_stream(device).cuda_stream
    return room.fits(sizes, free, allowance, room.free_pieces(snapshot, device.index or 0, stream))


def release_spare(device: torch.device) -> None:
    """Have torch's allocator release what it keeps for later, so that a larger segment need not come on top."""
    if device.type == "cuda":
        import torch

        with _beside_captures(device):
            torch.cuda.empty_cache()
