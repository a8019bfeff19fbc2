"""What shapes the engine on this GPU: loads with other settings, and loads that follow each other.

The loads with other sizes of ring and slots, other numbers of threads and streams are those of the program
warpload_modelled_link, which prints one JSON object; every setting is run in a process of its own and noted at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .journal import Journal
from .processes import die_with_parent

# One thing is changed at a time, as the engine chooses each by itself; then some pairs.
_ONE_AT_A_TIME: dict[str, tuple[int, ...]] = {
    "slot-mib": (2, 4, 8, 16, 32),  # of whole huge pages
    "ring-mib": (16, 24, 32, 48, 64),  # below what it takes by itself: a slot a thread and four more
    "threads": (4, 8, 12, 16, 24),
    "streams": (1, 2, 3, 4),
}
_PAIRS = (
    {"threads": 16, "slot-mib": 2},
    {"threads": 16, "slot-mib": 8},
    {"threads": 8, "slot-mib": 16},
    {"ring-mib": 256, "slot-mib": 8},
    {"streams": 1, "slot-mib": 8},
    {"streams": 1, "slot-mib": 16},
    {"streams": 1, "threads": 8},
    {"streams": 1, "threads": 12},
    {"streams": 1, "ring-mib": 32},
)
_ONE_SETTING = 20.0  # seconds


def sweep(journal: Journal, program: Path, folder: Path, link: Sequence[str], seconds: float) -> bool:
    """Run the settings as far as there is time; tells whether every one gave a result.

    Args:
        journal: gets each result.
        program: as the benchmarks' build makes it.
        folder: of the pipeline to load.
        link: options that say over which link.
        seconds: for everything.
    """
    if not program.is_file():
        reason = f"the kit has no {program.name}: it was made from a tree without benchmarks/modelled_link.cpp"
        journal.add("sweep", setting={}, error=reason)
        print(reason)
        return False
    deadline = time.monotonic() + seconds
    whole = True
    for setting in _settings():
        if deadline - time.monotonic() < 1.0:
            journal.add("sweep", setting=setting, error="no time was left")
            continue
        found = _run(program, folder, link, setting, min(_ONE_SETTING, deadline - time.monotonic()))
        journal.add("sweep", setting=setting, **found)
        print(f"{setting}: {found}", flush=True)
        whole &= "result" in found
    return whole


def _settings() -> Iterator[dict[str, int]]:
    """Yield them, the engine's own choice first and last: what changed in between is the machine's."""
    yield {}
    for name, values in _ONE_AT_A_TIME.items():
        for value in values:
            yield {name: value}
    yield from _PAIRS
    yield {}


def _run(program: Path, folder: Path, link: Sequence[str], setting: dict[str, int], seconds: float) -> dict[str, Any]:
    options = [word for name, value in setting.items() for word in (f"--{name}", str(value))]
    command = [str(program), str(folder), *link, *options, "--json"]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, preexec_fn=die_with_parent()
        )
        if result.returncode == 0:
            return {"result": json.loads(result.stdout)}
        return {"error": f"status {result.returncode}: {result.stderr.strip()[-500:]}"}
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def note_load_drop_load(journal: Journal, folder: Path, device: str) -> bool:
    """Run load_drop_load.py and note each phase when it is over; tells whether it went through."""
    command = [sys.executable, str(Path(__file__).with_name("load_drop_load.py"))]
    command += ["--model", str(folder), "--device", device]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent())
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        journal.add("load_drop_load", model=folder.name, **json.loads(line))
    return process.wait() == 0
