"""What the last load did: bytes, seconds by stage, and who loaded each component."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class LoadReport:
    """One load of a pipeline or a model.

    Attributes:
        source: the folder or Hub id that was loaded.
        bytes: bytes of tensor data in the files that the core loaded.
        threads: worker threads of the core; 0 when it was not asked for anything.
        seconds: wall-clock seconds by stage, in the order of the stages; they add up to the load, as native threads
            work beside all of them.
        components: who loaded each component that has weights: ``"native"``, or ``"stock: "`` and the reason.
        placed_by_stock: of the native ones, those whose tensors came from the core but were put into the modules by
            stock's own code, with the reason: right as ever, but without the core's casts.
    """

    source: str
    bytes: int = 0
    threads: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    components: dict[str, str] = field(default_factory=dict)
    placed_by_stock: dict[str, str] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list, init=False, repr=False, compare=False)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to the stage of that name, less what stages inside it take."""
        begin = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            elapsed = time.perf_counter() - begin
            own = elapsed - self._inner.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + own
            if self._inner:
                self._inner[-1] += elapsed

    def include(self, inner: LoadReport) -> None:
        """Take over what a load inside this one did, under the names of its own source."""
        self.bytes += inner.bytes
        self.threads = max(self.threads, inner.threads)
        for mine, theirs in ((self.components, inner.components), (self.placed_by_stock, inner.placed_by_stock)):
            mine.update({f"{inner.source}/{name}": how for name, how in theirs.items()})

    def __str__(self) -> str:
        """Return the report as a table."""
        total = sum(self.seconds.values())
        lines = [f"warpload: {self.source}: {self.bytes / 1e9:.2f} GB by the core in {total:.2f} s"]
        width = max([len(name) for name in (*self.components, *self.seconds)], default=0)
        for name, how in self.components.items():
            placed = self.placed_by_stock.get(name)
            lines.append(f"  {name:<{width}}  {how}" + (f" (placed by stock: {placed})" if placed else ""))
        lines += [f"  {name:<{width}}  {seconds:.3f} s" for name, seconds in self.seconds.items()]
        return "\n".join(lines)


_last = threading.local()


def remember(report: LoadReport) -> None:
    """Make this the report that ``last_report`` returns on this thread."""
    _last.report = report


def last_report() -> LoadReport | None:
    """Return the report of the last pipeline or model that this thread loaded, or None before the first."""
    return getattr(_last, "report", None)
