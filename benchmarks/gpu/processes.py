"""Processes that end in time and leave nothing behind: a step of the suite, and one contender's load."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import contender

_GRACE = 3.0  # seconds from SIGTERM to SIGKILL, and from there to going on
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


class ContenderError(RuntimeError):
    """A contender's process failed; the message has its command and what it wrote to its standard error."""


class OutOfTimeError(ContenderError):
    """A contender's process was killed because its time was up."""


def run_contender(options: Sequence[str], *, seconds: float, overlay: Path | None = None) -> dict[str, Any]:
    """Run contender.py in a fresh process and return its result.

    Args:
        options: of its command line.
        seconds: after which it is killed.
        overlay: folder of packages that come before the installed ones.

    Raises:
        OutOfTimeError: it was killed after that time.
        ContenderError: it failed.
    """
    read_end, write_end = os.pipe()
    command = [sys.executable, contender.__file__, *options, "--json-fd", str(write_end)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if overlay is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(overlay), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as messages:
        environment[contender.PROCESS_START] = str(time.monotonic_ns())
        process = subprocess.Popen(
            command, env=environment, pass_fds=[write_end], stdout=subprocess.DEVNULL, stderr=messages,
            preexec_fn=die_with_parent(),
        )  # fmt: skip
        os.close(write_end)
        with _killed_after(process, seconds) as is_out_of_time, open(read_end, encoding="utf-8") as pipe:
            output = pipe.read()
            status = process.wait()
        if is_out_of_time():
            raise OutOfTimeError(f"{' '.join(command)}\nkilled after {seconds:.0f} s")
        if status != 0 or not output:
            messages.seek(0)
            raise ContenderError(f"{' '.join(command)}\nended with status {status}:\n{messages.read().strip()}")
    result: dict[str, Any] = json.loads(output)
    return result


@contextlib.contextmanager
def _killed_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[Callable[[], bool]]:
    """Kill the process when it takes too long, which can be asked for, and when this one is interrupted."""
    out_of_time = threading.Event()

    def kill() -> None:
        out_of_time.set()
        process.kill()

    timer = threading.Timer(seconds, kill)
    timer.start()
    try:
        yield out_of_time.is_set
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()


def run_step(
    command: Sequence[str], *, seconds: float, environment: dict[str, str], on_line: Callable[[str], None]
) -> str:
    """Run a command in a process group of its own; returns "ok", "status N" or "killed at its limit".

    The whole group is killed when this returns, whatever the command has started; a process that even then does not
    end, as it hangs in a driver, is not waited for.

    Args:
        command: program and arguments.
        seconds: after which the group is ended.
        environment: of the command.
        on_line: is told each line of its output, on another thread.
    """
    try:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True, preexec_fn=die_with_parent(),
        )  # fmt: skip
    except OSError as error:
        on_line(str(error))
        return f"not started: {error}"
    reader = threading.Thread(target=_read_lines, args=(process, on_line), daemon=True)
    reader.start()
    try:
        code = process.wait(seconds)
        status = "ok" if code == 0 else f"status {code}"
    except subprocess.TimeoutExpired:
        _ask_to_end(process)
        status = "killed at its limit"
    finally:
        _signal_group(process, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    reader.join(_GRACE)
    return status


def _read_lines(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        on_line(line.rstrip("\n"))


def _ask_to_end(process: subprocess.Popen[str]) -> None:
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)


def _signal_group(process: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def die_with_parent() -> Callable[[], None]:
    """Return what a child has to call first, so that the kernel kills it when this process is killed.

    A suite is ended with SIGKILL by whoever lent the machine; a load that goes on would spoil what runs next.
    """
    libc = ctypes.CDLL(None)  # before the fork: nothing may be imported or opened in the child
    return lambda: libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
