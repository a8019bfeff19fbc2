"""The table that `warpload demo` shows of a comparison: medians, ratios, and whether the tensors are equal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from warpload.measuring.comparison import LOADERS, Comparison
from warpload.measuring.runs import median_seconds

_SHOWN_DIFFERENCES = 5
# Of the table: title, mode of the runs that it comes from, stages that it adds up.
ROWS = (
    ("interpreter, import torch", "load", ("interpreter", "torch")),
    ("import the library", "load", ("library",)),
    ("load (from_pretrained)", "load", ("load",)),
    ("first read of all weights", "load", ("first_read",)),
    ("whole script, start to ready", "whole", ("total",)),
)


def comparison_table(comparison: Comparison, title: str) -> Group:
    """Render the medians, the ratios, and whether the tensors are equal; no ratios of what the core did not load."""
    if not comparison.is_of_the_core:
        return Group(Text(title), *_by_stock(comparison))
    table = Table(title=title, title_justify="left")
    table.add_column("median seconds", no_wrap=True)
    for heading in ("runs", "stock", "warpload", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, mode, stages in ROWS:
        stock_runs, own_runs = comparison.of("stock", mode), comparison.of("warpload", mode)
        if not stock_runs or not own_runs:
            continue
        stock, own = median_seconds(stock_runs, *stages), median_seconds(own_runs, *stages)
        style = "bold" if stages in (("load",), ("total",)) else ""
        table.add_row(name, str(len(own_runs)), f"{stock:.2f}", f"{own:.2f}", _ratio(stock, own), style=style)
    table.add_section()
    peaks = [max(run.peak_rss_bytes for run in comparison.runs if run.loader == loader) / 1e9 for loader in LOADERS]
    table.add_row("peak memory, GB (with mapped files)", "", *(f"{peak:.2f}" for peak in peaks), _ratio(*peaks))
    return Group(table, _cache_line(comparison), *_by_stock(comparison), *_verdict(comparison))


def _ratio(stock: float, own: float) -> str:
    return f"{stock / own:.2f}" if own > 0 else "-"


def _cache_line(comparison: Comparison) -> Text:
    before, after = (sorted({run.page_cache[when] for run in comparison.runs}) for when in (0, 1))
    return Text(f"page cache before the runs: {', '.join(before)}; after them: {', '.join(after)}")


def _by_stock(comparison: Comparison) -> list[Text]:
    named = ", ".join(f"{name} ({who.removeprefix('stock: ')})" for name, who in comparison.by_stock.items())
    if not comparison.is_of_the_core:
        reason = f"nothing was loaded by the core, so there is nothing to compare: stock loaded {named}"
        return [Text(reason, style="bold red")]
    return [Text(f"loaded by stock in both: {named}", style="yellow")] if named else []


def _verdict(comparison: Comparison) -> list[Text]:
    if not comparison.differences:
        return [Text(f"all {comparison.tensor_count} tensors equal, bit for bit", style="green")]
    shown = comparison.differences[:_SHOWN_DIFFERENCES]
    lines = [Text(f"differences: {len(comparison.differences)}; the first {len(shown)}:", style="bold red")]
    return lines + [Text(f"  {line}") for line in shown]
