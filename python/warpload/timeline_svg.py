"""A load's timeline as a small picture in a notebook: Python's threads bar by bar, the core's together as areas."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .timeline_rows import Row, colour_of, extent, rows_of, seconds_by_kind, stacked
from .units import counted, duration

if TYPE_CHECKING:
    from .timeline import Timeline

_WIDTH, _LEFT, _BAR, _GAP, _AREA = 760.0, 120.0, 11.0, 6.0, 34.0
_BINS = 160
# Narrower bars cannot be seen, and a notebook is to stay small.
_LEAST = 0.4
_TEXT = "font-family='sans-serif' font-size='10' fill='currentColor'"


def svg_of(timeline: Timeline) -> str:
    """Return the timeline as an SVG element, or the empty string where nothing took any time."""
    rows = rows_of(timeline)
    begin, end = extent(rows)
    if end <= begin:
        return ""
    python = [row for row in rows if not row.is_of_core]
    core = [row for row in rows if row.is_of_core]
    parts: list[str] = []
    top = _GAP
    for row in python:
        parts += [_label(row.name, top + _BAR - 2), *_bars(row, top, begin, end)]
        top += row.depth * _BAR + _GAP
    if core:
        parts += [_label(counted(len(core), "core thread"), top + _AREA / 2), *_areas(core, top, begin, end)]
        top += _AREA + _GAP
    parts += [_label("0", top + 9, _LEFT), _label(duration((end - begin) / 1e9), top + 9, _WIDTH, "end")]
    parts += list(_legend(rows, top := top + 16))
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH:g} {top + 14:g}' role='img' "
        f"aria-label='timeline of the load' style='max-width:{_WIDTH:g}px;width:100%'>{''.join(parts)}</svg>"
    )


def _label(text: str, y: float, x: float = 0.0, anchor: str = "start") -> str:
    return f"<text x='{x:g}' y='{y:g}' text-anchor='{anchor}' {_TEXT}>{html.escape(text)}</text>"


def _bars(row: Row, top: float, begin: int, end: int) -> Iterator[str]:
    scale = (_WIDTH - _LEFT) / (end - begin)
    for event, level in row.bars:
        width = (event.end - event.begin) * scale
        if width < _LEAST:
            continue
        title = f"{event.name} {duration(event.seconds)}"
        yield (
            f"<rect x='{_LEFT + (event.begin - begin) * scale:.1f}' y='{top + level * _BAR:g}' width='{width:.1f}' "
            f"height='{_BAR - 1:g}' fill='{colour_of(event.kind)}'><title>{html.escape(title)}</title></rect>"
        )


def _areas(rows: Sequence[Row], top: float, begin: int, end: int) -> Iterator[str]:
    step = (_WIDTH - _LEFT) / _BINS
    for kind, ground, above in stacked(rows, begin, end, _BINS):
        corners = [*_steps(above, step), *reversed(list(_steps(ground, step)))]
        points = " ".join(f"{_LEFT + x:.1f},{top + _AREA * (1 - min(share, 1.0)):.1f}" for x, share in corners)
        yield f"<polygon points='{points}' fill='{colour_of(kind)}'><title>{html.escape(kind)}</title></polygon>"


def _steps(levels: Sequence[float], step: float) -> Iterator[tuple[float, float]]:
    """Yield the corners of a line that is level within each bin; where two bins are equal there is none between."""
    for number, level in enumerate(levels):
        if number == 0 or levels[number - 1] != level:
            yield number * step, level
        if number + 1 == len(levels) or levels[number + 1] != level:
            yield (number + 1) * step, level


def _legend(rows: Sequence[Row], top: float) -> Iterator[str]:
    x = _LEFT
    for kind in seconds_by_kind(rows):
        yield f"<rect x='{x:g}' y='{top:g}' width='9' height='9' fill='{colour_of(kind)}'/>"
        yield _label(kind, top + 8, x + 12)
        x += 24 + 5.2 * len(kind)
