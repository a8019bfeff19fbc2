"""The memory of a process that no page cache gives: anonymous pages and shared ones, which the kernel cannot drop.

What a process maps of files counts in its resident size although it is the page cache's, there for all and dropped when
memory is short. It does not count here, so that loaders which map and loaders which copy are told apart. Imports only
the standard library.
"""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType

_POLL_SECONDS = 0.002
_COUNTED = (b"RssAnon:", b"RssShmem:")


def of_process(pid: int) -> int:
    """Return the bytes of a process now.

    Raises:
        OSError: it has ended.
    """
    with open(f"/proc/{pid}/status", "rb") as file:
        return _counted(file.read())


class Sampler:
    """Watches a process from outside; a context manager.

    Every two milliseconds: what comes and goes in between is not seen. The watching takes some per cent of a core, so
    loads are not timed meanwhile.
    """

    def __init__(self, pid: int) -> None:
        self._samples: list[tuple[int, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def peak(self, until_ns: int) -> int:
        """Return the most that was seen until a time of CLOCK_MONOTONIC; 0 when nothing was."""
        return max((size for when, size in self._samples if when <= until_ns), default=0)

    def _watch(self, pid: int) -> None:
        try:
            descriptor = os.open(f"/proc/{pid}/status", os.O_RDONLY)
        except OSError:
            return
        try:
            while not self._ended.wait(_POLL_SECONDS):
                size = _counted(os.pread(descriptor, 4096, 0))
                self._samples.append((time.monotonic_ns(), size))
        except OSError:
            return  # the process has ended
        finally:
            os.close(descriptor)


def _counted(status: bytes) -> int:
    fields = (line.split() for line in status.splitlines() if line.startswith(_COUNTED))
    return sum(int(field[1]) * 1024 for field in fields)
