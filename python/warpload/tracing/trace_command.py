"""What `warpload trace` does: load what is meant in this process, and write when what happened."""

from __future__ import annotations

import functools
import importlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

import warpload
from warpload import consoles, strings, timeline_figure, trace_file, units
from warpload.errors import InvalidArgumentError
from warpload.inspecting import foretelling
from warpload.inspecting.subject import Subject, SubjectError, find_subject, refuse_other_folders
from warpload.measuring.runs import ELEMENT_SIZES
from warpload.options import LoadOptions
from warpload.refusing import refuse
from warpload.report import LoadReport, last_report
from warpload.verifying import fresh_load

_PICTURES = (".png", ".svg", ".pdf")

# What imported something before the load began: its name, begin and end.
_Imports = list[tuple[str, int, int]]


@dataclass(frozen=True)
class TraceOptions:
    """The options of `warpload trace`; see there."""

    source: str
    output: Path
    dtype: str = "none"
    variant: str | None = None
    device: str | None = None
    plot: Path | None = None


def run_trace(options: TraceOptions, console: Console | None = None, messages: Console | None = None) -> int:
    """Load, and write the timeline; returns the process's exit status."""
    console, messages = console or consoles.for_results(), messages or consoles.for_messages()
    if options.dtype not in ELEMENT_SIZES:
        return refuse(messages, f"--dtype is {options.dtype!r}, not float16, bfloat16, float32 or none", 2)
    try:
        _check_outputs(options)
        subject = find_subject(options.source, options.variant)
        return _trace(options, subject, console, messages)
    except KeyboardInterrupt:
        return refuse(messages, "interrupted", 130)
    except (SubjectError, InvalidArgumentError) as error:
        return refuse(messages, strings.shown(str(error)), 2)
    except OSError as error:
        return refuse(messages, strings.shown(f"cannot be written: {error}"), 1)


def _check_outputs(options: TraceOptions) -> None:
    """Refuse what could not be written, before anything is loaded.

    Raises:
        InvalidArgumentError: a file has no suffix that we know, or no folder to lie in.
    """
    trace_file.check_name(options.output)
    if options.plot is not None and options.plot.suffix.lower() not in _PICTURES:
        raise InvalidArgumentError(f"--plot: {options.plot} ends with none of {', '.join(_PICTURES)} (name it so)")
    if options.plot is not None and find_spec("matplotlib") is None:
        raise InvalidArgumentError(f"--plot cannot be drawn: {timeline_figure.CURE}")
    for file in filter(None, (options.output, options.plot)):
        if not file.absolute().parent.is_dir():
            raise InvalidArgumentError(f"{file}: there is no folder {file.parent} (make it, or name another file)")


def _trace(options: TraceOptions, subject: Subject, console: Console, messages: Console) -> int:
    load = _loader_of(subject, options)
    imports: _Imports = []
    before, failure = last_report(), ""
    try:
        with messages.status(f"loading {subject.source}"), LoadOptions(trace=True):
            load(imports)
    except Exception as error:  # of the files, of a device, of any library
        failure = f"{subject.source} cannot be loaded: {str(error) or type(error).__name__}"
    report = last_report()
    if report is not None and report is not before:
        for name, begin, end in imports:
            report.timeline.add("import", begin, end, name)
        _write(report, options, console)
    return refuse(messages, strings.shown(failure), 1) if failure else 0


def _loader_of(subject: Subject, options: TraceOptions) -> Callable[[_Imports], object]:
    """Return what loads the subject, and notes what it imports before.

    Raises:
        SubjectError: it is nothing that can be loaded as a whole.
    """
    refuse_other_folders(subject)
    if subject.kind == "file":
        return functools.partial(_load_file, subject, options)
    if subject.kind == "pipeline":
        return functools.partial(_load_pipeline, subject, options)
    component = foretelling.loadable_model(subject, options.variant)
    return functools.partial(_load_model, component.library, component.class_name, subject, options)


def _load_file(subject: Subject, options: TraceOptions, imports: _Imports) -> None:
    dtype = None if options.dtype == "none" else options.dtype
    warpload.load_file(subject.path, device=options.device or "cpu", dtype=dtype)


def _load_pipeline(subject: Subject, options: TraceOptions, imports: _Imports) -> None:
    warpload.DiffusionPipeline.from_pretrained(subject.source, **_keywords(options, imports))


def _load_model(library: str, class_name: str, subject: Subject, options: TraceOptions, imports: _Imports) -> None:
    module = _imported(fresh_load.module_name(library), imports)
    with warpload.accelerated():
        getattr(module, class_name).from_pretrained(subject.source, **_keywords(options, imports))


def _keywords(options: TraceOptions, imports: _Imports) -> dict[str, Any]:
    given: dict[str, Any] = {"variant": options.variant, "device_map": options.device}
    if options.dtype != "none":
        given["dtype"] = getattr(_imported("torch", imports), options.dtype)
    return {name: value for name, value in given.items() if value is not None}


def _imported(name: str, imports: _Imports) -> Any:
    begin = time.perf_counter_ns()
    module = importlib.import_module(name)
    imports.append((name, begin, time.perf_counter_ns()))
    return module


def _write(report: LoadReport, options: TraceOptions, console: Console) -> None:
    report.save_trace(options.output)
    events = report.timeline.events()
    console.print(report)
    told = f"{units.counted(len(events), 'event')}, {units.size(os.path.getsize(options.output))}"
    opened = "opens in https://ui.perfetto.dev" if options.output.suffix.lower() == ".json" else "opens in any browser"
    written = [f"{options.output}: {told}; it {opened}"]
    if options.plot is not None and events:
        report.plot().savefig(options.plot, dpi=110)
        written.append(f"{options.plot}: the same, drawn")
    for line in written:
        console.print(strings.shown(line), markup=False, highlight=False, soft_wrap=True)
