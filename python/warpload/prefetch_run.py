"""One prefetch: its thread, what becomes of its parts, and what its caller sees of it.

    find files, open them | offered | the core reads: waits for torch where a device's memory is torch's | attends | end

Errors are kept. A load that wants the files is told of them, and meets them by itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from . import _core, devices, engine, forked, read_ahead, units
from .devices import Place
from .errors import Cancelled, OutOfMemoryError, WarploadError
from .options import LoadOptions
from .prefetch_part import Part, Wanted, states_of
from .stock.model_files import shards_of

logger = logging.getLogger("warpload")

_GLANCE = 0.02  # seconds between two looks at what cannot tell us: whether torch is imported, whether bytes are there

_Allocate = Callable[[list[tuple[int, int]]], list[tuple[int, Any]]]

lock = forked.Lock()
# Those that loads may still take something of, or be told of that they failed.
alive: list[Prefetch] = []


class NothingToPrefetchError(Exception):
    """There are no bytes to be read early; says why."""


class Prefetch:
    """Bytes that ``warpload.prefetch`` has put on their way; may be ignored.

    The next load that wants them takes them. Used as a context, what no load has taken is dropped at its end.

    Attributes:
        source: what is loaded, as it was given.
    """

    def __init__(self, source: str, asked_for: object, seconds: float, may_have: Callable[[str], bool]) -> None:
        self.source = source
        self._asked_for, self._may_have = asked_for, may_have
        self._began = time.monotonic()
        self._seconds, self._deadline = seconds, self._began + seconds
        self._parts: list[Part] = []
        self._handle: _core.LoadHandle | None = None
        self._reason, self._failed, self._taken = "", False, 0
        self._make_events()

    def _make_events(self) -> None:
        self._offered, self._begun, self._arrived, self._over = (threading.Event() for _ in range(4))

    # -- for whoever has called prefetch -------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """How far it is: ``"starting"``, ``"reading"``, ``"ready"``, ``"taken"``, ``"dropped"`` or ``"failed"``.

        ``"starting"``: files are looked for and opened; on a GPU also as long as nobody has imported torch, whose
        allocator gives the memory. ``"ready"``: all bytes have arrived; those of a load that maps its files are in the
        page cache. ``"taken"``: loads have taken it, or the part of it that they wanted.
        """
        if self._failed:
            return "failed"
        if self._over.is_set():
            return "taken" if self._taken else "dropped"
        if self._arrived.is_set():
            return "ready"
        return "reading" if self._begun.is_set() else "starting"

    @property
    def reason(self) -> str:
        """Why it was dropped or has failed, or the empty string."""
        return self._reason

    @property
    def bytes(self) -> int:
        """The bytes of tensor data in the files, 0 before they have been opened."""
        return sum(each.nbytes for each in self._parts)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all bytes have arrived, or there is nothing to wait for any more.

        Args:
            timeout: the most seconds to wait; None waits as long as it takes.

        Returns:
            Whether the bytes have arrived, or were taken by a load, which waits for the rest of them itself.
        """
        self._arrived.wait(timeout)
        return self.state in ("ready", "taken")

    def cancel(self) -> None:
        """Drop what no load has taken: its memory is released, and what is not read is not read any more.

        Waits for the reads that are under way. Afterwards, or after a load has taken everything, nothing happens.
        """
        self.drop("it was cancelled", logging.DEBUG)

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def __repr__(self) -> str:
        size = f", {units.size(self.bytes)}" if self.bytes else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"<warpload.Prefetch of {self.source!r}: {self.state}{size}{reason}>"

    # -- its thread ----------------------------------------------------------------------------------------------------

    def run(self, find: Callable[[], list[Part]], options: LoadOptions) -> None:
        """Do it all, on a thread of its own, until the end; raises nothing.

        Args:
            find: finds and opens what loads will ask for.
            options: with which the core loads.
        """
        try:
            with options:
                self._offer(find())
                self._start()
        except BaseException as error:  # the load that wants the files meets it by itself
            self.fail(error)
        finally:
            self._offered.set()
            self._begun.set()
        self._read_ahead([each for each in self._parts if each.maps])
        self._attend()

    def _offer(self, parts: list[Part]) -> None:
        if not parts:
            raise NothingToPrefetchError("there is nothing that the core would read early")
        with lock:
            if not self._over.is_set():
                self._parts = parts
        self._offered.set()

    def _start(self) -> None:
        with lock:
            parts = [each for each in self._parts if each.fate == "offered"]
            requests = [each.request for each in parts if each.request is not None]
        places = [each.wanted.place for each in parts]
        if not requests:
            return
        handle = engine.loader().start(requests, *(self._allocators(places) if any(places) else ()))
        for number, each in enumerate(parts):
            each.segment = number
        with lock:
            if self._over.is_set():
                return  # nobody will have it: it is cancelled
            self._handle = handle
            gone = [each for each in parts if each.fate == "dropped"]
        _release(handle, gone)

    def _allocators(self, places: Sequence[Place | None]) -> Sequence[_Allocate]:
        def allocate(sizes: list[tuple[int, int]]) -> list[tuple[int, Any]]:
            self._await_torch()
            return devices.allocate([devices.torch_device(place) for place in places], sizes)

        def allocate_staging(sizes: list[tuple[int, int]]) -> list[tuple[int, Any]]:
            if not devices.torch_is_ready():  # the bytes need not wait: the workers cast
                raise OutOfMemoryError("torch, whose allocator gives the memory, is not imported yet")
            return devices.allocate_staging([devices.torch_device(place) for place in places], sizes)

        return allocate, allocate_staging

    def _await_torch(self) -> None:
        """Wait until somebody has imported torch; meanwhile files come into the page cache, as the slots are full."""
        if not devices.torch_is_ready():
            self._read_ahead([each for each in self._parts if each.wanted.place is not None], devices.torch_is_ready)
        while not devices.torch_is_ready():
            self._over.wait(_GLANCE)
            if self._is_over():
                raise Cancelled("dropped before torch was imported")

    def _read_ahead(self, parts: Iterable[Part], is_enough: Callable[[], bool] = lambda: False) -> None:
        files = (file for each in parts if each.fate == "offered" for path in each.asked for file in shards_of(path))
        read_ahead.read_ahead(files, lambda: self._is_over() or is_enough())

    def _attend(self) -> None:
        """Wait for the bytes, and for the end."""
        while not self._is_over():
            if not self._arrived.is_set() and self._has_arrived():
                self._arrived.set()
            left = max(self._deadline - time.monotonic(), 0)
            self._over.wait(min(left, threading.TIMEOUT_MAX if self._arrived.is_set() else _GLANCE))

    def _has_arrived(self) -> bool:
        """Tell whether there is nothing left to wait for; a load that has failed is noted here."""
        handle = self._handle
        if handle is None or not handle.done:
            return handle is None
        try:
            handle.wait()
        except Exception as error:
            self.fail(error)
        return True

    def fail(self, error: BaseException) -> None:
        """Keep what went wrong; loads that look for the bytes are told until it is dropped."""
        with lock:
            if self._over.is_set() or self._failed:
                return
            self._failed = True
            self._reason = str(error) if isinstance(error, NothingToPrefetchError) else f"{_kind(error)}: {error}"
        logger.warning("%s is not prefetched, and read when it is loaded: %s", self.source, self._reason)
        self.drop_parts(self._parts)
        self._arrived.set()

    # -- what becomes of its parts -------------------------------------------------------------------------------------

    def drop(self, reason: str, level: int, *, if_late: bool = False) -> None:
        """Drop all that no load has taken, which is the end of it.

        Args:
            reason: why.
            level: with which it is logged.
            if_late: only if it is its time, which another call of ``prefetch`` may have put off.
        """
        with lock:
            if self._over.is_set() or (if_late and time.monotonic() < self._deadline):
                return
            self._reason = self._reason or reason
            self._over.set()
            left = [each for each in self._parts if each.fate == "offered"]
        if not self._failed:
            logger.log(level, "%s was prefetched and is dropped: %s", self.source, reason)
        self.drop_parts(left)
        self._arrived.set()

    def _is_over(self) -> bool:
        """Tell whether this is at its end, which is here where it is its time."""
        if time.monotonic() >= self._deadline:
            self.drop(f"no load has taken it within {self._seconds:g} s", logging.WARNING, if_late=True)
        return self._over.is_set()

    def drop_parts(self, parts: Iterable[Part]) -> None:
        """Drop what loads will not take."""
        with lock:
            handle = self._handle
            gone = [each for each in parts if each.settle("dropped")]
            self._end_if_nothing_is_left()
        if handle is not None:
            _release(handle, gone)

    def find(self, asked: Sequence[Path], key: tuple[str, ...]) -> Part | str | None:
        """Return the part that a load may take, or why there is none, or None where nothing is known of its files.

        Args:
            asked: the files, as the load names them.
            key: what tells them from others.
        """
        if not any(map(self._may_have, (*key, *map(os.path.abspath, asked)))):
            return None
        self._offered.wait()
        if self._failed:
            return f"the prefetch failed: {self._reason}"
        return next((each for each in self._parts if each.key == key and each.fate == "offered"), None)

    def take(self, part: Part, asked: Sequence[Path], other: Wanted) -> Taken | str:
        """Hand a part over, or say why not.

        Args:
            part: from ``find``.
            asked: the files, as the load names them.
            other: what the load wants of them.
        """
        if reason := part.why_not(other):
            return reason
        self._begun.wait()
        if part.states != states_of(asked):
            return "its files have changed since"
        self._has_arrived()  # perhaps with an error, which is not this load's
        with lock:
            handle, opened = self._handle, part.opened
            if handle is None or not part.settle("taken"):
                return self._reason  # none where another load was first
            self._taken += 1
            self._end_if_nothing_is_left()
        return Taken(opened, handle, part.segment, time.monotonic() - self._began, self)

    def parts_in(self, folder: str) -> list[Part]:
        """Return the models whose files lie in a folder, and that no load has taken."""
        places = {os.path.join(each(folder), "") for each in (os.path.abspath, os.path.realpath)}
        if not any(map(self._may_have, places)):
            return []
        self._offered.wait()
        return [each for each in self._parts if each.fate == "offered" and each.lies_in(places)]

    def renew(self, other: Prefetch) -> bool:
        """Tell whether this is what another call asks for, and all of it still there; it lasts as long as that asks."""
        with lock:
            same = self._asked_for == other._asked_for and not (self._failed or self._taken or self._over.is_set())
        if not same or any(each.fate == "dropped" or each.states != states_of(each.asked) for each in self._parts):
            return False
        self._seconds, self._deadline = other._seconds, max(self._deadline, other._deadline)
        return True

    def _end_if_nothing_is_left(self) -> None:
        """Under the lock. A failed one remains, so that loads are told of it, until it is dropped."""
        if any(each.fate == "offered" for each in self._parts):
            return
        self._handle = None  # loads that have taken a part have it, too
        if self._over.is_set() or (self._parts and not self._failed):
            self._over.set()
            self._arrived.set()
            if self in alive:
                alive.remove(self)

    def lose(self) -> None:
        """In a child of fork, which has none of the threads."""
        self._make_events()
        for event in (self._offered, self._begun, self._arrived, self._over):
            event.set()
        self._reason = self._reason or "it is of the parent process"
        for each in self._parts:
            each.settle("dropped")
        self._handle = None


def _kind(error: BaseException) -> str:
    """Return the name of the public class of an error."""
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ in ("builtins", f"{__package__}.errors"))


def _release(handle: _core.LoadHandle, parts: Iterable[Part]) -> None:
    for each in parts:
        with contextlib.suppress(WarploadError):  # of a copy that nobody wanted
            handle.release_segment(each.segment)


@dataclass(frozen=True)
class Taken:
    """A part that is a load's from now on.

    Attributes:
        opened: see ``Part``.
        handle: the load under way.
        segment: its segment.
        seconds: since the call of ``prefetch``.
        owner: what else of the prefetch there is.
    """

    opened: Any
    handle: _core.LoadHandle
    segment: int
    seconds: float
    owner: Prefetch
