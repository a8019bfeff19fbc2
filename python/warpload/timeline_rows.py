"""How a timeline is arranged where it is drawn: a row for each thread, parts below the whole, one colour a kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import timeline
from .timeline import Event

if TYPE_CHECKING:
    from .timeline import Timeline

# Okabe and Ito's colours, which people with any colour vision tell apart, and lighter ones of parts; all can be seen on
# white and on black. What waits is grey.
COLOURS = {
    "open": "#56B4E9",
    "import": "#CC79A7",
    "fetch": "#E69F00",
    "assemble": "#8A8FA3",
    "build": "#009E73",
    "wait": "#B0B0B0",
    "load": "#8A8FA3",
    "construct": "#4DBB9D",
    "place": "#8CD3BF",
    timeline.READING: "#0072B2",
    timeline.COPYING: "#56B4E9",
    timeline.CASTING: "#D55E00",
    timeline.WAITING_FOR_SLOT: "#B0B0B0",
    timeline.WAITING_FOR_ARENA: "#8C8C8C",
    timeline.SENDING: "#E69F00",
    timeline.POPULATING: "#CC79A7",
}
_OTHER = "#8A8FA3"

# What is no stage of a load, which ``report_text`` explains.
LEGEND = {
    "construct": "a model's modules made, without weights",
    "place": "tensors put into the modules",
    timeline.READING: "read from files by the core",
    timeline.COPYING: "copied to its place by the core",
    timeline.CASTING: "cast, or dequantised, by the core",
    timeline.WAITING_FOR_SLOT: "waited for pinned memory that copies still read",
    timeline.WAITING_FOR_ARENA: "waited for the memory that the tensors go to",
    timeline.SENDING: "copies to a device queued",
    timeline.POPULATING: "pages of mapped tensors backed, before they are used",
}


@dataclass
class Row:
    """What one thread did.

    Attributes:
        name: of the thread.
        is_of_core: whether it is one of the core's.
        bars: what it did, each with how many others it is inside of.
    """

    name: str
    is_of_core: bool
    bars: list[tuple[Event, int]] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """How many bars lie above each other at most, at least 1."""
        return max((level for _, level in self.bars), default=0) + 1


def colour_of(kind: str) -> str:
    """Return the colour of a kind of event, as in ``"#0072B2"``."""
    return COLOURS.get(kind, _OTHER)


def rows_of(of: Timeline) -> list[Row]:
    """Return a row for each thread, those of Python first, then in the order in which they began."""
    events = of.events()
    names = of.thread_names(events)
    rows: dict[int, Row] = {}
    open_ends: dict[int, list[int]] = {}
    for event in events:
        row = rows.setdefault(event.thread, Row(names[event.thread], event.is_of_core))
        ends = open_ends.setdefault(event.thread, [])
        while ends and ends[-1] <= event.begin:
            ends.pop()
        row.bars.append((event, len(ends)))
        ends.append(event.end)
    return sorted(rows.values(), key=lambda row: row.is_of_core)


def extent(rows: Sequence[Row]) -> tuple[int, int]:
    """Return when the first thing began and the last one ended; the same moment twice where there is nothing."""
    events = [event for row in rows for event, _ in row.bars]
    if not events:
        return 0, 0
    return min(event.begin for event in events), max(event.end for event in events)


def seconds_by_kind(rows: Sequence[Row]) -> dict[str, float]:
    """Return how long each kind took, on all threads together; what is inside its own kind counts once."""
    found: dict[str, float] = {}
    for row in rows:
        above: list[str] = []
        for event, level in row.bars:
            del above[level:]
            if event.kind not in above:
                found[event.kind] = found.get(event.kind, 0.0) + event.seconds
            above.append(event.kind)
    return found


def stacked(
    rows: Sequence[Row], begin: int, end: int, bins: int
) -> Iterator[tuple[str, Sequence[float], Sequence[float]]]:
    """Yield the kinds of ``shares``, each with where its area begins and ends in each time, upon those before it."""
    ground = [0.0] * bins
    for kind, parts in shares(rows, begin, end, bins).items():
        above = [low + part for low, part in zip(ground, parts, strict=True)]
        yield kind, ground, above
        ground = above


def shares(rows: Sequence[Row], begin: int, end: int, bins: int) -> dict[str, list[float]]:
    """Return, by kind, which part of each of so many equal times threads were busy with it, of all these threads.

    Args:
        rows: of threads whose bars do not overlap.
        begin: of the first time.
        end: of the last one, later than ``begin``.
        bins: how many there are.
    """
    width = (end - begin) / bins
    found: dict[str, list[float]] = {}
    for event, _ in (bar for row in rows for bar in row.bars):
        part = found.setdefault(event.kind, [0.0] * bins)
        first, last = (min(max(int((at - begin) / width), 0), bins - 1) for at in (event.begin, event.end))
        for number in range(first, last + 1):
            left, right = begin + number * width, begin + (number + 1) * width
            part[number] += max(min(event.end, right) - max(event.begin, left), 0.0) / width
    return {kind: [busy / len(rows) for busy in found[kind]] for kind in COLOURS if kind in found}
