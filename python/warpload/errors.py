"""The errors that warpload raises: one family, each also a builtin's subclass, so that existing handlers catch it.

Every error keeps what it is about as attributes: ``path``, ``tensor``, ``byte_range`` (``(begin, end)`` in the file, or
``None``), ``reason``, ``driver_error`` (the CUDA driver's code, or 0) and ``cure``; absent parts are empty. ``str()``
is the whole sentence.
"""

from __future__ import annotations

import errno as errno_codes
import functools

__all__ = [
    "Cancelled",
    "DeviceError",
    "FormatError",
    "InvalidArgumentError",
    "IoError",
    "OutOfMemoryError",
    "WarploadError",
]


class WarploadError(Exception):
    """Base class of everything that the loader raises."""

    message: str = ""
    reason: str = ""
    path: str = ""
    tensor: str = ""
    byte_range: tuple[int, int] | None = None
    driver_error: int = 0
    cure: str = ""

    def __str__(self) -> str:
        """Return the whole sentence: file, tensor, byte range, reason and cure."""
        return self.message or super().__str__()


class FormatError(WarploadError, ValueError):
    """The bytes of a file break the rules of their format."""


class IoError(WarploadError, OSError):
    """The operating system refused an operation, or a file changed while it was read.

    ``errno`` and ``filename`` are set as for every ``OSError``; a missing file is also a ``FileNotFoundError``, and so
    on.
    """


class OutOfMemoryError(WarploadError, MemoryError):
    """The arena that a load needs could not be reserved; on a device it is a ``torch.OutOfMemoryError`` as well."""


class DeviceError(WarploadError, RuntimeError):
    """A device driver reported an error."""


class MissingDeviceError(DeviceError, NotImplementedError, AssertionError):
    """There is no such device here; also what torch, and diffusers for a device map, raise in its place."""


class Cancelled(WarploadError):  # noqa: N818 - a request that was honoured, not a failure
    """The load was cancelled before its end."""


class InvalidArgumentError(WarploadError, ValueError):
    """The call itself makes no sense."""


@functools.cache
def device_out_of_memory() -> type[OutOfMemoryError]:
    """Return the class for a device's memory, which is torch's own class too."""
    import torch

    names = {"__module__": __name__, "__doc__": OutOfMemoryError.__doc__}
    return type("OutOfMemoryError", (OutOfMemoryError, torch.OutOfMemoryError), names)


def _io_subclass(builtin: type[OSError]) -> type[IoError]:
    return type("IoError", (IoError, builtin), {"__module__": __name__, "__doc__": IoError.__doc__})


_IO_CLASSES: dict[int, type[IoError]] = {
    errno_codes.ENOENT: _io_subclass(FileNotFoundError),
    errno_codes.EISDIR: _io_subclass(IsADirectoryError),
    errno_codes.ENOTDIR: _io_subclass(NotADirectoryError),
    errno_codes.EACCES: _io_subclass(PermissionError),
    errno_codes.EPERM: _io_subclass(PermissionError),
}

_CLASSES: dict[str, type[WarploadError]] = {
    name: globals()[name] for name in __all__ if issubclass(globals()[name], WarploadError)
}


def build_error(
    kind: str,
    message: str,
    reason: str,
    path: str,
    tensor: str,
    byte_range: tuple[int, int] | None,
    system_error: int,
    driver_error: int,
    cure: str,
) -> WarploadError:
    """Make the exception for a native error; called by the extension module."""
    error: WarploadError
    if kind == "IoError" and system_error:
        error = _IO_CLASSES.get(system_error, IoError)(system_error, reason, path or None)
    else:
        error = _CLASSES[kind](message)
    error.message, error.reason, error.path, error.tensor = message, reason, path, tensor
    error.byte_range, error.driver_error, error.cure = byte_range, driver_error, cure
    if isinstance(error, OSError) and error.filename is None and path:
        error.filename = path
    return error
