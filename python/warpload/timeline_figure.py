"""A load's timeline as a figure of matplotlib's: Python's threads bar by bar, the core's as areas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import report_text
from .timeline_rows import Row, colour_of, extent, rows_of, seconds_by_kind, stacked
from .units import counted, duration

if TYPE_CHECKING:
    from .report import LoadReport

_WIDTH, _BAR_HEIGHT, _AREA_HEIGHT, _MARGIN = 10.9, 0.22, 0.55, 1.35
_BINS = 400
# Where the core has more threads than these, they are drawn as one.
_MOST_ROWS = 8
# What a letter takes of the whole width: bars that have room for their names have them.
_LETTER = 0.0062

CURE = "it is drawn by matplotlib, which is not installed (pip install 'warpload[bench]')"


def figure_of(report: LoadReport) -> Any:
    """Return the timeline as a ``matplotlib.figure.Figure`` that belongs to no window; see ``LoadReport.plot``.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: nothing has happened.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(CURE) from error
    rows = rows_of(report.timeline)
    begin, end = extent(rows)
    if end <= begin:
        raise ValueError("the load has not done anything yet that could be drawn")
    python = [row for row in rows if not row.is_of_core]
    core = _groups([row for row in rows if row.is_of_core])
    heights = [row.depth * _BAR_HEIGHT for row in python] + [_AREA_HEIGHT] * len(core)
    figure = Figure(figsize=(_WIDTH, sum(heights) + _MARGIN), layout="constrained")
    FigureCanvasAgg(figure)
    plots = [*figure.subplots(len(heights), 1, height_ratios=heights, sharex=True, squeeze=False).flatten()]
    for row, plot in zip(python, plots, strict=False):
        _draw_bars(plot, row, begin, end)
    for (name, threads), plot in zip(core, plots[len(python) :], strict=True):
        _draw_areas(plot, name, threads, begin, end)
    _finish(figure, plots, rows, (end - begin) / 1e9, report_text.summary(report))
    return figure


def _groups(core: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    if len(core) > _MOST_ROWS:
        return [(counted(len(core), "core thread"), list(core))]
    return [(row.name, [row]) for row in core]


def _draw_bars(plot: Any, row: Row, begin: int, end: int) -> None:
    for event, level in row.bars:
        at, width = (event.begin - begin) / 1e9, event.seconds
        plot.barh(level, width, left=at, height=0.92, color=colour_of(event.kind), edgecolor="white", linewidth=0.4)
        if width * 1e9 > _LETTER * len(event.name) * (end - begin):
            plot.text(at + width / 2, level, event.name, ha="center", va="center", fontsize=7)
    plot.set_ylim(row.depth - 0.5, -0.5)
    _name(plot, row.name)


def _draw_areas(plot: Any, name: str, rows: Sequence[Row], begin: int, end: int) -> None:
    seconds = (end - begin) / 1e9
    edges = [number * seconds / _BINS for number in range(_BINS + 1)]
    for kind, ground, above in stacked(rows, begin, end, _BINS):
        plot.stairs(above, edges, baseline=ground, fill=True, color=colour_of(kind), linewidth=0)
    plot.set_ylim(0, 1)
    _name(plot, name)


def _name(plot: Any, name: str) -> None:
    plot.set_yticks([])
    plot.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    plot.spines[["top", "right", "left"]].set_visible(False)
    plot.tick_params(labelsize=8)


def _finish(figure: Any, plots: Sequence[Any], rows: Sequence[Row], seconds: float, title: str) -> None:
    from matplotlib.patches import Patch

    for plot in plots[:-1]:
        plot.spines["bottom"].set_visible(False)
        plot.tick_params(bottom=False)
    plots[-1].set_xlim(0, seconds)
    plots[-1].set_xlabel("seconds", fontsize=8)
    totals = seconds_by_kind(rows)
    patches = [Patch(color=colour_of(kind), label=f"{kind}, {duration(spent)}") for kind, spent in totals.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 7), fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=9)
