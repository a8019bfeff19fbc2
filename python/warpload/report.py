"""What the last loads did: bytes, seconds by stage, who loaded each component, and when what happened.

``context`` makes the reports. Only those of outermost loads are remembered, the last few of the whole process.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from . import report_text
from .timeline import Timeline

_REMEMBERED = 64

# The names of a load's stages, which are defined here and nowhere else; ``LoadReport`` says what each is.
Stage = Literal["open", "import", "fetch", "assemble", "build", "wait", "load"]
STAGES: tuple[Stage, ...] = get_args(Stage)


def _this_thread() -> str:
    return threading.current_thread().name


@dataclass(repr=False)
class LoadReport:
    """One load; it holds nothing of what was loaded. ``print`` shows it as a table, a notebook as one of its own.

    The stages of a load, in the order in which a pipeline comes to them, are those below. The time of a stage inside
    another one counts for the inner one only.

    - ``"open"``: headers are read and checked, the arena is planned, and its bytes are put on their way.
    - ``"import"``: diffusers is imported.
    - ``"fetch"``: stock asks the Hub and downloads, until it loads the first model.
    - ``"assemble"``: stock's ``from_pretrained`` around the models: tokenizers, schedulers, the pipeline itself.
    - ``"build"``: models are built and their tensors are placed.
    - ``"wait"``: the load waits for bytes that are still under way.
    - ``"load"``: all of a load that is not a pipeline's, except the stages inside it.

    Attributes:
        source: the folder or Hub id that was loaded.
        bytes: bytes of tensor data in the files that the core loaded.
        threads: worker threads of the core; 0 when it was not asked for anything that takes some.
        seconds: wall-clock seconds by stage, in the order above, without the stages that the load did not come to. They
            add up to the time of the load, as the core's threads work beside all of them.
        components: who loaded each component that has weights: ``"native"``, or ``"stock: "`` and the reason. Where
            stock goes on without a component that failed: ``"failed: "`` and the error.
        placed_by_stock: of the native ones, those whose tensors came from the core but were put into the modules by
            stock's own code, with the reason: right as ever, but without the core's casts.
        kind: what was loaded: ``"pipeline"``, ``"model"``, ``"components"`` (of a modular pipeline), ``"adapter"``,
            ``"single file"`` or ``"file"``.
        thread: the name of the thread that loaded.
        error: what the load failed with, or the empty string.
        turned_off: what a library's version made us leave to stock altogether, or import at once where it could wait
            (``"lazy import of ..."``: only the start is slower), with the reason; see the log.
        prefetched: of the native ones, those whose bytes ``warpload.prefetch`` had put on their way, with the seconds
            between its call and the load's taking them.
        passed_over: what was prefetched for this load and was not taken, with the reason: it was read again.
    """

    source: str
    bytes: int = 0
    threads: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    components: dict[str, str] = field(default_factory=dict)
    placed_by_stock: dict[str, str] = field(default_factory=dict)
    kind: str = "pipeline"
    thread: str = field(default_factory=_this_thread)
    error: str = ""
    turned_off: dict[str, str] = field(default_factory=dict)
    prefetched: dict[str, float] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list, init=False, repr=False, compare=False)
    _timeline: Timeline = field(default_factory=Timeline, init=False, repr=False, compare=False)

    @contextlib.contextmanager
    def stage(self, name: Stage, component: str = "") -> Iterator[None]:
        """Add the seconds that the block takes to a stage, less what stages inside the block take.

        Args:
            name: one of ``STAGES``.
            component: that the block is about, for the timeline.

        Raises:
            ValueError: it is none of these.
        """
        if name not in STAGES:
            raise ValueError(f"{name!r} is no stage of a load, which are {', '.join(STAGES)}")
        begin = time.perf_counter_ns()
        self._inner.append(0.0)
        try:
            yield
        finally:
            end = time.perf_counter_ns()
            self._timeline.add(name, begin, end, component)
            elapsed = (end - begin) / 1e9
            own = elapsed - self._inner.pop()
            taken = {**self.seconds, name: self.seconds.get(name, 0.0) + own}
            self.seconds = {stage: taken[stage] for stage in STAGES if stage in taken}
            if self._inner:
                self._inner[-1] += elapsed

    def include(self, inner: LoadReport, name: str = "") -> None:
        """Take over what a load inside this one did.

        Args:
            inner: its report.
            name: what this one calls it; by default its components go under the names of its own source.
        """
        self.bytes += inner.bytes
        self.threads = max(self.threads, inner.threads)
        is_one = bool(name) and len(inner.components) == 1
        for each_of in ("components", "placed_by_stock", "prefetched", "passed_over"):
            mine: dict[str, Any] = getattr(self, each_of)
            theirs: dict[str, Any] = getattr(inner, each_of)
            mine.update({name if is_one else f"{name or inner.source}/{each}": how for each, how in theirs.items()})
        if name and inner.error:
            self.components[name] = f"failed: {inner.error}"
        self._timeline.include(inner.timeline, name or inner.source)

    @property
    def total(self) -> float:
        """Wall-clock seconds of all stages together."""
        return sum(self.seconds.values())

    @property
    def timeline(self) -> Timeline:
        """When what happened: ``save_trace`` and ``plot`` show it, ``timeline.events()`` is a list of it."""
        return self._timeline

    def save_trace(self, path: str | os.PathLike[str]) -> None:
        """Write when what happened to a file: stages, each model's building, waits, and what the core's threads did.

        The core records what its threads do where ``LoadOptions(trace=True)`` or ``WARPLOAD_TRACE=1`` asks for it. Of
        another load the file has Python's side, and says so.

        Args:
            path: the file. ``.json`` is Chrome's trace format, which https://ui.perfetto.dev and chrome://tracing open;
                ``.html`` is a page that shows the timeline and needs nothing else.

        Raises:
            InvalidArgumentError: the file has another suffix.
            OSError: the file cannot be written.
        """
        from . import trace_file

        trace_file.save(self, path)

    def plot(self) -> Any:
        """Return the timeline as a ``matplotlib.figure.Figure``, which ``savefig`` writes and a notebook shows.

        Raises:
            ImportError: matplotlib is not installed; says how to have it.
            ValueError: nothing has happened yet.
        """
        from . import timeline_figure

        return timeline_figure.figure_of(self)

    def advice(self) -> str:
        """Return what would make the next such load faster, in a sentence, or the empty string."""
        return report_text.advice(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that ``json.dumps`` takes.

        Returns:
            Every attribute by its name, and beside them ``total_seconds``, ``bytes_per_second`` (None of a load that
            took no time) and ``advice``.
        """
        return report_text.as_dict(self)

    def __str__(self) -> str:
        """Return the report as a table, the slowest stage first, with what each stage is and a sentence of advice."""
        return report_text.as_text(self)

    def __repr__(self) -> str:
        """Return one line."""
        return f"<LoadReport {report_text.summary(self).removeprefix('warpload: ')}>"

    def __rich__(self) -> Any:
        """Return the report as ``rich.print`` shows it."""
        return report_text.as_rich(self)

    def _repr_html_(self) -> str:
        """Return the report as a notebook shows it: tables, and a small picture of the timeline."""
        return report_text.as_html(self)


# One operation of a deque is whole to other threads, and to a child that is forked meanwhile: no lock to be left held.
_remembered: deque[LoadReport] = deque(maxlen=_REMEMBERED)


def remember(report: LoadReport) -> None:
    """Make this the report that ``last_report`` returns."""
    _remembered.append(report)


def last_report() -> LoadReport | None:
    """Return the report of the load that this process began last, on whichever thread, or None before the first.

    It may still be under way, or have failed.
    """
    remembered = _remembered.copy()
    return remembered[-1] if remembered else None


def reports() -> list[LoadReport]:
    """Return the reports of the last 64 loads of this process, on whichever thread, in the order in which they began.

    A load inside another one (a model of a pipeline, a file of an adapter) is told of by the outer one's report.
    """
    return list(_remembered.copy())
