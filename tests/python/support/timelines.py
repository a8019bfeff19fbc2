"""What tests of timelines ask of one."""

from __future__ import annotations

from collections.abc import Iterable

import warpload
from warpload.timeline import READING, Event


def report() -> warpload.LoadReport:
    found = warpload.last_report()
    assert found is not None
    return found


def of_core(of: warpload.LoadReport) -> list[Event]:
    return [event for event in of.timeline.events() if event.is_of_core]


def bytes_read(events: Iterable[Event]) -> int:
    return sum(event.bytes for event in events if event.kind == READING)
