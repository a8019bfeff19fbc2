"""Whole safetensors files as torch tensors: what ``safetensors.torch.load_file`` does; GGUF files the same way."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from . import _core, context, devices, engine, errors, prefetched
from .context import began
from .dtypes import FLOATING_POINT, as_dtype, code_of
from .open_file import check_backend
from .options import LoadOptions
from .report import LoadReport
from .stock import seam_check, torch_modes

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("warpload")


def load_file(
    filename: engine.StrPath | Sequence[engine.StrPath],
    device: str | int | torch.device | None = "cpu",
    dtype: torch.dtype | str | None = None,
    *,
    disable_mmap: bool = False,
    options: LoadOptions | None = None,
    backend: str = "mmap",
) -> dict[str, torch.Tensor]:
    """Load a checkpoint's tensors.

    On the CPU a tensor whose dtype stays as it is becomes a view of a private mapping of its file: nothing is read
    before it is used, and writing to it never changes the file. On a GPU all tensors lie in one allocation of torch's,
    which is released with the last of them.

    With ``dtype`` the floating-point tensors are cast on their way, bit-identical to ``tensor.to(dtype)`` on the CPU,
    whatever torch casts to: to integers and complex numbers too. Integer, bool and complex tensors are never cast.
    Casts that the core has not (from or to float8's and float4's rarer kinds; to anything but float16, bfloat16,
    float32 and float64) are torch's own, on the CPU, for those tensors only, which then have allocations of their own.
    What torch has not either (from or to float4, but for empty tensors) is refused.

    A GGUF file, which its first bytes tell whatever its name, gives its F32, F16, BF16, F64 and integer tensors in
    torch's dtypes. Its quantised tensors are uint8, a row a row of blocks, as in the file; with ``dtype`` they are
    dequantised on their way, bit-identical to the ``gguf`` package's ``dequantize`` followed by ``torch.Tensor.to``:
    Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL and IQ4_XS. A file with another type is refused with ``dtype``.

    An index that says the wrong shard, or leaves a tensor out, or has a stale copy in a shard before the one that it
    names, is followed with a warning; see docs/compatibility.md.

    Args:
        filename: a ``.safetensors`` or ``.gguf`` file, several of them, or a ``.safetensors.index.json``.
        device: where the tensors go. Devices other than the CPU and CUDA's are reached by ``Tensor.to``.
        dtype: the dtype of all floating-point and quantised tensors, as ``torch.float16``, ``"float16"`` or ``"F16"``;
            None keeps each tensor's own.
        disable_mmap: copy the bytes instead of mapping the file.
        options: how to load; by default those of the block that this is called in, or the environment's.
        backend: safetensors' word for whether bytes are mapped: ``"mmap"``, or ``"pread"`` to copy them.

    Returns:
        The tensors by name, in the order of their bytes in the file; each owns a storage of exactly its size.

    Raises:
        FormatError: the file is not valid, the index and its shards leave in doubt which tensors are meant, or torch
            cannot represent one of the tensors; says where and why. Also a ``safetensors.SafetensorError``.
        IoError: the file is missing, unreadable, or changed while it was read.
        InvalidArgumentError: no such dtype or device, or nobody here has a cast of a tensor to the dtype; names it.
        OutOfMemoryError: the arena for the tensors could not be reserved; on a GPU also a ``torch.OutOfMemoryError``.
        DeviceError: the GPU's driver reported an error, or the machine has no such device.
    """
    name = _name_of(filename)
    with (
        errors.caught_as_from("safetensors"),
        options or contextlib.nullcontext(),
        began(LoadReport(name, kind="file")) as load,
        load.report.stage("load"),
    ):
        report = load.report
        copies = check_backend(backend) == "pread" or disable_mmap
        if isinstance(filename, str | os.PathLike) and (mode := torch_modes.interposed()) is not None:
            report.components[os.path.basename(name)] = f"stock: {mode}"
            return _load_by_safetensors(filename, device, as_dtype(dtype), mode)
        checkpoint = engine.open_checkpoint(filename, gguf=True)  # before torch is imported: a bad file needs no torch
        engine.tell_of_a_wrong_index(checkpoint)
        tensors = load_checkpoint(checkpoint, device, dtype, copies=copies, files=paths_of(filename))
        report.components[os.path.basename(name)], report.bytes = "native", checkpoint.nbytes
        if dtype is not None or copies or not devices.is_cpu(devices.checked(device)):
            report.threads = engine.worker_count()  # else nobody works: asking would take longer
        return tensors


def paths_of(filename: engine.StrPath | Sequence[engine.StrPath]) -> list[Path]:
    """Return the files, or the index, as paths; none where they can be asked for only once."""
    if isinstance(filename, str | os.PathLike):
        return [Path(filename)]
    return [Path(each) for each in filename] if isinstance(filename, Sequence) else []


def _name_of(filename: engine.StrPath | Sequence[engine.StrPath]) -> str:
    """Return what the report calls the files."""
    several = isinstance(filename, Sequence) and not isinstance(filename, str | bytes)
    names = list(filename) if several else [filename]  # type: ignore[arg-type]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return str(names[0]) + more if names else ""


def _load_by_safetensors(
    filename: engine.StrPath, device: str | int | torch.device | None, dtype: torch.dtype | None, mode: str
) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file as load

    level = logging.WARNING if seam_check.is_whole("modes") else logging.INFO  # that it is not is said once
    logger.log(level, "%s is loaded by safetensors itself: %s", os.fspath(filename), mode)
    loaded: dict[str, torch.Tensor] = load(filename, "cpu" if device is None else device)
    return {
        name: tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        for name, tensor in loaded.items()
    }


def load_checkpoint(
    checkpoint: _core.Checkpoint,
    device: str | int | torch.device | None = "cpu",
    dtype: torch.dtype | str | None = None,
    *,
    copies: bool = False,
    files: Sequence[Path] = (),
) -> dict[str, torch.Tensor]:
    """Load the tensors of an open checkpoint by the rules of ``load_file``.

    Args:
        checkpoint: what to load.
        device: where the tensors go.
        dtype: the dtype of all floating-point tensors; None keeps each tensor's own.
        copies: whether the bytes are copied rather than mapped.
        files: what it was opened from, where it may have been prefetched.

    Raises:
        WarploadError: what ``load_file`` raises, but for the errors of opening the files.
    """
    wanted, target = as_dtype(dtype), devices.checked(device)
    devices.require(target)
    described = {name: (own, shape) for name, own, shape, _ in checkpoint.tensors()}
    for name, (own, shape) in described.items():
        engine.check_representable(name, own, shape, checkpoint, "safe_open gives the file's other tensors")
    code = None if wanted is None else code_of(wanted)
    only = None if wanted is None else natively_cast(checkpoint, code)
    others = set() if only is None else described.keys() - only
    cast = _cast_by_torch(checkpoint, others, wanted, copies)  # first: it may be refused
    arena_device = devices.arena_device(target)
    tensors = take_prefetched(files, code, arena_device, copies)
    if tensors is None:
        request = engine.request(checkpoint, arena_device, dtype=code, only=only, zero_copy=not copies)
        (tensors,) = engine.load([request], [arena_device])
    if arena_device is None:
        tensors = {name: devices.bring(tensor, target) for name, tensor in tensors.items()}
    tensors |= {name: devices.bring(tensor, target) for name, tensor in cast.items()}
    return {name: tensors[name] for name in described} if others else tensors


def take_prefetched(
    files: Sequence[Path], code: str | None, device: torch.device | None, copies: bool
) -> dict[str, torch.Tensor] | None:
    """Return the tensors of files that were prefetched as this load wants them, or None."""
    load = context.serving(os.fspath(files[0])) if files else None
    if load is None:
        return None
    wanted = prefetched.wanted("file", code, device, zero_copy=not copies)
    with prefetched.telling(load.report):
        taken = prefetched.take(files, wanted, load.report, files[0].name)
    if taken is None:
        return None
    engine.follow(taken.handle, {taken.segment: files[0].name}, taken=True)
    (tensors,) = engine.arrived(taken.handle, [(taken.segment, taken.opened)], [device])
    return tensors


def natively_cast(checkpoint: _core.Checkpoint, code: str | None) -> set[str] | None:
    """Return the names of the tensors that the core casts for a dtype, or leaves as they are; None where it is all.

    Args:
        checkpoint: what is loaded.
        code: the dtype that floating-point tensors are to have; None is one that no file can hold.
    """
    described, blocks = checkpoint.tensors(), checkpoint.blocks
    names = {name for name, own, _, _ in described if _is_native(own, blocks.get(name), code)}
    return None if len(names) == len(described) else names


def _is_native(own: str, blocks: tuple[str, int] | None, code: str | None) -> bool:
    """Tell whether the core does what a dtype asks of a tensor; only numbers with a point are asked anything."""
    if blocks is not None:
        return code is not None and _core.is_dequantization_supported(blocks[1], code)
    if own not in FLOATING_POINT or own == code:
        return True
    return code is not None and _core.is_cast_supported(own, code)


def _cast_by_torch(
    checkpoint: _core.Checkpoint, names: Set[str], wanted: torch.dtype | None, copies: bool
) -> dict[str, torch.Tensor]:
    """Return those tensors cast on the CPU by torch; quantised ones are float32 before."""
    if not names or wanted is None:
        return {}
    quantised = {name: kind for name, kind in checkpoint.blocks.items() if name in names}
    for name, (kind, number) in quantised.items():
        if not _core.is_dequantization_supported(number, "F32"):
            raise _no_cast(checkpoint, name, f"the core does not dequantise {kind}", _DEQUANTISE)
    request = engine.request(
        checkpoint, only=names, tensor_dtypes=dict.fromkeys(quantised, "F32"), zero_copy=not copies
    )
    (tensors,) = engine.load([request], [None])
    for name, tensor in tensors.items():
        try:
            tensors[name] = tensor.to(wanted)
        except RuntimeError as error:
            reason = f"neither the core nor torch casts {tensor.dtype} to {wanted}: {error}"
            raise _no_cast(checkpoint, name, reason, "load the file without a dtype") from error
    return tensors


_DEQUANTISE = "load the file without a dtype, and dequantise the tensor with the gguf package's dequantize()"


def _no_cast(checkpoint: _core.Checkpoint, name: str, reason: str, cure: str) -> errors.WarploadError:
    path, begin, end = checkpoint.locate(name)
    return errors.make("InvalidArgumentError", reason, path=str(path), tensor=name, byte_range=(begin, end), cure=cure)
