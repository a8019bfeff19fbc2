"""One contender's process: started, watched where that is wanted, ended in time, and its result or its last words."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from warpload.measuring.anonymous_memory import Sampler
from warpload.measuring.contender import PROCESS_START


class ContenderError(RuntimeError):
    """A contender's process failed; the message has its command and what it wrote to its standard error."""

    @property
    def reason(self) -> str:
        """The last line of what it wrote, which is the error's own."""
        return str(self).rstrip().rpartition("\n")[2].strip()


class OutOfTimeError(ContenderError):
    """A contender's process was killed because its time was up."""


class NotInstalledError(ContenderError):
    """A contender's packages are not here; the message has what Python said."""


def run_process(
    command: list[str],
    *,
    limit: float,
    watched: bool = False,
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], object] | None = None,
) -> tuple[dict[str, Any], Sampler | None]:
    """Run a contender's process; returns its result, and who watched its memory.

    Args:
        command: program and arguments; where to write the result is added.
        limit: seconds after which it is killed.
        watched: sample its memory.
        environment: variables beside those that every contender gets.
        prepare: is called in the process before the program; by default nothing is, which starts it faster.

    Raises:
        OutOfTimeError: it did not end in time.
        ContenderError: it failed.
    """
    read_end, write_end = os.pipe()
    command = [*command, "--json-fd", str(write_end)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as messages:
        with open(read_end, encoding="utf-8") as pipe:
            process = subprocess.Popen(
                command, env={**_environment(), **(environment or {})}, pass_fds=[write_end],
                stdout=subprocess.DEVNULL, stderr=messages, preexec_fn=prepare,
            )  # fmt: skip
            os.close(write_end)
            sampler = Sampler(process.pid) if watched else None
            with _ended_after(process, limit) as timed_out:
                with sampler or contextlib.nullcontext():
                    output = pipe.read()
                status = process.wait()
        if timed_out.is_set():
            raise OutOfTimeError(f"{' '.join(command)}\nit did not end within {limit:g} s and was killed")
        if status != 0 or not output:
            messages.seek(0)
            raise ContenderError(f"{' '.join(command)}\nended with status {status}:\n{messages.read().strip()}")
    result: dict[str, Any] = json.loads(output)
    return result, sampler


def _environment() -> dict[str, str]:
    # The files are here: asking the Hub about them would time the network.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_ENABLE_PARALLEL_LOADING", None)
    environment[PROCESS_START] = str(time.monotonic_ns())
    return environment


@contextlib.contextmanager
def _ended_after(process: subprocess.Popen[bytes], limit: float) -> Iterator[threading.Event]:
    """Kill the process when it takes too long, and whenever this one goes on without it: it holds gigabytes."""
    timed_out = threading.Event()

    def end() -> None:
        timed_out.set()
        process.kill()

    timer = threading.Timer(limit, end)
    timer.start()
    try:
        yield timed_out
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
