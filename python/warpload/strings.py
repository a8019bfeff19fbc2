"""Paths and names from callers, checked before the core sees them.

Each refusal is one of ours, and also what stock (the safetensors package, ``open``) raises for the same, so that
whoever catches that catches ours.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import ArgumentEncodingError, ArgumentTypeError, InvalidArgumentError, IoError, WarploadError, build_error


def checked_path(path: Any) -> Path:
    """Return a path that the core can open or fail to open.

    What a path object's own ``__fspath__`` raises passes through.

    Raises:
        InvalidArgumentError: the value is no path, or has characters that no file's name can have; the error is also a
            ``TypeError`` or a ``UnicodeEncodeError``.
        IoError: the path is empty or has a NUL, so that there is no such file; the error is a ``FileNotFoundError``.
    """
    if not isinstance(path, str | os.PathLike):
        raise wrong_type(f"a path is a str or an os.PathLike, not {type(path).__name__}")
    text = path.__fspath__() if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise wrong_type(f"{type(path).__name__}.__fspath__() returned {type(text).__name__}, not str")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise _unencodable(error, f"the path {text!a} has characters that no file's name can have") from None
    if not text or "\0" in text:
        raise _no_such_file(text)
    return Path(text)


def shown(text: str) -> str:
    """Return a name that somebody else chose without what would steer a terminal, or end a line."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def check_names(names: Iterable[Any]) -> None:
    """Refuse names that no tensor can have: files hold them as UTF-8.

    Raises:
        InvalidArgumentError: a name is no string, or cannot be encoded. The error is also a ``TypeError``, or a
            ``UnicodeEncodeError``, accordingly.
    """
    for name in names:
        if not isinstance(name, str):
            raise wrong_type(f"a tensor's name is a str, not {type(name).__name__}")
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise _unencodable(error, f"no tensor can be called {name!a}") from None


def wrong_type(message: str) -> InvalidArgumentError:
    """Return the error about a value of a wrong type, which is a ``TypeError`` as well."""
    return _told(ArgumentTypeError(message), message)


def _unencodable(found: UnicodeEncodeError, message: str) -> InvalidArgumentError:
    error = ArgumentEncodingError(found.encoding, found.object, found.start, found.end, found.reason)
    return _told(error, message)


def _no_such_file(path: str) -> WarploadError:
    reason = "an empty path names no file" if not path else "a path with a NUL names no file"
    message = f"{path!a}: {reason}"
    error = build_error("IoError", message, reason, path, "", None, errno.ENOENT, 0, "")
    assert isinstance(error, IoError)
    error.filename = path
    return error


def _told(error: InvalidArgumentError, message: str) -> InvalidArgumentError:
    error.message = error.reason = message
    return error
