"""The errors that warpload raises: one family, each also what callers of the libraries that it stands in for catch.

Every error keeps what it is about as attributes: ``path``, ``tensor``, ``byte_range`` (``(begin, end)`` in the file, or
``None``), ``reason``, ``driver_error`` (the CUDA driver's code, or 0) and ``cure``; absent parts are empty. ``str()``
is the whole sentence. All of them survive ``pickle`` and ``copy``.

What is raised may be a narrower class than the public ones, and a builtin or another library's error as well:

    a missing file                                        IoError              FileNotFoundError
    a bad file, in ``load_file``, ``safe_open`` and
      from_pretrained of transformers                     FormatError          safetensors.SafetensorError
    a bad file, in from_pretrained of diffusers           FormatError          OSError
    a wrong name or argument, in ``safe_open``            InvalidArgumentError safetensors.SafetensorError
    a device's memory, a device                           OutOfMemoryError     torch.OutOfMemoryError
                                                          DeviceError          torch.AcceleratorError
"""

from __future__ import annotations

import contextlib
import errno as errno_codes
import importlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

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

    def __reduce__(self) -> tuple[Any, ...]:
        """Let pickle and copy keep everything; an ``OSError`` by itself loses a file name that was set later."""
        state = dict(self.__dict__)
        if isinstance(self, OSError):
            state |= {name: value for name in _OS_FIELDS if (value := getattr(self, name)) is not None}
        return type(self), self.args, state


_OS_FIELDS = ("errno", "strerror", "filename", "filename2")


class FormatError(WarploadError, ValueError):
    """The bytes of a file break the rules of their format, or torch has no tensor for what they are."""


class IoError(WarploadError, OSError):
    """The operating system refused an operation, or a file changed while it was read.

    ``errno`` and ``filename`` are set as for every ``OSError``. The error about a missing file is also a
    ``FileNotFoundError``; those about files that may not be read, or are directories, are Python's own for that, too.
    """


class OutOfMemoryError(WarploadError, MemoryError):
    """The arena that a load needs could not be reserved; on a device it is a ``torch.OutOfMemoryError`` as well."""


class DeviceError(WarploadError, RuntimeError):
    """A device driver reported an error; where torch is imported it is a ``torch.AcceleratorError`` as well."""


class MissingDeviceError(DeviceError, NotImplementedError, AssertionError):
    """A device is asked for that is not there; the error is also what torch and diffusers raise for that."""


class Cancelled(WarploadError):  # noqa: N818 - a request that was honoured, not a failure
    """The load was cancelled before its end."""


class InvalidArgumentError(WarploadError, ValueError):
    """An argument of a call, or a variable of the environment, has a value that it cannot have."""


# -- narrower classes: pickle, and torch's DataLoader, find each under its name in this module ------------------------


class FileNotFoundIoError(IoError, FileNotFoundError):
    """A file is missing."""


class IsADirectoryIoError(IoError, IsADirectoryError):
    """A directory is where a file should be."""


class NotADirectoryIoError(IoError, NotADirectoryError):
    """A part of a path is no directory."""


class PermissionIoError(IoError, PermissionError):
    """A file may not be read."""


class ArgumentTypeError(InvalidArgumentError, TypeError):
    """An argument is of a wrong type."""


class ArgumentEncodingError(InvalidArgumentError, UnicodeEncodeError):
    """A path or a name has characters that it cannot have."""


class FormatOSError(FormatError, OSError):
    """A file is not valid; the error is also an ``OSError``, which callers of diffusers catch."""


_IO_CLASSES: dict[int, type[IoError]] = {
    errno_codes.ENOENT: FileNotFoundIoError,
    errno_codes.EISDIR: IsADirectoryIoError,
    errno_codes.ENOTDIR: NotADirectoryIoError,
    errno_codes.EACCES: PermissionIoError,
    errno_codes.EPERM: PermissionIoError,
}

# Name -> our class, and the library's. They are made when they are first needed, so that nothing is imported for them.
_FOREIGN: dict[str, tuple[type[WarploadError], str, str]] = {
    "SafetensorFormatError": (FormatError, "safetensors", "SafetensorError"),
    "SafetensorArgumentError": (InvalidArgumentError, "safetensors", "SafetensorError"),
    "TorchOutOfMemoryError": (OutOfMemoryError, "torch", "OutOfMemoryError"),
    "TorchDeviceError": (DeviceError, "torch", "AcceleratorError"),
}


def __getattr__(name: str) -> Any:
    if name not in _FOREIGN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    ours, module, theirs = _FOREIGN[name]
    try:
        library = importlib.import_module(module)
    except ImportError:
        return ours  # who lacks the library does not catch its errors
    if not hasattr(library, theirs):
        return ours
    made = type(name, (ours, getattr(library, theirs)), {"__module__": __name__, "__doc__": ours.__doc__})
    return globals().setdefault(name, made)  # one class, whichever thread comes first


def device_out_of_memory() -> type[OutOfMemoryError]:
    """Return the class of errors about a lack of a device's memory, which are errors of torch's own class too."""
    cls: type[OutOfMemoryError] = _class("TorchOutOfMemoryError")
    return cls


def _class(name: str) -> Any:
    return globals()[name] if name in globals() else __getattr__(name)


# Whose errors the callers of this thread catch.
_stock: ContextVar[str] = ContextVar("warpload_stock_errors", default="")

_AS_STOCK = {
    ("FormatError", "diffusers"): "FormatOSError",
    ("FormatError", "transformers"): "SafetensorFormatError",
    ("FormatError", "safetensors"): "SafetensorFormatError",
    ("InvalidArgumentError", "safetensors"): "SafetensorArgumentError",
}


@contextlib.contextmanager
def caught_as_from(library: str) -> Iterator[None]:
    """Let the errors that are made inside the block be caught as those of a library, too.

    Args:
        library: ``"diffusers"``, ``"transformers"`` or ``"safetensors"``: whose function ours stands in for.
    """
    token = _stock.set(library)
    try:
        yield
    finally:
        _stock.reset(token)


def _class_for(kind: str, system_error: int, driver_error: int) -> Any:
    """Return the narrowest class for an error of that kind where it is raised."""
    if kind == "IoError":
        return _IO_CLASSES.get(system_error, IoError)
    if kind == "DeviceError" or (kind == "OutOfMemoryError" and driver_error):
        # Nobody catches torch's errors before there is torch.
        return _class(f"Torch{kind}") if "torch" in sys.modules else globals()[kind]
    return _class(_AS_STOCK.get((kind, _stock.get()), kind))


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
    """Make the exception for an error of the core's; the extension module calls this.

    Args:
        kind: the public class's name.
        message: the whole sentence.
        reason: what is wrong, in a few words.
        path: the file, or the empty string.
        tensor: the tensor's name, or the empty string.
        byte_range: where in the file, as ``(begin, end)``, or None.
        system_error: the ``errno`` of a failed system call, or 0.
        driver_error: the CUDA driver's code, or 0.
        cure: what the user can do about it, or the empty string.

    Returns:
        The exception, of the narrowest class for the caller of this thread.
    """
    cls = _class_for(kind, system_error, driver_error)
    arguments = (system_error, reason, path or None) if kind == "IoError" and system_error else (message,)
    error: WarploadError = cls(*arguments)
    error.message, error.reason, error.path, error.tensor = message, reason, path, tensor
    error.byte_range, error.driver_error, error.cure = byte_range, driver_error, cure
    if isinstance(error, OSError) and error.filename is None and path:
        error.filename = path
    return error


def make(
    kind: str,
    reason: str,
    *,
    path: str = "",
    tensor: str = "",
    byte_range: tuple[int, int] | None = None,
    cure: str = "",
) -> WarploadError:
    """Make an error that Python's part found, worded as the core words its own.

    Args:
        kind: the public class's name.
        reason: what is wrong, in a few words.
        path: the file.
        tensor: the tensor's name.
        byte_range: where in the file, as ``(begin, end)``.
        cure: what the user can do about it.

    Returns:
        The exception, of the narrowest class for the caller of this thread.
    """
    parts = [path, f"tensor '{tensor}'" if tensor else ""]
    parts += [f"bytes [{byte_range[0]}, {byte_range[1]})" if byte_range else "", reason]
    message = ": ".join(filter(None, parts)) + (f" ({cure})" if cure else "")
    return build_error(kind, message, reason, path, tensor, byte_range, 0, 0, cure)
