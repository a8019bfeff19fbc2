"""The tables that `warpload bench` shows: a scenario each, the growth, and where warpload is not the first."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from warpload.measuring.contenders import CONTENDERS, FLOOR, OWN
from warpload.measuring.results import (
    AXES,
    BYTES,
    FIRST_USE,
    MEMORY,
    PROCESSOR,
    READY,
    SCENARIOS,
    USED,
    Problem,
    Results,
    first_places,
)
from warpload.measuring.runs import Spread

_KINDS = {"files": "tensors of files", "pipeline": "whole pipeline"}


def result_tables(results: Results) -> Group:
    """Render everything that was found."""
    cache = "not in the page cache" if results.cold else "in the page cache"
    parts: list[RenderableType] = []
    for group in results.groups():
        scenario, kind, dtype = group
        what = f"{SCENARIOS[scenario]}; {_KINDS[kind]}" if scenario == MEMORY else SCENARIOS[scenario]
        table = _memory_table if scenario == MEMORY else _times_table
        title = Text(f"{what}: {dtype}, files {cache}", style="italic")
        parts += [title, table(results, group), Text("")]
    for axis, dtype in results.lines():
        parts += [*_growth_table(results, axis, dtype), Text("")]
    return Group(*parts, *_conversions(results), *_problems(results.problems), *_verdict(results))


def _times_table(results: Results, group: tuple[str, str, str]) -> Table:
    table = Table()
    table.add_column("median seconds", no_wrap=True)
    for heading in ("ready", "first use", "both", "min-max", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    own = results.spread(group, OWN, USED)
    names = [name for name, _ in results.ranking(group)]
    for name in [*names, FLOOR] if results.spread(group, FLOOR, USED) else names:
        ready, first, used = (results.spread(group, name, figure) for figure in (READY, FIRST_USE, USED))
        assert ready is not None
        assert first is not None
        assert used is not None
        table.add_row(
            name,
            *(_seconds(it.median) for it in (ready, first, used)),
            f"{_seconds(used.smallest)}-{_seconds(used.largest)}",
            _ratio(used, own),
            style="bold" if name == OWN else "",
        )
    return table


def _memory_table(results: Results, group: tuple[str, str, str]) -> Table:
    table = Table()
    table.add_column("gigabytes", no_wrap=True)
    for heading in ("most", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    own = results.spread(group, OWN, BYTES)
    for name, spread in results.ranking(group):
        style = "bold" if name == OWN else ""
        table.add_row(name, f"{spread.median / 1e9:.3f}", _ratio(spread, own), style=style)
    return table


def _growth_table(results: Results, axis: str, dtype: str) -> tuple[Text, Table]:
    unit, word = AXES[axis].unit, AXES[axis].word
    slopes = results.slopes(axis, dtype, USED)
    points = results.points(axis, dtype, slopes[0][0], USED) if slopes else []
    extent = f"{points[0][0]:.5g} to {points[-1][0]:.5g} {word}" if points else word
    title = Text(f"growth: {extent}, {dtype}; the last column in seconds, for the most", style="italic")
    table = Table()
    table.add_column(unit, no_wrap=True)
    for heading in ("ready", "processor", "both", "at most"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, used in slopes:
        others = (results.slope(axis, dtype, name, figure) for figure in (READY, PROCESSOR))
        cells = [f"{slope.value:.2f}" for slope in (*others, used) if slope]
        table.add_row(name, *cells, f"{used.at_most:.3f}", style="bold" if name == OWN else "")
    return title, table


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _ratio(spread: Spread, own: Spread | None) -> str:
    return f"{spread.median / own.median:.2f}" if own is not None and own.median > 0 else "-"


def _conversions(results: Results) -> Iterator[Text]:
    for name, conversion in results.conversions.items():
        size = f"{conversion.byte_count / 1e9:.2f} GB"
        yield Text(
            f"{name}: {size} in its own format ({CONTENDERS[name].suffix}), written in {conversion.seconds:.2f} s"
        )


def _problems(problems: list[Problem]) -> Iterator[Text]:
    """Yield a line for what a contender said; once, whatever the dtypes and scenarios."""
    said: dict[tuple[str, str, str, str], list[str]] = {}
    for problem in problems:
        key = (problem.contender, problem.kind, problem.message, problem.cure)
        said.setdefault(key, []).append(f"{problem.scenario} {problem.dtype}".strip())
    for (contender, kind, message, cure), where in said.items():
        style = "bold red" if contender == OWN or kind == "wrong" else "yellow"
        words = f"{contender}: {kind} ({', '.join(where)}): {message}"
        yield Text(f"{words}\n  {cure}" if cure else words, style=style)


def _verdict(results: Results) -> Iterator[Text]:
    first, behind = first_places(results)
    if first:
        yield Text(f"warpload is first: {', '.join(first)}", style="green")
    if behind:
        yield Text(f"warpload is not first: {', '.join(behind)}", style="yellow")
    if results.compared and not any(problem.kind in ("wrong", "unchecked") for problem in results.problems):
        yield Text("all tensors of all contenders are stock's, bit for bit")
