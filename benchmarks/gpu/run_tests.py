"""Runs the tests that are there, and notes each outcome while the others still run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .journal import Journal
from .place import ROOT, Place
from .processes import die_with_parent

# ctest: " 3/46 Test #12: Backends/DeviceLoadTest.x/gpu .....   Passed    0.52 sec"
_CTEST_LINE = re.compile(r"^\s*\d+/\d+\s+Test\s+#\d+: (\S+) \.*\s*(.*?)\s+([\d.]+) sec")
_CTEST_OUTCOMES = {"Passed": "passed", "***Not Run": "not run", "***Skipped": "not run"}
_ONE_TEST = 60  # seconds
_MOST_WORKERS = 12  # for tests that do not measure the GPU's memory
_PLUGIN = "benchmarks.gpu.pytest_journal"
GPU_TESTS = ROOT / "tests/python"
_FIRST_TESTS = "test_device_gpu.py"  # what only a GPU shows
PARTS = {"first": "gpu and not full_size", "others": "gpu", "full-size": "gpu and full_size"}  # name -> marker


def run_ctest(journal: Journal, place: Place, label: str) -> bool:
    """Run the C++ cases with that label; tells whether there were some and all passed."""
    folder = place.programs.resolve()
    command = ["ctest", "--test-dir", str(folder), "-L", f"^{label}$"]
    listed = subprocess.run([*command, "--show-only=json-v1"], check=True, capture_output=True, text=True)
    journal.add("collected", suite="ctest", tests=len(json.loads(listed.stdout)["tests"]))
    command += ["-j8", "--no-tests=error", "--output-on-failure", "--timeout", str(_ONE_TEST)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        preexec_fn=die_with_parent(),
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if found := _CTEST_LINE.match(line):
            name, word, seconds = found.groups()
            outcome = _CTEST_OUTCOMES.get(word, "failed")
            journal.add("test", suite="ctest", name=name, outcome=outcome, seconds=float(seconds), message=word)
    return process.wait() == 0


def run_pytest(place: Place, marker: str, files: Sequence[str], *, parallel: bool, collect_only: bool = False) -> bool:
    """Run tests of Python; the plugin notes the outcomes. Tells whether there were some and all passed.

    Args:
        place: its working folder gets what the tests write.
        marker: pytest's expression, such as "gpu".
        files: with tests.
        parallel: whether several processes share the tests.
        collect_only: import the files and find the tests, but run none.
    """
    command = [sys.executable, "-m", "pytest", "-m", marker, "-p", _PLUGIN, "-p", "no:cacheprovider", "--tb=short"]
    command += [f"--basetemp={place.work / 'pytest'}", "--quiet"]
    if importlib.util.find_spec("pytest_timeout"):
        command.append(f"--timeout={_ONE_TEST}")
    if parallel and importlib.util.find_spec("xdist"):
        workers = min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
        command += ["-n", str(workers), "--dist", "worksteal"]
    command += ["--collect-only", "--quiet", "--quiet"] * collect_only
    return subprocess.run([*command, *files], cwd=ROOT, check=False, preexec_fn=die_with_parent()).returncode == 0


def tests_of(part: str) -> tuple[str, list[str]]:
    """Return the marker and the files of a part; those that measure the GPU's memory are apart, and run one by one."""
    others = part == "others"
    files = [path for path in sorted(GPU_TESTS.glob("test_device_*.py")) if (path.name != _FIRST_TESTS) == others]
    return PARTS[part], [str(path) for path in files]


def run_sanitizer(journal: Journal, place: Place, seconds: float) -> bool:
    """Run the GPU's cases of each test program under memcheck, as far as there is time.

    The tests provoke errors of the driver's functions, so those are not reported.
    """
    if not shutil.which("compute-sanitizer"):
        print("this machine has no compute-sanitizer")
        return True
    deadline = time.monotonic() + seconds
    clean = True
    for program in _programs(place):
        begin = time.monotonic()
        command = ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9", "--report-api-errors", "no"]
        command += [str(program), "--gtest_filter=*/gpu", "--gtest_brief=1"]
        try:
            left = max(1.0, deadline - begin)
            status = subprocess.run(command, timeout=left, check=False, preexec_fn=die_with_parent()).returncode
            outcome, message = ("passed" if status == 0 else "failed"), f"status {status}"
        except subprocess.TimeoutExpired:
            outcome, message = "not run", "not finished in time"
        took = time.monotonic() - begin
        fields = {"name": program.name, "outcome": outcome, "seconds": took, "message": message}
        journal.add("test", suite="compute-sanitizer", **fields)
        clean &= outcome == "passed"
    return clean


def _programs(place: Place) -> Iterator[Path]:
    command = ["ctest", "--test-dir", str(place.programs.resolve()), "-L", "^gpu$", "--show-only=json-v1"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    yield from sorted({Path(test["command"][0]) for test in json.loads(listed.stdout)["tests"]})
