"""Draws what a benchmark's JSON file says: bars a scenario, lines a kind of growth; needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

# Okabe and Ito's colours, which people with any colour vision tell apart.
_OWN, _OWN_LIGHT = "#0072B2", "#8CC1E0"
_OTHER, _OTHER_LIGHT = "#6B6B6B", "#C4C4C4"
_LINES = ("#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#6B6B6B")
_MARKERS = "sD^vPX"
_WIDTH, _BAR_HEIGHT, _MARGIN, _LINE_HEIGHT = 6.2, 0.3, 0.95, 3.0
_OWN_NAME = "warpload"
_KINDS = {"files": "files", "pipeline": "the pipeline"}

# A height, who draws, and what of the JSON file.
_Cell = tuple[float, Callable[[Any, dict[str, Any]], None], dict[str, Any]]


def write_plot(content: dict[str, Any], file: Path) -> None:
    """Draw one benchmark, two scenarios or dtypes beside each other.

    Args:
        content: as results.as_json makes it, or as it was read from the file.
        file: to write; its suffix says the format.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is nothing to draw, or the suffix is none that matplotlib knows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cells: list[_Cell] = [
        (len(it["figures"]) * _BAR_HEIGHT + _MARGIN, _draw_bars, it) for it in content["summary"] if it["figures"]
    ]
    cells += [(_LINE_HEIGHT, _draw_lines, it) for it in content["growth"] if it["points"]]
    if not cells:
        raise ValueError("nothing was measured that could be drawn")
    columns = min(2, len(cells))
    heights = [max(cell[0] for cell in cells[at : at + columns]) for at in range(0, len(cells), columns)]
    figure = Figure(figsize=(_WIDTH * columns, sum(heights) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    plots = figure.subplots(len(heights), columns, height_ratios=heights, squeeze=False).flatten()
    for (_, draw, what), plot in zip(cells, plots, strict=False):
        draw(plot, what)
    for plot in plots[len(cells) :]:
        plot.set_axis_off()
    figure.suptitle(_title(content), fontsize=9)
    figure.savefig(file, dpi=110)


def _title(content: dict[str, Any]) -> str:
    machine, versions = content["machine"], content["versions"]
    size = f"{content['model']['weight_bytes'] / 1e9:.1f} GB, " if "model" in content else ""
    packages = ", ".join(f"{name} {versions[name]}" for name in ("warpload", "diffusers", "torch"))
    return f"{size}page cache {content['page_cache']}; {machine['cores']} cores, {machine['cpu']}; {packages}"


def _draw_bars(plot: Any, summary: dict[str, Any]) -> None:
    in_bytes = summary["scenario"] == "memory"
    figures = summary["figures"]
    names = summary["ranking"] + [name for name in figures if name not in summary["ranking"]]
    parts = ("bytes",) if in_bytes else ("ready", "first_use")
    scale = 1e-9 if in_bytes else 1.0
    ends = [0.0] * len(names)
    for part in parts:
        values = [figures[name][part]["median"] * scale for name in names]
        light = part == "first_use"
        colours = [
            (_OWN_LIGHT if light else _OWN) if name == _OWN_NAME else (_OTHER_LIGHT if light else _OTHER)
            for name in names
        ]
        plot.barh(
            range(len(names)), values, left=ends, color=colours, hatch="////" if light else None, edgecolor="white"
        )
        ends = [end + value for end, value in zip(ends, values, strict=True)]
    for row, end in enumerate(ends):
        plot.text(end, row, f" {end:.2f}" if end >= 0.1 else f" {end:.3f}", va="center", fontsize=8)
    plot.tick_params(labelsize=8)
    plot.set_yticks(range(len(names)), names, fontsize=8)
    plot.invert_yaxis()
    plot.margins(x=0.12)
    plot.spines[["top", "right"]].set_visible(False)
    unit = "GB beyond the page cache" if in_bytes else "seconds until ready, and of first use (hatched)"
    plot.set_xlabel(unit, fontsize=8)
    kind = f" of a load of {_KINDS[summary['kind']]}" if in_bytes else ""
    plot.set_title(f"{summary['scenario']}{kind}, {summary['dtype']}", fontsize=9, loc="left")


def _draw_lines(plot: Any, growth: dict[str, Any]) -> None:
    others = iter(zip(_LINES * 2, _MARKERS * 2, strict=True))
    ready, used = growth["slopes"]["ready"], growth["slopes"]["used"]
    for name, points in growth["points"].items():
        colour, marker = (_OWN, "o") if name == _OWN_NAME else next(others)
        slope = (
            f": {used[name]['value']:.1f} {growth['unit']}, {ready[name]['value']:.1f} until ready"
            if name in used
            else ""
        )
        plot.plot(*zip(*points, strict=True), color=colour, marker=marker, label=f"{name}{slope}", linewidth=1.8)
    plot.tick_params(labelsize=8)
    plot.set_xlabel("GB" if growth["axis"] == "bytes" else growth["axis"], fontsize=8)
    plot.set_ylabel("seconds, first use included", fontsize=8)
    most = max(seconds for points in growth["points"].values() for _, seconds in points)
    plot.set_ylim(0, most * (1.15 + 0.11 * len(growth["points"])))  # the legend is above the lines
    plot.spines[["top", "right"]].set_visible(False)
    plot.legend(fontsize=7, frameon=False, loc="upper left")
    plot.set_title(f"growth with {growth['axis']}, {growth['dtype']}", fontsize=9, loc="left")
