"""Safetensors files as torch tensors: what ``safetensors.torch.load_file`` and ``safetensors.safe_open`` do."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _core, devices, engine, strings
from .dtypes import code_of
from .errors import InvalidArgumentError
from .options import LoadOptions

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

Device = "str | int | torch.device"


def _is_cpu(device: Any) -> bool:
    import torch

    return not isinstance(device, int) and torch.device(device).type == "cpu"


def load_file(
    filename: engine.StrPath | Sequence[engine.StrPath],
    device: str | int | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    *,
    disable_mmap: bool = False,
    options: LoadOptions | None = None,
) -> dict[str, torch.Tensor]:
    """Load a checkpoint's tensors.

    On the CPU a tensor whose dtype stays as it is becomes a view of a private mapping of its file: nothing is read
    before it is used, and writing to it never changes the file. On a GPU all tensors lie in one allocation of torch's,
    which is given back with the last of them. With ``dtype`` the floating-point tensors are cast on their way,
    bit-identical to ``tensor.to(dtype)`` on the CPU; integer and bool tensors are never cast.

    Args:
        filename: a ``.safetensors`` file, several of them, or a ``.safetensors.index.json``.
        device: where the tensors go. Devices other than the CPU and CUDA's are reached by ``Tensor.to``.
        dtype: the dtype of all floating-point tensors; None keeps each tensor's own.
        disable_mmap: copy the bytes instead of mapping the file.
        options: how to load; by default those of the block that this is called in, or the environment's.

    Returns:
        The tensors by name, in the order of their bytes in the file; each owns a storage of exactly its size.

    An index that says the wrong shard, or leaves a tensor out, or has a stale copy in a shard before the one that it
    names, is followed with a warning; see docs/compatibility.md.

    Raises:
        FormatError: the file is not valid, or the index and its shards leave in doubt which tensors are meant; says
            where and why.
        IoError: the file is missing, unreadable, or changed while it was read.
        OutOfMemoryError: the arena for the tensors could not be reserved; on a GPU also a ``torch.OutOfMemoryError``.
        DeviceError: the GPU's driver reported an error.
    """
    checkpoint = engine.open_checkpoint(filename)
    engine.tell_of_a_wrong_index(checkpoint)
    with options or contextlib.nullcontext():
        return load_checkpoint(checkpoint, device, dtype, disable_mmap=disable_mmap)


def load_checkpoint(
    checkpoint: _core.Checkpoint,
    device: str | int | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    *,
    disable_mmap: bool = False,
) -> dict[str, torch.Tensor]:
    """Load the tensors of an open checkpoint; for the rest see ``load_file``."""
    code = None if dtype is None else _code(dtype)
    place = devices.arena_device(device)
    request = engine.request(checkpoint, place, dtype=code, zero_copy=not disable_mmap)
    (tensors,) = engine.load([request], [place])
    if place is not None or _is_cpu(device):
        return tensors
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _code(dtype: torch.dtype) -> str:
    code = code_of(dtype)
    if code is None:
        raise InvalidArgumentError(f"safetensors has no code for {dtype}")
    return code


class TensorSlice:
    """A tensor of an open file that is read where it is indexed."""

    def __init__(self, tensor: torch.Tensor, code: str, shape: tuple[int, ...]) -> None:
        self._tensor, self._code, self._shape = tensor, code, shape

    def get_shape(self) -> list[int]:
        """Return the shape as the header gives it."""
        return list(self._shape)

    def get_dtype(self) -> str:
        """Return the format's code for the dtype, such as ``"F32"``."""
        return self._code

    def __getitem__(self, index: Any) -> torch.Tensor:
        """Return the indexed part, in a storage of its own."""
        part = self._tensor[index]
        return part.clone() if part.numel() != self._tensor.numel() else part


class TorchFile:
    """An open checkpoint of one file; what ``safe_open(..., framework="pt")`` returns."""

    def __init__(self, filename: engine.StrPath, device: str | int | torch.device) -> None:
        self._checkpoint: _core.Checkpoint | None = engine.open_checkpoint(filename)
        self._device = device
        self._described = {name: (code, shape) for name, code, shape, _ in self._checkpoint.tensors()}
        self._views: dict[str, torch.Tensor] | None = None

    def __enter__(self) -> TorchFile:
        return self

    @property
    def nbytes(self) -> int:
        """Return the bytes of all tensors."""
        return self._open().nbytes

    @property
    def oddities(self) -> list[str]:
        """Return what is odd about the file although it could be opened, a sentence each."""
        return [sentence for _, sentence in self._open().oddities]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file; tensors got from it stay valid."""
        self._checkpoint = None
        self._views = None

    def _open(self) -> _core.Checkpoint:
        if self._checkpoint is None:
            raise InvalidArgumentError("the file is closed")
        return self._checkpoint

    def keys(self) -> list[str]:
        """Return the tensors' names, sorted."""
        self._open()
        return sorted(self._described)

    def offset_keys(self) -> list[str]:
        """Return the tensors' names in the order of their bytes in the file."""
        self._open()
        return list(self._described)

    def metadata(self) -> dict[str, str] | None:
        """Return the free-form metadata, or None when the file has none."""
        return self._open().metadata()

    def get_tensor(self, name: str) -> torch.Tensor:
        """Return one tensor.

        Raises:
            InvalidArgumentError: the file has no tensor of that name.
        """
        tensor = self._view(name)
        return tensor if _is_cpu(self._device) else tensor.to(self._device)

    def get_tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors by name, in the order of their bytes in the file."""
        return {name: self.get_tensor(name) for name in self.offset_keys()}

    def get_slice(self, name: str) -> TensorSlice:
        """Return a tensor that is read where it is indexed.

        Raises:
            InvalidArgumentError: the file has no tensor of that name.
        """
        code, shape = self._describe(name)
        return TensorSlice(self._view(name), code, shape)

    def _describe(self, name: str) -> tuple[str, tuple[int, ...]]:
        self._open()
        strings.check_names([name])
        if name not in self._described:
            raise InvalidArgumentError(f"the file has no tensor '{name}'")
        return self._described[name]

    def _view(self, name: str) -> torch.Tensor:
        self._describe(name)
        if self._views is None:
            handle = engine.start([engine.request(self._open())])
            self._views = engine.torch_tensors(handle, 0)
            handle.wait()  # misaligned tensors are copied
        return self._views[name]


def safe_open(
    filename: engine.StrPath, framework: str, device: str | int | torch.device = "cpu", **options: Any
) -> Any:
    """Open a safetensors file for reading tensor by tensor, with safetensors' own signature.

    Args:
        filename: the file.
        framework: ``"pt"`` (or ``"torch"``, ``"pytorch"``) goes through the core; files for every other framework are
            opened by the safetensors package itself, which is logged.
        device: where tensors go.
        options: safetensors' further keyword arguments (``backend``), which have no meaning for the core.

    Raises:
        FormatError: the file is not valid.
        IoError: the file is missing or unreadable.
    """
    if framework in ("pt", "torch", "pytorch"):
        return TorchFile(filename, device)
    import safetensors

    logger.info("%s is opened by safetensors itself: framework %r is not torch", os.fspath(filename), framework)
    return safetensors.safe_open(filename, framework, device, **options)
