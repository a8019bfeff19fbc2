"""Compares warpload with stock diffusers on one pipeline: seconds by stage, and every tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from warpload.demo.digest import differences
from warpload.demo.runs import Conditions, Request, Run, median_seconds, run_contender

LOADERS = ("stock", "warpload")

_SHOWN_DIFFERENCES = 5
# Row's title, mode of the runs that it comes from, stages that it adds up.
_ROWS = (
    ("interpreter, import torch", "load", ("interpreter", "torch")),
    ("import the library", "load", ("library",)),
    ("load (from_pretrained)", "load", ("load",)),
    ("first read of all weights", "load", ("first_read",)),
    ("whole script, start to ready", "whole", ("total",)),
)

# Called before every process with what runs next.
Announce = Callable[[str], None]


@dataclass(frozen=True)
class Comparison:
    """The runs of both loaders in one dtype.

    Attributes:
        dtype: that the pipeline was loaded in.
        runs: all of them, in the order in which they ran.
        differences: one line for every component or tensor that is not what stock loaded.
        tensor_count: number of tensors that were compared.
    """

    dtype: str
    runs: tuple[Run, ...]
    differences: tuple[str, ...]
    tensor_count: int

    def of(self, loader: str, mode: str) -> list[Run]:
        """Return the runs of one loader in one mode."""
        return [run for run in self.runs if run.loader == loader and run.mode == mode]

    @property
    def by_stock(self) -> dict[str, str]:
        """The components that stock loaded in warpload's runs, with the reason."""
        return {name: who for name, who in self._components.items() if who != "native"}

    @property
    def is_of_the_core(self) -> bool:
        """Whether the core loaded anything; else two loads by stock are compared."""
        return not self._components or len(self.by_stock) < len(self._components)

    @property
    def _components(self) -> dict[str, str]:
        return next((run.components for run in self.runs if run.components), {})


def compare(
    conditions: Conditions,
    dtype: str,
    run_count: int,
    *,
    whole_count: int = 1,
    announce: Announce = lambda _: None,
) -> Comparison:
    """Run stock and warpload in turn, each time in a fresh process, and compares what they loaded.

    Args:
        conditions: the pipeline, and the machine's state for every load.
        dtype: that it is loaded in.
        run_count: timed loads of each loader with everything imported beforehand; at least 1.
        whole_count: runs of each loader from process start to ready; at least 1, and the first is hashed.
        announce: is told what runs next.

    Raises:
        ContenderError: a process failed.
    """
    plan = [("load", number) for number in range(run_count)] + [("whole", number) for number in range(whole_count)]
    runs = []
    for mode, number in plan:
        for loader in LOADERS:
            count = whole_count if mode == "whole" else run_count
            announce(f"{dtype}, {mode}, run {number + 1} of {count}: {loader}")
            request = Request(loader, dtype, mode, digest=mode == "whole" and number == 0)
            runs.append(run_contender(request, conditions))
    return judge(dtype, runs)


def judge(dtype: str, runs: Sequence[Run]) -> Comparison:
    """Compare the digests among the runs.

    Raises:
        ValueError: a loader has no run with a digest.
    """
    digests = {run.loader: run.digest for run in runs if run.digest is not None}
    missing = [loader for loader in LOADERS if loader not in digests]
    if missing:
        raise ValueError(f"no run of {' and '.join(missing)} has a digest")
    lines = differences(digests["stock"], digests["warpload"])
    return Comparison(dtype, tuple(runs), tuple(lines), len(digests["stock"].tensors))


def comparison_table(comparison: Comparison, title: str) -> Group:
    """Render the medians, the ratios, and whether the tensors are equal; no ratios of what the core did not load."""
    if not comparison.is_of_the_core:
        return Group(Text(title), *_by_stock(comparison))
    table = Table(title=title, title_justify="left")
    table.add_column("median seconds", no_wrap=True)
    for heading in ("runs", "stock", "warpload", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, mode, stages in _ROWS:
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
        return [Text(reason, style="bold red"), Text("(save the pipeline as safetensors: save_pretrained does)")]
    return [Text(f"loaded by stock in both: {named}", style="yellow")] if named else []


def _verdict(comparison: Comparison) -> list[Text]:
    if not comparison.differences:
        return [Text(f"all {comparison.tensor_count} tensors equal, bit for bit", style="green")]
    shown = comparison.differences[:_SHOWN_DIFFERENCES]
    lines = [Text(f"differences: {len(comparison.differences)}; the first {len(shown)}:", style="bold red")]
    return lines + [Text(f"  {line}") for line in shown]
