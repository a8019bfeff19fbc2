"""What `warpload doctor` does: look at everything, measure for two seconds, show it with advice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from warpload import consoles
from warpload.doctoring import gpu, libraries, limits, place, system
from warpload.doctoring.finding import Finding, Section, as_dict
from warpload.refusing import refuse

_STYLES = {"good": "green", "note": "yellow", "bad": "bold red"}
_MARKS = {"good": "ok", "note": "!", "bad": "!!"}


def run_doctor(named: str | None, *, as_json: bool = False, console: Console | None = None) -> int:
    """Examine the machine and, if one is named, a place; returns the process's exit status.

    Args:
        named: a file, or a model's or pipeline's folder.
        as_json: print plain data instead.
        console: where to print to.
    """
    console = console or consoles.for_results()
    where = None if named is None else Path(named).expanduser().absolute()
    if where is not None and not where.exists():
        return refuse(console, f"{named}: there is no such file or folder (check the spelling)", 2)
    sections = examine(where)
    if as_json:
        print(json.dumps(as_dict(sections), indent=2))
    else:
        _show(sections, console)
    return 1 if any(each.level == "bad" for _, findings in sections for each in findings) else 0


def examine(where: Path | None) -> list[Section]:
    """Return all that was found, by section."""
    files = [] if where is None else place.weight_files(where)
    measured = limits.measure(files)
    sections = [libraries.examine(), system.examine(), gpu.examine(), place.rates(measured)]
    return sections if where is None else [*sections, place.examine(where, files, measured)]


def _show(sections: Sequence[Section], console: Console) -> None:
    for title, findings in sections:
        table = Table(
            title=title, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False
        )
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for each in findings:
            table.add_row(Text(_MARKS[each.level], style=_STYLES[each.level]), each.name, _told(each))
        console.print(table)
        console.print()
    worst = [each for _, findings in sections for each in findings if each.level == "bad"]
    summed = f"{len(worst)} to mend: {', '.join(each.name for each in worst)}" if worst else "nothing to mend"
    console.print(summed, style=_STYLES["bad" if worst else "good"], highlight=False)


def _told(finding: Finding) -> Text:
    text = Text(finding.value)
    if finding.advice:
        text.append(f"\n{finding.advice}", style="dim")
    return text
