"""What `warpload verify` does: check the files, load twice, say what differs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from warpload import consoles, strings, units
from warpload.errors import WarploadError
from warpload.inspecting.subject import Subject, SubjectError, find_subject
from warpload.measuring.runs import ELEMENT_SIZES
from warpload.refusing import refuse
from warpload.verifying import hub_hashes
from warpload.verifying.comparing import Comparison, LoadFailedError, compare
from warpload.verifying.hub_hashes import Checked, NoHashesError

_SHOWN_DIFFERENCES = 20
# Of one load, on the slowest disk that anybody waits for.
_LIMIT = 3600.0


@dataclass(frozen=True)
class VerifyOptions:
    """The options of `warpload verify`; see there."""

    source: str
    dtype: str = "none"
    variant: str | None = None
    hashes: bool = False
    json: bool = False


def run_verify(options: VerifyOptions, console: Console | None = None, messages: Console | None = None) -> int:
    """Verify; returns the process's exit status."""
    console, messages = console or consoles.for_results(), messages or consoles.for_messages()
    if options.dtype not in ELEMENT_SIZES:
        return refuse(messages, f"--dtype is {options.dtype!r}, not float16, bfloat16, float32 or none", 2)
    try:
        return _verify(options, console, messages)
    except KeyboardInterrupt:
        return refuse(messages, "interrupted", 130)
    except (SubjectError, NoHashesError) as error:
        return refuse(messages, strings.shown(str(error)), 2)
    except (LoadFailedError, OSError, WarploadError) as error:
        return refuse(messages, strings.shown(str(error)), 1)


def _verify(options: VerifyOptions, console: Console, messages: Console) -> int:
    subject = find_subject(options.source, options.variant)
    checked = _check(subject, messages) if options.hashes else None
    with messages.status("") as status:
        comparison = compare(
            subject,
            dtype=options.dtype,
            variant=options.variant,
            limit=_LIMIT,
            announce=lambda loader: status.update(f"{loader} loads {subject.source}"),
        )
    if options.json:
        text = json.dumps(_as_json(options, subject, comparison, checked), indent=2)
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        for line, style in [*_lines_of_hashes(checked), *_lines_of_loads(comparison)]:
            console.print(strings.shown(line), style=style, markup=False, highlight=False, soft_wrap=True)
    return 0 if _is_equal(comparison, checked) else 1


def _is_equal(comparison: Comparison, checked: Checked | None) -> bool:
    same_files = checked is None or not checked.different
    return same_files and comparison.is_of_the_core and not comparison.differences


def _check(subject: Subject, messages: Console) -> Checked:
    files = hub_hashes.files_of(subject)
    with _bar(sum(file.stat().st_size for file in files.values()), messages) as advance:
        return hub_hashes.check(subject, advance)


@contextlib.contextmanager
def _bar(total: int, messages: Console) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=messages, transient=True, disable=not messages.is_terminal) as progress:
        task = progress.add_task("hashing", total=total)
        yield lambda count: progress.advance(task, count)


def _lines_of_hashes(checked: Checked | None) -> Iterator[tuple[str, str]]:
    if checked is None:
        return
    if not checked.different:
        yield f"{units.counted(len(checked.equal), 'file')} the Hub's, by the hashes of {checked.known_from}", "green"
    for name, how in checked.different.items():
        yield f"{name} is not the Hub's: {how} (from {checked.known_from}; fetch it again)", "bold red"
    if checked.unknown:
        yield f"no hash is known of {', '.join(checked.unknown)}", "yellow"


def _lines_of_loads(comparison: Comparison) -> Iterator[tuple[str, str]]:
    native = [name for name, how in comparison.components.items() if how == "native"]
    placed = {name: f"{name} ({why})" for name, why in comparison.placed_by_stock.items()}
    by_stock = {name: how for name, how in comparison.components.items() if how != "native"}
    if native:
        yield f"loaded by the core: {', '.join(name for name in native if name not in placed) or 'nothing else'}", ""
    if placed:
        yield f"read by the core, placed by stock: {', '.join(placed.values())}", "yellow"
    for name, how in by_stock.items():
        yield f"loaded by stock in both: {name} ({how.removeprefix('stock: ')})", "yellow"
    if not comparison.is_of_the_core:
        yield "nothing was loaded by the core, so there is nothing to compare", "bold red"
        return
    told = ", ".join(units.counted(count, kind) for kind, count in comparison.counted.items() if count)
    if not comparison.differences:
        yield f"all equal, bit for bit: {told}", "green"
        return
    shown = comparison.differences[:_SHOWN_DIFFERENCES]
    yield f"differences: {len(comparison.differences)} in {told}; the first {len(shown)}:", "bold red"
    for line in shown:
        yield f"  {line}", ""


def _as_json(
    options: VerifyOptions, subject: Subject, comparison: Comparison, checked: Checked | None
) -> dict[str, Any]:
    return {
        "schema": 1,
        "source": subject.source,
        "kind": subject.kind,
        "dtype": None if options.dtype == "none" else options.dtype,
        "equal": _is_equal(comparison, checked),
        **asdict(comparison),
        "hashes": None if checked is None else asdict(checked),
    }
