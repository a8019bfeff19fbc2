"""The steps of the suite: processes that end in time and leave nothing behind.

Needs no warpload, as it is here before anything is installed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence

_GRACE = 3.0  # seconds from SIGTERM to SIGKILL, and from there to going on
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


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
