"""Writes the timeline of a load: in Chrome's trace format, which Perfetto opens, or as a page."""

from __future__ import annotations

import functools
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import timeline, trace_page, units
from ._core import __version__
from .errors import InvalidArgumentError
from .timeline import Event

if TYPE_CHECKING:
    from .report import LoadReport

logger = logging.getLogger("warpload")

# What has no reads in it says how to have them.
SWITCH = "WARPLOAD_TRACE=1, or LoadOptions(trace=True) around the load, has the core record what its threads do"

_VIEWER = "https://ui.perfetto.dev"


def save(report: LoadReport, path: str | os.PathLike[str]) -> None:
    """Write the timeline to a file, whose suffix says the format; see ``LoadReport.save_trace``.

    Raises:
        InvalidArgumentError: the suffix is none that we know.
        OSError: the file cannot be written.
    """
    suffix = check_name(path)
    if not report.timeline.is_recorded:
        _tell_how_to_record()
    text = json.dumps(chrome_trace(report)) if suffix == ".json" else trace_page.page(report, facts(report))
    Path(path).write_text(text, encoding="utf-8")


def check_name(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a file that a timeline can be written to.

    Raises:
        InvalidArgumentError: it is none that we know.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".json", ".html"):
        raise InvalidArgumentError(
            f"{os.fspath(path)} ends with neither .json (Chrome's trace format, which {_VIEWER} opens) nor .html (a"
            " page that shows it): give the file one of these suffixes"
        )
    return suffix


@functools.cache
def _tell_how_to_record() -> None:
    logger.warning("the timeline has no reads: %s", SWITCH)


def facts(report: LoadReport) -> dict[str, Any]:
    """Return what a file says of the load itself, as plain data."""
    told = {
        "warpload": __version__,
        "source": report.source,
        "kind": report.kind,
        "bytes": report.bytes,
        "seconds": round(report.total, 6),
        "threads": report.threads,
        "recorded": report.timeline.is_recorded,
        "lost_events": report.timeline.lost,
        "clock": "CLOCK_MONOTONIC",
    }
    if report.error:
        told["error"] = report.error
    if not report.timeline.is_recorded:
        told["reads"] = f"not recorded: {SWITCH}"
    return told


def chrome_trace(report: LoadReport) -> dict[str, Any]:
    """Return the timeline as an object of Chrome's trace format; times are microseconds from the first event on."""
    events, process = report.timeline.events(), report.timeline.process
    origin = min((event.begin for event in events), default=0)
    names = report.timeline.thread_names(events)
    written = [_metadata(process, 0, "process_name", {"name": f"warpload: {report.source}"})]
    for position, (thread, name) in enumerate(names.items()):
        written.append(_metadata(process, thread, "thread_name", {"name": name}))
        written.append(_metadata(process, thread, "thread_sort_index", {"sort_index": position}))
    written += [_complete(event, process, origin) for event in events]
    return {
        "traceEvents": written,
        "displayTimeUnit": "ms",
        "otherData": {**facts(report), "origin_ns": origin},
    }


def _metadata(process: int, thread: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "M", "pid": process, "tid": thread, "name": name, "args": arguments}


def _complete(event: Event, process: int, origin: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if event.component:
        arguments["component"] = event.component
    if event.is_of_core and event.kind not in (timeline.WAITING_FOR_SLOT, timeline.WAITING_FOR_ARENA):
        arguments["bytes"] = event.bytes
        if rate := units.rate(event.bytes, event.seconds):
            arguments["rate"] = rate
    return {
        "ph": "X",
        "pid": process,
        "tid": event.thread,
        "name": event.kind if event.is_of_core else event.name,
        "cat": "core" if event.is_of_core else "python",
        "ts": (event.begin - origin) / 1000,
        "dur": (event.end - event.begin) / 1000,
        "args": arguments,
    }
