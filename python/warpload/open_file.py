"""Safetensors files read tensor by tensor: what ``safetensors.safe_open`` does.

The surface is that of safetensors 0.8, with 0.9's ``get_tensor_meta``. Beyond it ``TorchFile`` has the properties
``nbytes`` and ``oddities``.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Set
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from . import _core, devices, engine, errors, strings
from .context import began
from .report import LoadReport
from .stock.torch_modes import default_device, interposed

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_TORCH_NAMES = ("pt", "torch", "pytorch")
_BACKENDS = ("mmap", "pread")

# A load, and the segment of it that holds a file's tensors, perhaps with those of other files.
Began: TypeAlias = "tuple[_core.LoadHandle, int]"


def check_backend(backend: str) -> str:
    """Return the backend, if safetensors has one of that name.

    Raises:
        InvalidArgumentError: safetensors has no backend of that name.
        TypeError: the name is no string.
    """
    if not isinstance(backend, str):
        raise TypeError(f"argument 'backend': {type(backend).__name__!r} object is not an instance of 'str'")
    if backend not in _BACKENDS:
        raise errors.make("InvalidArgumentError", f'backend "{backend}" is invalid', cure='"mmap" or "pread"')
    return backend


@dataclass(frozen=True)
class TensorMeta:
    """A tensor's entry in the header.

    Attributes:
        dtype: the format's code, such as ``"F32"``.
        shape: elements along each axis.
        data_offsets: ``(begin, end)`` of its bytes, from where the header ends.
    """

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


class _Source:
    """Where the tensors of an open file come from; slices keep it when the file is closed.

    With ``"mmap"`` one load has views of a private mapping (and copies of what lies misaligned in it), handed out anew
    with each call: what is written through one is seen through the next, as in safetensors. With ``"pread"`` each call
    reads. A tensor that torch cannot represent is no one's concern but that of whoever asks for it.
    """

    def __init__(
        self, checkpoint: _core.Checkpoint, device: devices.Device, backend: str, began: Began | None = None
    ) -> None:
        self.checkpoint, self._device, self._maps = checkpoint, device, backend == "mmap"
        self._began = began
        self._starting = threading.Lock()

    def tensor(self, name: str) -> torch.Tensor:
        """Return a tensor on the CPU: an object of its own."""
        if self._maps:
            return engine.torch_tensor(*self._mapped(), name, self.checkpoint)
        return self._read({name})[name]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors on the CPU, as ``tensor`` does, in the order of their bytes in the file."""
        if not self._maps:
            return self._read(None)
        names = [name for name, *_ in self.checkpoint.tensors()]
        found = engine.torch_tensors(*self._mapped(), self.checkpoint)
        return {name: found[name] for name in names}

    def _read(self, names: Set[str] | None) -> dict[str, torch.Tensor]:
        request = engine.request(self.checkpoint, only=names, zero_copy=False)
        (tensors,) = engine.load([request], [None])
        return tensors

    def bring(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor on the device on which the file's tensors are wanted."""
        return devices.bring(tensor, self._device)

    def _mapped(self) -> Began:
        with self._starting:  # nobody is to see tensors before the bytes of the misaligned ones are there
            if self._began is None:
                handle = engine.follow(engine.start([engine.request(self.checkpoint)]), {0: ""})
                handle.wait()
                self._began = handle, 0
            return self._began


class TensorSlice:
    """A tensor of an open file that is read where it is indexed, by torch's rules for indexing."""

    def __init__(self, source: _Source, name: str, code: str, shape: tuple[int, ...]) -> None:
        self._source, self._name, self._code, self._shape = source, name, code, shape

    def get_shape(self) -> list[int]:
        """Return the shape as the header gives it."""
        return list(self._shape)

    def get_dtype(self) -> str:
        """Return the format's code for the dtype, such as ``"F32"``."""
        return self._code

    def __getitem__(self, index: Any) -> torch.Tensor:
        """Return the indexed part, in a storage of its own unless it is the whole; on torch's default device if any.

        Raises:
            IndexError, TypeError: as torch does for such an index.
            FormatError: torch cannot represent the tensor.
        """
        with errors.caught_as_from("safetensors"):
            whole = self._source.tensor(self._name)
            part = whole[index]
            part = part.clone() if part.numel() != whole.numel() else part
            device = default_device()
            return self._source.bring(part) if device is None else part.to(device)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied, as safetensors' does."""
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")


class TorchFile:
    """An open checkpoint of one file; what ``safe_open(..., framework="pt")`` returns.

    Its errors are also safetensors' ``SafetensorError``, except those about files and devices.

    Args:
        filename: the file.
        device: where tensors go.
        backend: ``"mmap"`` or ``"pread"``, as for ``safe_open``.
        began: a load that has mapped the file already, and whose bytes have arrived.
    """

    def __init__(
        self,
        filename: engine.StrPath,
        device: str | int | torch.device | None = "cpu",
        *,
        backend: str = "mmap",
        began: Began | None = None,
    ) -> None:
        with errors.caught_as_from("safetensors"):
            check_backend(backend)
            checkpoint = engine.open_checkpoint(strings.checked_path(filename))
            wanted = devices.checked(device)
            devices.require(wanted)
        self._source: _Source | None = _Source(checkpoint, wanted, backend, began)
        self._path = str(filename)
        self._described = {name: (code, shape) for name, code, shape, _ in checkpoint.tensors()}

    def __enter__(self) -> TorchFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file; tensors got from it stay valid."""
        self._source = None

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied, as safetensors' does."""
        raise TypeError(f"cannot pickle {type(self).__name__!r} object (send the file's name)")

    @property
    def nbytes(self) -> int:
        """Return the bytes of all tensors."""
        return self._open().checkpoint.nbytes

    @property
    def oddities(self) -> list[str]:
        """Return what is odd about the file although it could be opened, a sentence each."""
        return [sentence for _, sentence in self._open().checkpoint.oddities]

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
        return self._open().checkpoint.metadata()

    def get_tensor(self, name: str) -> torch.Tensor:
        """Return one tensor, as a new object each time.

        Args:
            name: the tensor's name.

        Raises:
            InvalidArgumentError: the file has no tensor of that name, or is closed.
            FormatError: torch cannot represent this tensor.
        """
        with errors.caught_as_from("safetensors"):
            source, _, _ = self._describe(name)
            return source.bring(source.tensor(name))

    def get_tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors by name, in the order of their bytes in the file.

        Raises:
            InvalidArgumentError: the file is closed.
            FormatError: torch cannot represent one of the tensors.
        """
        with errors.caught_as_from("safetensors"):
            source = self._open()
            return {name: source.bring(tensor) for name, tensor in source.tensors().items()}

    def get_slice(self, name: str) -> TensorSlice:
        """Return a tensor that is read where it is indexed.

        Args:
            name: the tensor's name.

        Raises:
            InvalidArgumentError: the file has no tensor of that name, or is closed.
        """
        source, code, shape = self._describe(name)
        return TensorSlice(source, name, code, shape)

    def get_tensor_meta(self, name: str) -> TensorMeta:
        """Return a tensor's entry in the header; nothing is read.

        Args:
            name: the tensor's name.

        Raises:
            InvalidArgumentError: the file has no tensor of that name, or is closed.
        """
        source, code, shape = self._describe(name)
        path, begin, end = source.checkpoint.locate(name)
        located = map(source.checkpoint.locate, self._described)
        first = min(each[1] for each in located if each[0] == path)  # where the header ends
        return TensorMeta(code, list(shape), (begin - first, end - first))

    def _open(self) -> _Source:
        if self._source is None:
            raise self._wrong("the file is closed")
        return self._source

    def _describe(self, name: str) -> tuple[_Source, str, tuple[int, ...]]:
        strings.check_names([name])
        source = self._open()
        if name not in self._described:
            raise self._wrong("the file has no such tensor", name)
        return source, *self._described[name]

    def _wrong(self, reason: str, tensor: str = "") -> errors.WarploadError:
        with errors.caught_as_from("safetensors"):
            return errors.make("InvalidArgumentError", reason, path=self._path, tensor=tensor)


def safe_open(
    filename: engine.StrPath,
    framework: str,
    device: str | int | torch.device | None = "cpu",
    *,
    backend: str = "mmap",
) -> Any:
    """Open a safetensors file for reading tensor by tensor, with safetensors' own signature.

    Args:
        filename: the file.
        framework: ``"pt"`` (or ``"torch"``, ``"pytorch"``) goes through the core; files for every other framework are
            opened by the safetensors package itself, which is logged.
        device: where tensors go.
        backend: ``"mmap"``, whose tensors are views of a private mapping of the file, or ``"pread"``, which reads each
            into memory of its own.

    Returns:
        The open file: a context that closes it, with safetensors' methods.

    Raises:
        FormatError: the file is not valid; the error is also a ``safetensors.SafetensorError``.
        IoError: the file is missing or unreadable.
        InvalidArgumentError: there is no such backend or device; the error is also a ``safetensors.SafetensorError``.
        DeviceError: there is no such GPU.
    """
    with began(LoadReport(str(filename), kind="file")) as load, load.report.stage("open"):
        report = load.report
        opened, how = _open(filename, framework, device, backend)
        report.components[os.path.basename(report.source)] = how
        report.bytes = opened.nbytes if isinstance(opened, TorchFile) else 0
        return opened


def _open(filename: engine.StrPath, framework: str, device: Any, backend: str) -> tuple[Any, str]:
    """Return the open file, and who opened it."""
    if framework not in _TORCH_NAMES:
        reason = f"framework {framework!r} is not torch"
    elif (mode := interposed()) is not None:
        reason = mode
    else:
        return TorchFile(filename, device, backend=backend), "native"
    import safetensors

    opened = safetensors.safe_open(filename, framework, device, backend=backend)
    logger.info("%s is opened by safetensors itself: %s", os.fspath(filename), reason)
    return opened, f"stock: {reason}"
