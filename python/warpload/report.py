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
        seconds: wall-clock seconds by stage, in the order of the stages; they add up to the load, as native threads
            work beside all of them.
        components: who loaded each component that has weights: ``"native"``, or ``"stock: "`` and the reason.
    """

    source: str
    bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    components: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to the stage of that name."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def __str__(self) -> str:
        """Return the report as a table."""
        total = sum(self.seconds.values())
        lines = [f"warpload: {self.source}: {self.bytes / 1e9:.2f} GB by the core in {total:.2f} s"]
        width = max([len(name) for name in (*self.components, *self.seconds)], default=0)
        lines += [f"  {name:<{width}}  {how}" for name, how in self.components.items()]
        lines += [f"  {name:<{width}}  {seconds:.3f} s" for name, seconds in self.seconds.items()]
        return "\n".join(lines)


_last = threading.local()


def remember(report: LoadReport) -> None:
    """Make this the report that ``last_report`` returns on this thread."""
    _last.report = report


def last_report() -> LoadReport | None:
    """Return the report of the last pipeline or model that this thread loaded, or None before the first."""
    return getattr(_last, "report", None)
