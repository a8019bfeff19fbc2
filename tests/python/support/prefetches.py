"""What tests of prefetching share: the last report, an end that is waited for, and a change that is hard to see."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import warpload


def report() -> warpload.LoadReport:
    found = warpload.last_report()
    assert found is not None
    return found


def ended(handle: warpload.Prefetch) -> warpload.Prefetch:
    """Return a prefetch that is at its end; its own thread has brought it there."""
    for thread in threading.enumerate():
        if thread.name == "warpload-prefetch":
            thread.join(60)
    return handle


def changed_in_place(file: Path) -> None:
    """Write other values into a file, which keeps its size and its times."""
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[-64:] = bytes(64)
    with file.open("r+b") as opened:
        opened.write(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
