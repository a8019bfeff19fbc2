"""Code run in a process of its own, and what /proc says of this one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import warpload
from warpload.measuring.anonymous_memory import Sampler, of_process

PACKAGE_FOLDER = str(Path(warpload.__file__).parents[1])
TIMEOUT = 600  # seconds; only a hang reaches it, also on a machine that is busy with other things

# diffusers and transformers import the quantisers that are installed, and those import what is put off elsewhere. Code
# that begins with this has none of them, as the installations that most people have.
WITHOUT_QUANTISERS = "import sys; sys.modules.update(dict.fromkeys(('bitsandbytes', 'optimum', 'torchao')))\n"


def environment() -> dict[str, str]:
    """Return the environment of an interpreter that has this package and the tests' support."""
    paths = [PACKAGE_FOLDER, str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}


def run_python(code: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that has this package and the tests' support; fail when it does."""
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


def memory_taken(code: str, *arguments: object) -> tuple[int, str]:
    """Run code in a fresh interpreter; return the most memory of its own that it took, and what it said at the end.

    Args:
        code: prints a line when it is ready and one when it is done, and waits for a line after each.
        arguments: of the code.
    """
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        before = of_process(process.pid)
        with Sampler(process.pid) as sampler:
            process.stdin.write("go\n")
            process.stdin.flush()
            said = process.stdout.readline()
            peak = max(sampler.peak(2**63), of_process(process.pid))
        process.communicate("end\n")
    return peak - before, said


def resident_bytes() -> int:
    """Return the memory of this process that is resident now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_descriptors() -> dict[str, str]:
    """Return this process's open descriptors and what they lead to."""
    entries = Path("/proc/self/fd").iterdir()
    return {entry.name: os.readlink(entry) for entry in list(entries) if entry.is_symlink()}


def thread_count() -> int:
    return len(os.listdir("/proc/self/task"))


def falls_to(count: Callable[[], int], expected: int) -> bool:
    """Tell whether the count is at most that within ten seconds: threads that were told to end need a moment."""
    deadline = time.monotonic() + 10
    while count() > expected:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def mapped_files() -> str:
    return Path("/proc/self/maps").read_text()
