"""The GPU's suite, killed as a lent machine ends a command: what was known by then is in the file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.journal import read
from benchmarks.gpu.processes import run_step
from support.gpu_suite import merged, stub_kit, suite_command, suite_environment

Results = list[dict[str, Any]]
_LONGEST = 100.0  # seconds until the result is there after which the suite is killed


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


def kill_when(command: list[str], output: Path, reached: Callable[[Results], bool]) -> Results:
    """Run the suite until its journal has what is asked for, kill its process group, and return what was seen."""
    process = subprocess.Popen(
        command, env=suite_environment(), start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + _LONGEST
        while not reached(seen := results_of(output)):
            assert process.poll() is None, process.stdout.read().decode() if process.stdout else ""
            assert time.monotonic() < deadline, seen
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return seen


def results_of(output: Path) -> Results:
    file = output / "rehearsal.jsonl"
    return read([file]) if file.is_file() else []


def of_kind(results: Results, kind: str) -> Results:
    return [result for result in results if result["kind"] == kind]


def assert_kept(seen: Results, output: Path) -> None:
    """Check that nothing known before the kill is lost, and that none of the suite's processes goes on."""
    assert comes_true(lambda: processes_about(output.parent) == []), processes_about(output.parent)
    kept = results_of(output)
    assert kept[: len(seen)] == seen
    assert all(result["rehearsal"] for result in kept)


def comes_true(condition: Callable[[], bool]) -> bool:
    """Tell whether it is so soon: the kernel ends processes one after the other, on a busy machine slowly."""
    deadline = time.monotonic() + 60.0
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def processes_about(folder: Path) -> list[str]:
    """Return the command lines that name the folder."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = file.read_text(encoding="utf-8", errors="replace").replace("\0", " ")
            lines += [line] * (str(folder) in line)
    return lines


def test_killed_among_the_facts_it_has_those_before(output: Path) -> None:
    command = suite_command(stub_kit(output.parent / "kit", {}), output, ["facts", "pinning"])
    seen = kill_when(command, output, lambda results: len(of_kind(results, "fact")) >= 3)
    assert_kept(seen, output)

    content = merged(output, 1)

    assert content["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert content["steps"][-1]["name"] == "facts"
    assert content["steps"][-1]["status"] == "cut off"


def test_killed_among_the_tests_it_has_the_outcomes_before(output: Path) -> None:
    kit = stub_kit(output.parent / "kit", {"good": "exit 0", "bad": "exit 1", "endless": "sleep 55"})
    command = suite_command(kit, output, ["ctest"])
    seen = kill_when(command, output, lambda results: len(of_kind(results, "test")) >= 2)
    assert_kept(seen, output)

    content = merged(output, 1)

    assert content["tests"]["ctest"] == {"passed": 1, "failed": ["bad"], "not_run": ["1 of ctest"]}


def test_killed_among_the_loads_it_has_those_before(output: Path) -> None:
    kit = stub_kit(output.parent / "kit", {})
    command = suite_command(kit, output, ["write", "limits", "warm"], "--seconds", "1120")
    seen = kill_when(command, output, lambda results: len(of_kind(results, "verified")) >= 1)
    assert_kept(seen, output)

    content = merged(output, 1)

    assert content["h2d_ceiling_gbps"] > 0
    assert content["warm"]["warpload"]["runs"] == 1
    assert content["warm"]["warpload"]["again"]["seconds"] > 0
    assert content["verified_tensors"]["warpload"] > 100
    assert [(step["name"], step["status"]) for step in content["steps"]] == [
        ("write", "ok"),
        ("limits", "ok"),
        ("warm", "cut off"),
    ]


# -- one step ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """Give a file that a step writes its processes' numbers to; they are gone at the end in any case."""
    file = tmp_path / "pids"
    yield file
    for pid in file.read_text(encoding="utf-8").split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def is_alive(pid: str) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return status != "Z"


def test_a_step_that_heeds_no_request_ends_with_all_that_it_has_started(pids: Path) -> None:
    lines: list[str] = []
    script = f"trap '' TERM; sleep 100 & echo $! >{pids}; echo $$ >>{pids}; echo begun; wait; wait; sleep 100"
    status = run_step(["sh", "-c", script], seconds=0.5, environment=dict(os.environ), on_line=lines.append)
    assert status == "killed at its limit"
    assert lines == ["begun"]
    numbers = pids.read_text(encoding="utf-8").split()
    assert len(numbers) == 2
    assert comes_true(lambda: not any(map(is_alive, numbers)))


def test_a_process_that_keeps_the_output_open_is_not_waited_for(pids: Path) -> None:
    lines: list[str] = []
    script = f"setsid sleep 100 & echo $! >{pids}; echo begun; sleep 1"
    status = run_step(["sh", "-c", script], seconds=60.0, environment=dict(os.environ), on_line=lines.append)
    assert status == "ok"
    assert lines == ["begun"]
    assert is_alive(pids.read_text(encoding="utf-8").strip())


@pytest.mark.parametrize(
    ("command", "status"),
    [(["true"], "ok"), (["sh", "-c", "exit 3"], "status 3"), (["/missing/program"], "not started: ")],
    ids=["ok", "failed", "missing"],
)
def test_a_steps_end_is_told(command: list[str], status: str) -> None:
    found = run_step(command, seconds=60.0, environment=dict(os.environ), on_line=lambda _: None)
    assert found.startswith(status)
