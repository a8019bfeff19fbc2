"""What one load carries with it: its report, its weights, its devices, what stock finds of it, where its files lie.

One context a load, found on the thread that loads; a load inside another one (a model of a pipeline, a connected
pipeline, the files of an adapter) has a context of its own. One rule for threads that stock starts, which have none:
what they read belongs to the load among whose files it is.

    thread that loads     pipeline [ model [ ] model [ stock places it [ ] ] ]      current(): the innermost
                                                        |
    stock's own threads                                 safetensors.torch.load_file(path)    serving(path)
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import forked, options, progress_bar, report_text
from .errors import InvalidArgumentError
from .report import LoadReport, remember
from .stock import at_once, seam_check

if TYPE_CHECKING:
    from .models.conversion import Conversion
    from .models.joint_load import JointLoad
    from .models.planned_files import PlannedFiles
    from .pipelines.pipeline_load import PipelineLoad
    from .stock.construction import Built, Turn

logger = logging.getLogger("warpload")


@dataclass
class Reading:
    """What the core read for stock's code during one load.

    Attributes:
        sizes: bytes of tensor data in each file that the core read.
        readers: who read each file, by its name, in the words of ``LoadReport.components``.
        oddities: what is odd about the files, a sentence each.
    """

    sizes: list[int] = field(default_factory=list)
    readers: dict[str, str] = field(default_factory=dict)
    oddities: list[str] = field(default_factory=list)


@dataclass(eq=False)
class LoadContext:
    """One load under way.

    Attributes:
        report: what is told of it.
        joint: the models whose bytes are loaded together with it, or None where it loads none.
        pipeline: the pipeline that it is a part of, or None.
        folders: where its files lie, as far as is known: absolute paths of folders, or of files.
        unread: why the core reads no files for stock here, or the empty string if it does.
        reading: what the core read for stock's code.
        built: a model that stock finds built where it would build it, once.
        turn: stock's turn to construct a model, which it takes where it begins to.
        building: what stock builds each model without weights in, by itself; None where that is as ever.
        conversion: of the single file that stock converts here, where the core places what comes of it.
        spares_warmup: whether memory that transformers would take for the tensors is not taken.
        planned: the files of a quantised model, as far as they are in the plan; stock's reader gets their tensors.
    """

    report: LoadReport
    joint: JointLoad | None = None
    pipeline: PipelineLoad | None = None
    folders: list[str] = field(default_factory=list)
    unread: str = ""
    reading: Reading = field(default_factory=Reading)
    built: Built | None = None
    turn: Turn | None = None
    building: Callable[[], contextlib.AbstractContextManager[None]] | None = None
    spares_warmup: bool = False
    planned: PlannedFiles | None = None
    conversion: Conversion | None = None


# What loads on this thread: the innermost load.
_current: ContextVar[LoadContext | None] = ContextVar("warpload_load", default=None)
# All of the process, in the order in which they began. Lists change by one operation at a time: no lock is left held.
_open: list[LoadContext] = []


@forked.anew_in_child
def _start_without_loads() -> None:
    # What a child loads is its own affair: nobody there waits for what its parent began.
    _current.set(None)
    _open.clear()


def current() -> LoadContext | None:
    """Return the innermost load under way on this thread, or None."""
    return _current.get()


def serving(file: str) -> LoadContext | None:
    """Return the load that a file is read for, or None where that is none of ours."""
    if (mine := _current.get()) is not None:
        return mine
    path = os.path.abspath(file)
    for load in reversed(_open[:]):
        if any(path == each or path.startswith(each + os.sep) for each in load.folders):
            return load
    return None


@contextlib.contextmanager
def entered(load: LoadContext) -> Iterator[LoadContext]:
    """Make a load the innermost one of this thread inside the block."""
    token = _current.set(load)
    _open.append(load)
    try:
        yield load
    finally:
        _current.reset(token)
        with contextlib.suppress(ValueError):  # in a child it is gone
            _open.remove(load)


@contextlib.contextmanager
def began(report: LoadReport, name: str = "", *, library: str = "diffusers", **settings: Any) -> Iterator[LoadContext]:
    """Let the block be a load with a report of its own: remembered, or a part of the load under way on this thread.

    Args:
        report: of the load that begins.
        name: what the outer load's report calls it; see ``LoadReport.include``.
        library: whose switch says whether the load may show a bar; see ``progress_audience``.
        settings: further attributes of the context.
    """
    outer = _current.get()
    if outer is None:
        remember(report)
    report.timeline.is_recorded = _asks_for_records()
    try:
        with progress_bar.Shown(report.source, library), entered(LoadContext(report, **settings)) as load:
            yield load
    except BaseException as error:
        report.error = str(error) or type(error).__name__
        raise
    finally:
        report.timeline.settle()
        report.turned_off = {**seam_check.turned_off(), **at_once.turned_off()}
        _log(report, outer)
        if outer is not None:
            outer.report.include(report, name)


def _asks_for_records() -> bool:
    try:
        return options.trace()
    except InvalidArgumentError:  # what needs the options says so
        return False


@contextlib.contextmanager
def span(kind: str, component: str = "") -> Iterator[None]:
    """Have the timeline of this thread's load tell of the block; without a load nothing does.

    Args:
        kind: what the block does.
        component: that it is about.
    """
    load = _current.get()
    with contextlib.nullcontext() if load is None else load.report.timeline.span(kind, component):
        yield


def _log(report: LoadReport, outer: LoadContext | None) -> None:
    """Tell whoever listens at DEBUG of each load, the ones inside others included; the table of the outermost."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s", report if outer is None else report_text.summary(report))


@contextlib.contextmanager
def part(load: LoadContext, **settings: Any) -> Iterator[LoadContext]:
    """Let the block be a part of a load: with its report and its weights, and with a reading of its own.

    Args:
        load: the load.
        settings: attributes of the context that differ from the load's.
    """
    given = {"joint": load.joint, "pipeline": load.pipeline, **settings}
    with entered(LoadContext(load.report, **given)) as inner:
        yield inner
