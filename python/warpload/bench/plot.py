"""Draws what a benchmark's JSON file says: bars a scenario, lines a kind of growth; needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Okabe and Ito's colours, which people with any colour vision tell apart.
_OWN, _OWN_LIGHT = "#0072B2", "#8CC1E0"
_OTHER, _OTHER_LIGHT = "#6B6B6B", "#C4C4C4"
_LINES = ("#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#6B6B6B")
_MARKERS = "sD^vPX"
_WIDTH, _BAR_HEIGHT, _MARGIN, _LINE_HEIGHT = 10.0, 0.34, 0.95, 3.4
_OWN_NAME = "warpload"


def write_plot(content: dict[str, Any], file: Path) -> None:
    """Draw one benchmark.

    Args:
        content: as results.as_json makes it, or as it was read from the file.
        file: to write; its suffix says the format.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is nothing to draw, or the suffix is none that matplotlib knows.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bars = [summary for summary in content["summary"] if summary["figures"]]
    lines = [growth for growth in content["growth"] if growth["points"]]
    rows = [len(summary["figures"]) * _BAR_HEIGHT + _MARGIN for summary in bars] + [_LINE_HEIGHT] * len(lines)
    if not rows:
        raise ValueError("nothing was measured that could be drawn")
    figure = Figure(figsize=(_WIDTH, sum(rows) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 1, height_ratios=rows, squeeze=False)[:, 0]
    for summary, plot in zip(bars, axes, strict=False):
        _draw_bars(plot, summary)
    for growth, plot in zip(lines, axes[len(bars) :], strict=True):
        _draw_lines(plot, growth)
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
    plot.set_yticks(range(len(names)), names, fontsize=8)
    plot.invert_yaxis()
    plot.margins(x=0.12)
    plot.spines[["top", "right"]].set_visible(False)
    unit = "GB beyond the page cache" if in_bytes else "seconds: until ready, then first use of every page (hatched)"
    plot.set_xlabel(unit, fontsize=8)
    plot.set_title(f"{summary['scenario']}: {summary['kind']}, {summary['dtype']}", fontsize=9, loc="left")


def _draw_lines(plot: Any, growth: dict[str, Any]) -> None:
    others = iter(zip(_LINES * 2, _MARKERS * 2, strict=True))
    slopes = growth["slopes"]["used"]
    for name, points in growth["points"].items():
        colour, marker = (_OWN, "o") if name == _OWN_NAME else next(others)
        slope = f", {slopes[name]['value']:.2f} {growth['unit']}" if name in slopes else ""
        plot.plot(*zip(*points, strict=True), color=colour, marker=marker, label=f"{name}{slope}", linewidth=1.8)
    plot.set_xlabel(growth["axis"], fontsize=8)
    plot.set_ylabel("seconds, first use included", fontsize=8)
    plot.set_ylim(bottom=0)
    plot.spines[["top", "right"]].set_visible(False)
    plot.legend(fontsize=8, frameon=False)
    plot.set_title(f"growth with {growth['axis']}, {growth['dtype']}", fontsize=9, loc="left")
