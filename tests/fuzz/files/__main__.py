"""Compare a number of mutated files, in fresh processes of some thousands each.

    python -m tests.fuzz.files --seed 1 --files 100000
    python -m tests.fuzz.files --seed 1 --only 4711 --keep /tmp/found     # one case again, kept for a look

The exit status is 1 where there was a finding: an error that is none of ours, a difference that is not in
``differences.py``, or a process that died.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .cases import make_case

BATCH = 4000
LIMIT = 600  # seconds for a batch, which takes some tens


@dataclass
class Totals:
    files: int = 0
    findings: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz.files", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=int(time.time()), help="by default the time")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first file")
    parser.add_argument("--only", type=int, help="this one file, in this process")
    parser.add_argument("--keep", type=Path, help="a folder for the files of --only")
    parser.add_argument("--batch", type=Path, help=argparse.SUPPRESS)  # in this process; the file says how far it is
    arguments = parser.parse_args()
    if arguments.only is not None:
        return _one(arguments.seed, arguments.only, arguments.keep)
    if arguments.batch is not None:
        return _batch(arguments.seed, arguments.first, arguments.files, arguments.batch)
    return _all(arguments.seed, arguments.first, arguments.first + arguments.files)


def _one(seed: int, number: int, keep: Path | None) -> int:
    from .compare import findings

    faulthandler.enable()
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = findings(make_case(seed, number).write(folder))
    print("\n".join(found) or "no finding")
    return 1 if found else 0


def _batch(seed: int, first: int, count: int, progress: Path) -> int:
    """Compare some files; a line on standard output for each finding."""
    from .compare import findings

    faulthandler.enable()
    with open(progress, "r+b", buffering=0) as told, tempfile.TemporaryDirectory() as scratch:
        for number in range(first, first + count):
            os.pwrite(told.fileno(), number.to_bytes(8, "little"), 0)
            for each in findings(make_case(seed, number).write(Path(scratch))):
                print(json.dumps([number, each]), flush=True)
    return 0


def _all(seed: int, first: int, end: int) -> int:
    totals = Totals()
    began = time.monotonic()
    while first < end:
        first = _run_batch(seed, first, min(BATCH, end - first), totals)
        rate = totals.files / (time.monotonic() - began)
        print(f"seed {seed}: {totals.files} files, {totals.findings} findings, {rate:.0f} files/s", flush=True)
    return 1 if totals.findings else 0


def _run_batch(seed: int, first: int, count: int, totals: Totals) -> int:
    """Run a batch in a process of its own; return the number to go on with, behind a file that ended it."""
    with tempfile.NamedTemporaryFile() as progress, tempfile.TemporaryFile("w+") as errors:
        progress.write(first.to_bytes(8, "little"))
        progress.flush()
        command = [sys.executable, "-m", "tests.fuzz.files", "--seed", str(seed), "--first", str(first)]
        command += ["--files", str(count), "--batch", progress.name]
        ended, output = _run(command, errors)
        for line in output.splitlines():
            number, text = json.loads(line)
            _tell(seed, number, text, totals)
        reached = int.from_bytes(Path(progress.name).read_bytes()[:8], "little")
        if ended != 0:
            errors.seek(0)
            _tell(seed, reached, f"the process ended with {ended}:\n{errors.read()[-4000:]}", totals)
        totals.files += reached + 1 - first
        return reached + 1


def _run(command: list[str], errors: IO[str]) -> tuple[int | str, str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"no end within {LIMIT} s", process.communicate()[0]
    return process.returncode, output


def _tell(seed: int, number: int, text: str, totals: Totals) -> None:
    totals.findings += 1
    print(f"FINDING: {text}\n  again: python -m tests.fuzz.files --seed {seed} --only {number} --keep DIR", flush=True)


if __name__ == "__main__":
    sys.exit(main())
