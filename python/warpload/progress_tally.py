"""How far a load is: the bytes of all that the core reads for it, the component under way, and what they wait for."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from . import _core

# What the workers' time goes to -> the word for what limits them. What else it goes to has none.
_WORDS = {"from_disk": "disk", "from_memory": "memory", "casting": "casting", "waiting_for_slots": "link"}
_FADING = 0.7  # what a look's times count at the next one, so that a word does not flicker


@dataclass(frozen=True)
class Progress:
    """How far a load is.

    Attributes:
        done: bytes that have arrived since the load began.
        total: those, and the bytes that are known to be still to come.
        component: what the bytes under way belong to, or what is being built of them; empty where nobody has said.
        limit: what limits the load at present: ``"disk"``, ``"memory"``, ``"casting"``, ``"link"``, or, where all bytes
            are there, what Python does; empty where nothing does for most of the time.
    """

    done: int
    total: int
    component: str
    limit: str


class _Load:
    """Segments of one load of the core's, from when this load has them."""

    def __init__(self, meter: _core.LoadMeter, names: Mapping[int, str], *, taken: bool) -> None:
        self.names = dict(names)
        self.under_way = next(iter(names.values()), "")
        self._meter = meter
        self._before = sum(meter.progress(number)[0] for number in names) if taken else 0
        self._seconds = meter.times()

    def look(self) -> tuple[int, int]:
        """Return the bytes that have arrived and all bytes; notes what the first that have not belong to."""
        done = total = 0
        self.under_way = ""
        for number, name in self.names.items():
            arrived, whole = self._meter.progress(number)
            if arrived < whole and not self.under_way:
                self.under_way = name
            done, total = done + arrived, total + whole
        return done - self._before, total - self._before

    def passed(self) -> dict[str, float]:
        """Return the workers' seconds since the last call, by what they went to."""
        before, self._seconds = self._seconds, self._meter.times()
        return {part: value - before[part] for part, value in self._seconds.items()}


class Tally:
    """Adds up what the core reads for one load.

    Threads: one looks, others may add meanwhile.

    Attributes:
        building: the component that Python builds, or has built last.
        python: what Python does: ``"importing"`` or ``"building"``.
    """

    def __init__(self) -> None:
        self.building, self.python = "", "building"
        self._lock = threading.Lock()
        self._loads: list[_Load] = []
        self._past = 0  # bytes of loads that are over
        self._most = 0  # bytes that have been waited for: of a load that is cancelled they do not become less
        self._weights: dict[str, float] = {}

    def add(self, meter: _core.LoadMeter, names: Mapping[int, str], *, taken: bool = False) -> bool:
        """Count segments of a load of the core's from now on.

        Args:
            meter: of the load.
            names: what the component is called that each segment holds, by the segment's number.
            taken: whether somebody else has begun it: what has arrived by now is not this load's.

        Returns:
            Whether there is anything to count.
        """
        load = _Load(meter, names, taken=taken)
        _, total = load.look()
        if total > 0:
            with self._lock:
                self._loads.append(load)
        return total > 0

    def look(self) -> Progress:
        """Return how far the load is; what limits it is judged by what has happened since the last look."""
        with self._lock:
            done = total = self._past
            over: list[_Load] = []
            under_way: _Load | None = None
            for load in self._loads:
                arrived, whole = load.look()
                done, total = done + arrived, total + whole
                if arrived < whole:
                    under_way = under_way or load
                else:
                    over.append(load)
                    self._past += whole
            total = self._most = max(self._most, total)
            limit = self._limit()
            self._loads = [load for load in self._loads if load not in over]
        if under_way is None:
            return Progress(done, total, self.building, self.python)
        return Progress(done, total, under_way.under_way or self.building, limit)

    def _limit(self) -> str:
        weights = {part: weight * _FADING for part, weight in self._weights.items()}
        for load in self._loads:
            for part, seconds in load.passed().items():
                weights[part] = weights.get(part, 0.0) + seconds
        self._weights = weights
        most = max(weights, key=weights.__getitem__, default="")
        is_most_of_all = bool(most) and weights[most] * 2 > sum(weights.values())
        return _WORDS.get(most, "") if is_most_of_all else ""


def at_end(last: Progress, *, failed: bool) -> Progress:
    """Return what is to be shown at the end of a load.

    Args:
        last: how far it was when somebody looked last.
        failed: whether it has failed, and has come no further.
    """
    if failed:
        return dataclasses.replace(last, limit="")
    return dataclasses.replace(last, done=last.total, component="", limit="")
