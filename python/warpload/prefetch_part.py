"""What a prefetch holds of one model, or of the files of one ``load_file``, and whether it is what a load wants."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import _core
from .devices import Place
from .stock.model_files import shards_of


@dataclass(frozen=True)
class Wanted:
    """What a load wants of the bytes of its files.

    Attributes:
        opened_as: ``"model"`` or ``"file"``: whose rules the files are opened by.
        code: the dtype of floating-point tensors, or None where each keeps its own.
        place: the device whose arena they go to, or None for the host's memory.
        zero_copy: whether tensors that need no cast may be views of their file.
        stream: the caller's current stream on the device.
    """

    opened_as: str
    code: str | None
    place: Place | None = None
    zero_copy: bool = True
    stream: int = 0

    def why_not(self, other: Wanted) -> str:
        """Say why what was prefetched for this is not what another wants, or return the empty string."""
        if self.opened_as != other.opened_as:
            return f"it was prefetched as a {self.opened_as}, and is loaded as a {other.opened_as}"
        if self.place != other.place:
            return f"it was prefetched to {_name(self.place)}, and is loaded to {_name(other.place)}"
        if self.code != other.code:
            return f"it was prefetched as {self.code or 'it is'}, and is loaded as {other.code or 'it is'}"
        if self.zero_copy != other.zero_copy:
            return "one of prefetch and load was called with disable_mmap"
        if self.stream != other.stream:  # the arena is memory of the default stream's
            return f"the current stream on {_name(self.place)} is not the default one"
        return ""


def _name(place: Place | None) -> str:
    return "the host's memory" if place is None else f"{place.type}:{place.index}"


_FileState = tuple[int, ...]


def states_of(asked: Iterable[Path]) -> list[_FileState] | None:
    """Return what changes with files and with the shards that indexes among them name; None where one is missing."""
    files = [file for path in asked for file in (path, *sorted(shards_of(path)))]
    try:
        found = [file.stat() for file in files]
    except OSError:
        return None
    return [(each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for each in found]


def key_of(asked: Iterable[Path]) -> tuple[str, ...]:
    """Return what tells files from others, however they are spelled."""
    return tuple(os.path.realpath(path) for path in asked)


@dataclass(eq=False)
class Part:
    """What one model, or one ``load_file``, reads.

    Attributes:
        label: what the log calls it.
        asked: the files that a load asks for: an index, or files.
        wanted: what was foreseen.
        opened: what a load gets that takes it: the checkpoint, or a model's weights.
        request: for the core; None when it has been taken or dropped.
        nbytes: bytes of tensor data in the files.
        maps: whether all of it are views of the files, which nobody reads before they are used.
        states: of the files, from before they were opened.
        key: the files, however they are spelled.
        fate: ``"offered"``, ``"taken"`` or ``"dropped"``; changed under the lock.
        segment: of the core's load.
    """

    label: str
    asked: list[Path]
    wanted: Wanted
    opened: Any
    request: _core.SegmentRequest | None
    nbytes: int
    maps: bool
    states: list[_FileState] | None
    key: tuple[str, ...] = field(init=False)
    fate: str = field(default="offered", init=False)
    segment: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.key = key_of(self.asked)

    def why_not(self, other: Wanted) -> str:
        """Say why a load has no use for this, or return the empty string.

        A load that wants tensors as they are, such as one that quantises them, has them of whatever dtype was foreseen,
        where none of them is cast.
        """
        foreseen = replace(self.wanted, code=None) if self.maps and other.code is None else self.wanted
        return foreseen.why_not(other)

    def lies_in(self, folders: Iterable[str]) -> bool:
        """Tell whether its files lie in one of the folders, which end with a separator."""
        return os.path.abspath(self.asked[0]).startswith(tuple(folders)) or self.key[0].startswith(tuple(folders))

    def settle(self, fate: str) -> bool:
        """Note what has become of it, once, and tell whether this did; nothing of it is kept here any more."""
        if self.fate != "offered":
            return False
        self.fate, self.opened, self.request = fate, None, None
        return True


Opened = tuple[Any, _core.SegmentRequest, int, bool]


def part(label: str, asked: list[Path], foreseen: Wanted, open_files: Callable[[], Opened]) -> Part:
    """Open what a load will ask for.

    Args:
        label: what the log calls it.
        asked: the files.
        foreseen: what the load will want.
        open_files: returns what the load gets, the request, the bytes of tensor data, and whether all are views.

    Raises:
        FormatError: a header or the index breaks the format's rules.
        IoError: a file is missing or unreadable.
        DeviceError: there is no driver or no such device.
    """
    states = states_of(asked)  # first: what changes from here on is noticed
    return Part(label, asked, foreseen, *open_files(), states)
