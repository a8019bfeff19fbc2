"""What will be imported, brought into the page cache by threads of the core while Python imports the first of it.

    import        torch: open, wait, read, execute | ...    thousands of files, one after the other
    the core      [ torch | numpy | ... | diffusers ]       in the same order, many at a time, if they are not there

A container that has just been started has none of it in memory. Whether there is anything to do the core finds out by
itself, from a few files; with all of it there that is all it does.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Iterator, Sequence

from .. import _core, forked, options
from .imported_folders import FOLDERS

logger = logging.getLogger("warpload")

# Of a file: in torch's largest library the code that runs while it is imported lies in the first quarter.
_MOST_OF_FILE = 112 * 2**20

Request = tuple[str, str, str | None]  # see ``_core.FolderReader``

_lock = forked.Lock()
_begun: list[_core.FolderReader] = []
_ended: list[_core.FolderReader] = []  # kept: letting go of one waits for what its threads are in the midst of


def begin() -> None:
    """Have what a pipeline's start imports read ahead, once a process, unless it is imported already.

    Raises:
        InvalidArgumentError: the environment asks for what does not exist.
    """
    if "diffusers" in sys.modules or _begun or _ended or not options.current().imports_ahead:
        return
    with _lock:
        if not _begun:
            _begun.append(_core.FolderReader(list(requests(sys.path)), most_of_file=_MOST_OF_FILE))


def end() -> None:
    """Read nothing more ahead: what was wanted is imported."""
    with _lock:
        for reader in _begun:
            reader.stop()
            logger.debug("read ahead of imports: %d files, %d bytes", reader.files, reader.bytes)
        _ended.extend(_begun)
        _begun.clear()


def requests(path: Sequence[str]) -> Iterator[Request]:
    """Return what is to be read, as the core understands it.

    Args:
        path: where packages are looked for, as ``sys.path``.
    """
    roots: dict[str, str | None] = {}
    for entry in FOLDERS:
        package, _, below = entry.partition("/")
        name = "torch" if "*" in package else package  # what is beside the packages is found beside torch
        if name not in roots:
            roots[name] = next((each for each in path if os.path.isdir(os.path.join(each, name))), None)
        root = roots[name]
        if root is None or (below.startswith("lib/") and f"{package}._C" in sys.modules):
            continue  # not installed, or mapped already
        yield _files(root, entry) if "*" in entry else _compiled(os.path.join(root, entry))


def _files(root: str, entry: str) -> Request:
    """Return an entry for files: ``folder/*ending``, or ``folder/*ending/*ending`` for those below its subfolders."""
    folder, _, files = entry.rpartition("/")
    above, _, subfolders = folder.rpartition("/")
    if "*" in subfolders:
        return os.path.join(root, above), files.partition("*")[2], subfolders.partition("*")[2]
    return os.path.join(root, folder), files.partition("*")[2], None


def _compiled(folder: str) -> Request:
    optimised = f".opt-{sys.flags.optimize}" if sys.flags.optimize else ""
    suffix = f".{sys.implementation.cache_tag}{optimised}.pyc"
    if sys.pycache_prefix is not None:
        return os.path.join(sys.pycache_prefix, os.path.abspath(folder).lstrip(os.sep)), suffix, None
    return os.path.join(folder, "__pycache__"), suffix, None


@forked.anew_in_child
def _start_anew() -> None:
    _begun.clear()
    _ended.clear()


@atexit.register
def _stop() -> None:
    """No thread of the core's is to read on while the process ends."""
    end()
    _ended.clear()
