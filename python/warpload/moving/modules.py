"""Modules that are in memory already, brought to a device through the core: one arena, pinned slots, all cores.

torch moves one tensor after the other from pageable memory. Here all of them go at once, whatever made them: tensors
loaded by the core (straight from the mapping of their file), by stock, or changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .. import _core, engine, progress_bar
from ..dtypes import FLOATING_POINT, code_of
from ..stock import torch_modes

# A tensor in its seat: a dictionary of parameters or buffers, the name in it, the tensor, whether it is of parameters.
_Seated = tuple[dict[str, Any], str, torch.Tensor, bool]


@dataclass
class _Memory:
    """A stretch of one storage, and the tensors that lie in it."""

    begin: int  # bytes from the storage's begin
    end: int
    seats: list[_Seated]

    @property
    def alike(self) -> bool:
        """Whether it is one tensor, perhaps in several seats, that fills the stretch in order."""
        first = self.seats[0][2]
        return first.is_contiguous() and all(_layout(seat[2]) == _layout(first) for seat in self.seats)


def _begin(tensor: torch.Tensor) -> int:
    """Return where a tensor begins in its storage, in bytes."""
    return int(tensor.storage_offset()) * tensor.itemsize


def _layout(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def move(modules: Sequence[torch.nn.Module], device: torch.device, dtype: torch.dtype | None = None) -> None:
    """Move what the core can move of the modules, a segment each; the rest stays where it is.

    Args:
        modules: such as the components of a pipeline; memory that two share goes with the first.
        device: from ``devices.arena_device``.
        dtype: of floating-point tensors; those that the core cannot cast to it stay.
    """
    if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
        return  # module.to is going to refuse it: nothing must have moved
    future = torch.__future__
    if future.get_overwrite_module_params_on_conversion() or future.get_swap_module_params_on_conversion():
        return  # torch is to make new parameters
    if torch_modes.interposed() is not None:
        return  # whoever sees torch's operations is to see these
    segments = [[memory for memory in memories if _can_go(memory, dtype)] for memories in _memories(modules)]
    if not any(segments):
        return
    requests = [_request(memories, device, dtype) for memories in segments]
    with progress_bar.Shown(str(device), doing="Moving to"):
        loaded = engine.load(requests, [device] * len(requests))
    # All have arrived before the first is placed: a failure leaves the modules as they were.
    for memories, tensors in zip(segments, loaded, strict=True):
        for memory, tensor in zip(memories, tensors.values(), strict=True):
            _place(memory, tensor)


def _memories(modules: Sequence[torch.nn.Module]) -> list[list[_Memory]]:
    """Find the stretches of memory that the modules' tensors lie in, those that overlap as one; a list a module."""
    by_storage: dict[int, tuple[int, list[_Seated]]] = {}
    for number, seat in _seats(modules):
        if _is_movable(seat[2]):
            by_storage.setdefault(seat[2].untyped_storage().data_ptr(), (number, []))[1].append(seat)
    memories: list[list[_Memory]] = [[] for _ in modules]
    for number, seats in by_storage.values():
        memories[number] += _stretches(seats)
    return memories


def _seats(modules: Sequence[torch.nn.Module]) -> Iterator[tuple[int, _Seated]]:
    """Yield every seat of a parameter or buffer; a parameter that has several once, as it is one object."""
    parameters: set[int] = set()
    for number, module in enumerate(modules):
        for each in module.modules():
            for name, parameter in each._parameters.items():
                if parameter is not None and id(parameter) not in parameters:
                    parameters.add(id(parameter))
                    yield number, (each._parameters, name, parameter, True)
            for name, buffer in each._buffers.items():
                if buffer is not None and not buffer.requires_grad:
                    yield number, (each._buffers, name, buffer, False)


def _is_movable(tensor: torch.Tensor) -> bool:
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and tensor.numel() > 0
        and code_of(tensor.dtype) is not None
        and not tensor.is_conj()
        and not tensor.is_neg()
        and _is_dense(tensor)
    )


def _is_dense(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor fills a stretch of memory without holes or overlaps, in whatever order."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def _stretches(seats: list[_Seated]) -> list[_Memory]:
    memories: list[_Memory] = []
    for seat in sorted(seats, key=lambda seat: _begin(seat[2])):
        begin = _begin(seat[2])
        end = begin + seat[2].nbytes
        if memories and begin < memories[-1].end:
            memories[-1].end = max(end, memories[-1].end)
            memories[-1].seats.append(seat)
        else:
            memories.append(_Memory(begin, end, [seat]))
    return memories


def _can_go(memory: _Memory, dtype: torch.dtype | None) -> bool:
    if memory.alike:
        own = code_of(memory.seats[0][2].dtype)
        wanted = _cast(own, dtype)
        return wanted is None or _core.is_cast_supported(str(own), wanted)
    # As bytes: each tensor has to be aligned in them, and none can be cast.
    tensors = [seat[2] for seat in memory.seats]
    aligned = all((_begin(tensor) - memory.begin) % tensor.itemsize == 0 for tensor in tensors)
    return aligned and all(_cast(code_of(tensor.dtype), dtype) is None for tensor in tensors)


def _cast(own: str | None, dtype: torch.dtype | None) -> str | None:
    """Return the code to cast to, or None where the tensor keeps its dtype."""
    if dtype is None or own not in FLOATING_POINT:
        return None
    code = code_of(dtype)
    return None if code == own else str(code)


def _request(memories: list[_Memory], device: torch.device, dtype: torch.dtype | None) -> _core.SegmentRequest:
    described = []
    casts = {}
    for number, memory in enumerate(memories):
        first = memory.seats[0][2]
        address = first.untyped_storage().data_ptr() + memory.begin
        name, nbytes = str(number), memory.end - memory.begin
        if memory.alike:
            code = str(code_of(first.dtype))
            shape = list(first.shape)
            if code == "F4":  # two elements a byte: torch counts the pairs
                shape[-1] *= 2
            described.append((name, code, shape, address, nbytes))
            if (wanted := _cast(code, dtype)) is not None:
                casts[name] = wanted
        else:
            described.append((name, "U8", [nbytes], address, nbytes))
    owner = [seat[2].detach() for memory in memories for seat in memory.seats]
    return engine.request(_core.Checkpoint.from_memory(described, owner), device, tensor_dtypes=casts)


def _place(memory: _Memory, arrived: torch.Tensor) -> None:
    alike = memory.alike  # asked once: placing the first changes what it looks at
    for store, name, tensor, is_parameter in memory.seats:
        value = arrived
        if not alike:
            offset = (_begin(tensor) - memory.begin) // tensor.itemsize
            value = torch.empty(0, dtype=tensor.dtype, device=arrived.device)
            value.set_(arrived.untyped_storage(), offset, tensor.shape, tensor.stride())
        if is_parameter:
            tensor.data = value
        else:
            store[name] = value
