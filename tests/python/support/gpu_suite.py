"""The suite of the GPU's benchmarks, called on the CPU with a kit that is a stub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu import manifest
from benchmarks.gpu.journal import REHEARSAL, STEP
from support.processes import PACKAGE_FOLDER

ROOT = Path(__file__).resolve().parents[3]
SUITE = ROOT / "benchmarks" / "gpu_suite.sh"
# Stands for the program that CMake builds: reads the files, and says how many bytes and how long.
DISK_PROGRAM = """#!/bin/sh
bytes=0
for file in "$@"; do
  case $file in --threads) break ;; esac
  cat "$file" >/dev/null
  bytes=$((bytes + $(stat -L -c %s "$file")))
done
echo "{\\"bytes\\": $bytes, \\"seconds\\": 0.5}"
"""


def stub_kit(folder: Path, cases: dict[str, str]) -> Path:
    """Write a kit whose test programs are lines of shell, by the names of their cases."""
    programs = folder / "programs"
    programs.mkdir(parents=True)
    (folder / "wheels").mkdir()
    disk_program = programs / "warpload_disk_ceiling"
    disk_program.write_text(DISK_PROGRAM, encoding="utf-8")
    disk_program.chmod(0o755)
    lines = []
    for name, line in cases.items():
        lines.append(f'add_test("{name}" "/bin/sh" "-c" "{line}")')
        lines.append(f'set_tests_properties("{name}" PROPERTIES LABELS "fakecuda")')
    (programs / "CTestTestfile.cmake").write_text("\n".join(lines) + "\n", encoding="utf-8")
    manifest.make(folder, ROOT, {"cuda_architectures": "90"})
    return folder


def suite_command(kit: Path, output: Path, steps: Sequence[str], *options: str) -> list[str]:
    """Return the command line of a rehearsal of these steps."""
    chosen = [word for step in steps for word in ("--only", step)]
    work = ["--work", str(output.parent / "work")]
    return ["bash", str(SUITE), "--rehearse", "--kit", str(kit), *work, *chosen, *options, str(output)]


def suite_environment() -> dict[str, str]:
    """Return the environment of a suite that has this tree's code, and of the package the one that is tested."""
    return {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join([str(ROOT), PACKAGE_FOLDER])}


def run_module(module: str, *words: object, status: int = 0, step: str = "test") -> str:
    """Run a module of the suite as a step of a rehearsal and return its output."""
    environment = {**suite_environment(), STEP: step, REHEARSAL: "1"}
    command = [sys.executable, "-m", module, *map(str, words)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout


def merged(folder: Path, status: int) -> dict[str, Any]:
    """Merge a folder's journal and return the one JSON file that this makes."""
    run_module("benchmarks.gpu.merge", folder, status=status)
    (file,) = folder.glob("*.json")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
