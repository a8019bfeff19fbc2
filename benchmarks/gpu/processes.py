"""One contender's process: starts it, waits for its JSON, and ends it when it takes too long."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import contender


class ContenderError(RuntimeError):
    """A contender's process failed; the message has its command and what it wrote to its standard error."""


def run_contender(options: Sequence[str], *, seconds: float, overlay: Path | None = None) -> dict[str, Any]:
    """Run contender.py in a fresh process and return its result.

    Args:
        options: of its command line.
        seconds: after which it is killed.
        overlay: folder of packages that come before the installed ones.

    Raises:
        ContenderError: it failed or was killed.
    """
    read_end, write_end = os.pipe()
    command = [sys.executable, contender.__file__, *options, "--json-fd", str(write_end)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if overlay is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(overlay), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as messages:
        environment[contender.PROCESS_START] = str(time.monotonic_ns())
        process = subprocess.Popen(
            command, env=environment, pass_fds=[write_end], stdout=subprocess.DEVNULL, stderr=messages
        )
        os.close(write_end)
        with _killed_after(process, seconds), open(read_end, encoding="utf-8") as pipe:
            output = pipe.read()
            status = process.wait()
        if status != 0 or not output:
            messages.seek(0)
            raise ContenderError(f"{' '.join(command)}\nended with status {status}:\n{messages.read().strip()}")
    result: dict[str, Any] = json.loads(output)
    return result


@contextlib.contextmanager
def _killed_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    """Kill the process when it takes too long, and when this one is interrupted."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
