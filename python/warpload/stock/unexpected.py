"""Exceptions that nobody foresaw: where our own code meets a library that is not as we know it, stock may do better.

Errors of the files, the memory, a device and the system are the caller's, and so is what the library's own code answers
once it has been given all tensors: unless it trips over what it was given.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator

from ..errors import WarploadError
from .refusal import NotNativeError

# What a newer library's other names, signatures and types look like to code that does not know them yet.
_OF_CODE = (AttributeError, ImportError, KeyError, NameError, NotImplementedError, TypeError)
_PACKAGE = __name__.partition(".")[0]


def is_the_callers(error: BaseException) -> bool:
    """Tell whether an error is of the files, the memory, a device or the system, or was foreseen.

    A warning that the caller's filters make an exception is what he asks for.
    """
    import torch

    of_device = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))
    return isinstance(error, (NotNativeError, WarploadError, MemoryError, OSError, Warning, *of_device))


def told(error: BaseException) -> str:
    """Return what the log and the report say of an exception that nobody foresaw."""
    return f"unexpected {type(error).__name__}: {error}"


@contextlib.contextmanager
def refused(answering: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Leave a model to stock where the block raises what nobody foresaw.

    Args:
        answering: tells whether the library is the one that speaks: of its exceptions only those count that look like
            trouble with our own code.

    Raises:
        NotNativeError: in place of such an exception.
    """
    try:
        yield
    except Exception as error:
        if is_the_callers(error) or (answering() and not (isinstance(error, _OF_CODE) or _is_ours(error))):
            raise
        raise NotNativeError(told(error), unexpected=True) from error


def _is_ours(error: Exception) -> bool:
    """Tell whether our own code raised an exception, rather than the library's."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).partition(".")[0] == _PACKAGE
