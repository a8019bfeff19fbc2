"""The file that every result goes to at the moment it is known: one JSON object a line.

Several processes add to it, one after another or at once. Whatever ends a run, its results up to then are in the file;
`merge` makes the one JSON file of it.

Every line has `kind`, `step` and `rehearsal`; the kinds, and what else is in their lines:

step          name, event ("begin", "end"), and at the end status, seconds and limit
fact          name and whatever is known by it: of the machine, the kit, the installation
fallback      what, reason: what was prebuilt and does not run here
collected     suite, tests: how many will run
test          suite, name, outcome ("passed", "failed", "skipped", "not run"), seconds, message
model         model, and what is known of it
ceiling       model (what was read) or nothing, name, setting, gbps, round
load          model, case, loader, round, seconds, ...
versions      model, loader, versions
verified      model, loader, tensors; with `wrong`, the names that differ
not_measured  model, what, reason
sweep         setting, result or error
load_drop_load  model, phase, seconds, bytes, and torch's counters
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# How a step's process learns what its suite knows.
STEP = "WARPLOAD_SUITE_STEP"
REHEARSAL = "WARPLOAD_SUITE_REHEARSAL"
JOURNAL_PATH = "WARPLOAD_SUITE_JOURNAL"


class JournalError(ValueError):
    """A line of a journal is not what a suite writes; says which."""


class Journal:
    """Adds lines to the file, each in one write that has reached the disk when `add` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, kind: str, **content: Any) -> None:
        """Add a result; the step's name and whether it is a rehearsal come from the environment."""
        line = {
            "kind": kind,
            "step": os.environ.get(STEP, "by hand"),
            "rehearsal": os.environ.get(REHEARSAL) == "1",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **content,
        }
        encoded = (json.dumps(line) + "\n").encode()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if not _ends_with_a_line(descriptor):
                encoded = b"\n" + encoded  # a process was killed while it wrote: its half line stays one
            os.write(descriptor, encoded)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _ends_with_a_line(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the results of several journals, in their order; half lines, of a process that was killed, are left out.

    Raises:
        JournalError: rehearsals and real results are mixed.
    """
    found: list[dict[str, Any]] = []
    for path in paths:
        for line in path.read_bytes().split(b"\n"):
            try:
                result = json.loads(line)
            except ValueError:
                continue
            if isinstance(result, dict) and "kind" in result:
                found.append(result)
    if len({result.get("rehearsal") for result in found}) > 1:
        names = ", ".join(map(str, paths))
        raise JournalError(f"{names}: results of a rehearsal and of a real run are never put together; name them apart")
    return found
