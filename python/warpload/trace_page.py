"""A load's timeline as a page that needs nothing else: no network, no library, any browser."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import report_text
from .timeline_rows import LEGEND, colour_of, extent, rows_of

if TYPE_CHECKING:
    from .report import LoadReport

_TEMPLATE = Path(__file__).with_name("trace_page.html")


def page(report: LoadReport, facts: dict[str, Any]) -> str:
    """Return the page.

    Args:
        report: of the load.
        facts: what is told of the load itself, beside its summary.
    """
    template = _TEMPLATE.read_text(encoding="utf-8")
    # In a script no text may end it, and none is to begin a comment.
    data = json.dumps(_data(report, facts), separators=(",", ":")).replace("<", "\\u003c")
    title, summary = html.escape(f"warpload: {report.source}"), html.escape(report_text.summary(report))
    parts = {"title": title, "summary": summary, "data": data}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _data(report: LoadReport, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what the page's script draws: events as lists, which name kinds and components by their numbers."""
    rows = rows_of(report.timeline)
    begin, end = extent(rows)
    kinds = list(dict.fromkeys(event.kind for row in rows for event, _ in row.bars))
    components = list(dict.fromkeys(event.component for row in rows for event, _ in row.bars))
    meanings = {**report_text.LEGEND, **LEGEND}
    of_kind = {kind: number for number, kind in enumerate(kinds)}
    of_component = {name: number for number, name in enumerate(components)}
    return {
        "facts": facts,
        "remarks": report_text.remarks(report) + ([facts["reads"]] if "reads" in facts else []),
        "duration": (end - begin) / 1000,
        "kinds": [{"name": kind, "colour": colour_of(kind), "what": meanings.get(kind, "")} for kind in kinds],
        "components": components,
        "rows": [
            {
                "name": row.name,
                "core": row.is_of_core,
                "depth": row.depth,
                "events": [
                    [
                        of_kind[event.kind],
                        of_component[event.component],
                        (event.begin - begin) / 1000,
                        (event.end - event.begin) / 1000,
                        level,
                        event.bytes,
                    ]
                    for event, level in row.bars
                ],
            }
            for row in rows
        ],
    }
