"""How a report of a load reads: in a line, as a table of text, for rich, in a notebook, and as plain data."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any

from .units import duration, rate, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .report import LoadReport

# What each stage is, in a few words; ``LoadReport`` has the full ones.
LEGEND = {
    "open": "headers read, arena planned, bytes sent for",
    "import": "diffusers imported",
    "fetch": "asked of the Hub, and downloaded",
    "assemble": "tokenizers, schedulers and the pipeline, by stock",
    "build": "models built, their tensors placed",
    "wait": "waited for bytes under way",
    "load": "the load itself",
}

# A stage that takes more than this part of a load is what advice is about.
_MOST = 0.5
# Shorter loads need none.
_WORTH_ADVICE = 1.0


# -- what is said of one load -----------------------------------------------------------------------------------------


def summary(report: LoadReport) -> str:
    """Return one line: what was loaded, how much of it by the core, and how long all of it took."""
    total = report.total
    by_core = f"{size(report.bytes)} by the core in {duration(total)}"
    speed = rate(report.bytes, total)
    return f"warpload: {report.source}: {by_core}{f', {speed}' if speed else ''}{_further(report)}"


def components(report: LoadReport) -> list[tuple[str, str]]:
    """Return each component with who loaded it and what is not the plain case of it."""
    return [(name, how + _of_component(report, name)) for name, how in report.components.items()]


def stages(report: LoadReport) -> list[tuple[str, str, str, str]]:
    """Return name, time, share and meaning of each stage, the slowest first."""
    total = report.total or 1.0
    slowest = sorted(report.seconds.items(), key=lambda stage: -stage[1])
    return [(name, duration(spent), f"{spent / total:.0%}", LEGEND.get(name, "")) for name, spent in slowest]


def remarks(report: LoadReport) -> list[str]:
    """Return what else there is to say: the error, what is turned off, and advice."""
    said = [f"failed: {report.error}"] if report.error else []
    said += [f"turned off: {feature}: {reason}" for feature, reason in report.turned_off.items()]
    if advised := report.advice():
        said.append(f"advice: {advised}")
    return said


def advice(report: LoadReport) -> str:
    """Return what would make the next such load faster, in a sentence, or the empty string."""
    return next(_advised(report), "")


def _advised(report: LoadReport) -> Iterator[str]:
    if report.error:
        return
    pickled = [name for name, how in report.components.items() if how.startswith("stock: no safetensors, but")]
    if pickled:
        yield f"{_listed(pickled)} lie in pickled files; `warpload convert` makes a folder that the core can load."
    for name, reason in report.passed_over.items():
        yield f"{name} was prefetched in vain, as {reason}; ask for the same in both calls."
    if report.total < _WORTH_ADVICE:
        return
    for stage, sentence in _OF_STAGES.items():
        if report.seconds.get(stage, 0.0) > _MOST * report.total:
            yield sentence


_OF_STAGES = {
    "fetch": "Most of the time went to the Hub; the files are in its cache now, and the next load need not ask.",
    "wait": "Most of the time went to waiting for bytes; `warpload.prefetch(...)` as the first line of the program has "
    "them under way while it imports.",
    "import": "Most of the time went to importing diffusers; let warpload load before anything else imports it.",
}


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _of_component(report: LoadReport, name: str) -> str:
    placed = f" (placed by stock: {report.placed_by_stock[name]})" if name in report.placed_by_stock else ""
    early = f" (prefetched {duration(report.prefetched[name])} before)" if name in report.prefetched else ""
    passed = f" (prefetched in vain: {report.passed_over[name]})" if name in report.passed_over else ""
    return placed + early + passed


def _further(report: LoadReport) -> str:
    kind = "" if report.kind == "pipeline" else report.kind
    thread = "" if report.thread == threading.main_thread().name else f"on {report.thread}"
    further = " ".join(filter(None, (kind, thread)))
    return f" ({further})" if further else ""


# -- in which form ----------------------------------------------------------------------------------------------------


def as_text(report: LoadReport) -> str:
    """Return a table of plain text: who loaded what, then the stages, the slowest first."""
    named, staged = components(report), stages(report)
    width = max([len(name) for name, *_ in (*named, *staged)], default=0)
    lines = [summary(report)]
    lines += [f"  {name:<{width}}  {how}" for name, how in named]
    taken = max([len(spent) for _, spent, *_ in staged], default=0)
    lines += [
        f"  {name:<{width}}  {spent:>{taken}}  {share:>4}  {what}".rstrip() for name, spent, share, what in staged
    ]
    return "\n".join([*lines, *(f"  {remark}" for remark in remarks(report))])


def as_rich(report: LoadReport) -> Any:
    """Return the same as rich draws it; called by ``rich.print(report)``."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = [Text(summary(report), style="bold")]
    for titles, rows in _tables(report):
        table = Table(*titles, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*map(Text, row))
        parts += [table]
    return Group(*parts, *map(Text, remarks(report)))


def as_html(report: LoadReport) -> str:
    """Return the same for a notebook."""
    import html

    from . import timeline_svg

    cell = "<td style='text-align:left'>{}</td>"
    written = [f"<p><b>{html.escape(summary(report))}</b></p>"]
    for titles, rows in _tables(report):
        head = "".join(f"<th style='text-align:left'>{title}</th>" for title in titles)
        body = "".join(f"<tr>{''.join(cell.format(html.escape(each)) for each in row)}</tr>" for row in rows)
        written.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    written += [f"<p>{html.escape(remark)}</p>" for remark in remarks(report)]
    return "\n".join(filter(None, [*written, timeline_svg.svg_of(report.timeline)]))


def _tables(report: LoadReport) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    tables: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = [
        (("component", "loaded by"), [*components(report)]),
        (("stage", "time", "share", "what it is"), [*stages(report)]),
    ]
    return [(titles, rows) for titles, rows in tables if rows]


def as_dict(report: LoadReport) -> dict[str, Any]:
    """Return plain data that ``json.dumps`` takes: every public attribute, the total, the rate and the advice."""
    public = [each.name for each in dataclasses.fields(report) if not each.name.startswith("_")]
    told: dict[str, Any] = {}
    for name in public:
        value = getattr(report, name)
        told[name] = dict(value) if isinstance(value, dict) else value
    total = report.total
    return {
        **told,
        "total_seconds": total,
        "bytes_per_second": report.bytes / total if total > 0 else None,
        "advice": report.advice(),
    }
