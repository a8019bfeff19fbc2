"""When what happened in a load: spans of Python's side, and the core's records of its threads, on one clock.

    this thread    [ open ][ import ......... ][ assemble [ build unet [ construct ][ place ] ] [ wait ] ]   always
    core threads          [reading][casting][reading][casting] ...                                   where asked for

Times are nanoseconds of ``time.perf_counter_ns``, which is the clock of the core, too.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import _core

# How many events of one load the core keeps, of 40 bytes each: those of 60 GB that are cast. Of a smaller load it takes
# no more memory than the load needs.
MOST_EVENTS = 2**18

# What the core's threads do, in the order of the core's numbers.
READING, COPYING, CASTING = "reading", "copying", "casting"
WAITING_FOR_SLOT, WAITING_FOR_ARENA = "waiting for a slot", "waiting for the arena"
SENDING, POPULATING = "sending", "populating"
CORE_KINDS = (READING, COPYING, CASTING, WAITING_FOR_SLOT, WAITING_FOR_ARENA, SENDING, POPULATING)

_RECORD = struct.Struct("=qqQIII4x")  # as ``_core.LoadTrace.read`` packs it


@dataclass(frozen=True)
class Event:
    """Something that took a while.

    Attributes:
        kind: a stage of a load, a part of one, or one of ``CORE_KINDS``.
        begin: when it began, in nanoseconds of ``time.perf_counter_ns``.
        end: when it ended.
        thread: the operating system's number of the thread.
        component: that it was for, as far as that is known.
        bytes: that the core read, copied, cast, sent or had backed.
    """

    kind: str
    begin: int
    end: int
    thread: int
    component: str = ""
    bytes: int = 0

    @property
    def is_of_core(self) -> bool:
        """Whether a thread of the core did it."""
        return self.kind in CORE_KINDS

    @property
    def name(self) -> str:
        """The kind, and the component where there is one."""
        return " ".join(filter(None, (self.kind, self.component)))

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.begin) / 1e9


@dataclass(frozen=True)
class _Records:
    """What the core recorded of one load of its own.

    Attributes:
        packed: as ``_core.LoadTrace.read`` gives it: a load has tens of thousands of events.
        lost: how many others there were.
        names: the component of each segment that belongs to this load.
    """

    packed: bytes
    lost: int
    names: Mapping[int, str]

    def events(self) -> Iterator[Event]:
        for begin, end, count, thread, segment, kind in _RECORD.iter_unpack(self.packed):
            if segment in self.names:
                yield Event(CORE_KINDS[kind], begin, end, thread, self.names[segment], count)


class Timeline:
    """What a load's report keeps of when things happened; nothing of what was loaded.

    Any thread may read it while others add to it.

    Attributes:
        spans: of Python's side.
        is_recorded: whether the core was asked to record what its threads do.
        process: the number of the process that loaded.
    """

    def __init__(self) -> None:
        self.spans: list[Event] = []
        self.is_recorded = False
        self.process = os.getpid()
        self._thread_names: dict[int, str] = {}
        self._settled: list[_Records] = []
        self._followed: list[tuple[_core.LoadTrace, Mapping[int, str]]] = []

    def add(self, kind: str, begin: int, end: int, component: str = "") -> None:
        """Add a span of this thread's.

        Args:
            kind: see ``Event``.
            begin: see ``Event``.
            end: see ``Event``.
            component: see ``Event``.
        """
        thread = threading.get_native_id()
        self._thread_names[thread] = threading.current_thread().name
        self.spans.append(Event(kind, begin, end, thread, component))

    @contextlib.contextmanager
    def span(self, kind: str, component: str = "") -> Iterator[None]:
        """Add the time that the block takes; see ``add``."""
        begin = time.perf_counter_ns()
        try:
            yield
        finally:
            self.add(kind, begin, time.perf_counter_ns(), component)

    def follow(self, trace: _core.LoadTrace | None, names: Mapping[int, str]) -> None:
        """Take what the core records of one load of its own into account, from its start on.

        Args:
            trace: of the load; None where it records nothing.
            names: the components of its segments; others are not of this load.
        """
        if trace is not None:
            self._followed.append((trace, names))

    def settle(self) -> None:
        """Take out what the core has recorded, and follow it no further."""
        followed, self._followed = self._followed, []
        self._settled += map(_read, followed)

    def include(self, inner: Timeline, name: str) -> None:
        """Take over what happened in a load inside this one.

        Args:
            inner: of that load.
            name: of what has no component's name there.
        """
        self.spans += [replace(each, component=each.component or name) for each in inner.spans]
        self._thread_names |= inner._thread_names
        self._settled += [
            replace(each, names={segment: own or name for segment, own in each.names.items()})
            for each in inner._records()
        ]

    def events(self) -> list[Event]:
        """Return everything until now, in the order of its beginning; what encloses other things comes before them."""
        found = [*self.spans, *(event for each in self._records() for event in each.events())]
        return sorted(found, key=lambda event: (event.begin, -event.end))

    @property
    def lost(self) -> int:
        """How many events of the core's were too many to be kept."""
        return sum(each.lost for each in self._records())

    def thread_names(self, events: Iterable[Event]) -> dict[int, str]:
        """Return what each thread is called, those of Python first.

        Args:
            events: from ``events``.
        """
        found: dict[int, set[str]] = {}
        for event in events:
            if event.is_of_core:
                found.setdefault(event.thread, set()).add(event.kind)
        workers = [thread for thread, kinds in found.items() if kinds != {POPULATING}]
        names = {thread: f"core thread {number}" for number, thread in enumerate(workers, 1)}
        return {**self._thread_names, **names, **dict.fromkeys(found.keys() - names.keys(), "core, pages of views")}

    def _records(self) -> list[_Records]:
        return [*self._settled, *map(_read, self._followed)]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_settled": self._records(), "_followed": []}


def _read(followed: tuple[_core.LoadTrace, Mapping[int, str]]) -> _Records:
    trace, names = followed
    packed, lost = trace.read()
    return _Records(packed, lost, names)
