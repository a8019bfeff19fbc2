"""The GPU's benchmarks end to end, on the CPU with tiny pipelines; and what gpu_suite.sh makes of its arguments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from warpload.demo import page_cache

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "benchmarks" / "gpu_suite.sh"
LOADERS = ("warpload", "warpload-pipeline", "stock-to")
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


def run_benchmarks(output: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.gpu", str(output), "--device", "cpu", "--scale", "tiny", "--runs", "1"]
    result = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=540, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert os.listdir(output) == ["none-cpu.json"]
    content: dict[str, Any] = json.loads((output / "none-cpu.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return the states of the page cache that can be had: files of a tmpfs never leave it."""
    file = tmp_path_factory.mktemp("page_cache") / "file"
    file.write_bytes(bytes(1 << 20))
    return ("warm", "cold") if page_cache.evict([file]).resident_pages == 0 else ("warm",)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gpu")
    program = folder / "disk_ceiling"
    program.write_text(DISK_PROGRAM, encoding="utf-8")
    program.chmod(0o755)
    missing = ("--disk-program", str(folder / "missing"))
    run_benchmarks(
        folder / "output", "--pipeline", "large", "--loader", "warpload", "--loader", "fastsafetensors", *missing
    )
    chosen = [word for name in LOADERS for word in ("--loader", name)]
    return run_benchmarks(folder / "output", "--pipeline", "sdxl", "--disk-program", str(program), *chosen)


def test_results_name_machine_and_limits(results: dict[str, Any], states: tuple[str, ...]) -> None:
    assert {"gpu", "driver", "torch", "machine"} <= results.keys()
    keys = {"h2d_ceiling_gbps": "host to device, pinned", "page_cache_gbps": "page cache to memory"}
    if "cold" in states:
        keys["disk_ceiling_gbps"] = "disk, O_DIRECT"
    for key in keys:
        assert results[key] > 0
    assert [ceiling["name"] for ceiling in results["ceilings"]] == list(keys.values())


def test_every_loader_has_figures_for_warm_cold_and_pipeline(results: dict[str, Any], states: tuple[str, ...]) -> None:
    for state in states:
        assert set(results[state]) == set(LOADERS)
        for figures in results[state].values():
            assert figures["seconds"] > 0
            assert figures["gbps"] == pytest.approx(results["model"]["bytes"] / figures["seconds"] / 1e9)
    for state in states:
        keys = ["h2d_ceiling_gbps"] + ["disk_ceiling_gbps"] * (state == "cold")
        ceiling = min(results[key] for key in keys)
        figures = results[state]["warpload"]
        assert figures["share_of_ceiling"] == pytest.approx(figures["gbps"] / ceiling)
    assert set(results["pipeline"]) == {"warpload-pipeline", "stock-to"}


def test_tensors_of_every_loader_are_compared_with_the_files(results: dict[str, Any]) -> None:
    assert set(results["verified_tensors"]) == set(LOADERS)
    assert min(results["verified_tensors"].values()) > 100
    assert results["wrong_tensors"] == {}
    assert set(results["large"]["verified_tensors"]) == {"warpload"}


def test_every_run_is_kept_with_the_state_of_the_page_cache(results: dict[str, Any], states: tuple[str, ...]) -> None:
    runs = [(run["kind"], run["loader"], run["page_cache"]["before"]) for run in results["runs"]]
    pipelines = [("pipeline", name, "warm") for name in LOADERS if name != "warpload"]
    expected = [(state, name, state) for state in states for name in LOADERS]
    assert sorted(runs) == sorted([*expected, *pipelines])


def test_what_was_not_measured_has_a_reason_and_no_figure(results: dict[str, Any]) -> None:
    large = results["large"]
    assert large["not_measured"]["fastsafetensors"] == "needs a GPU"
    assert large["disk_ceiling_gbps"] is None
    assert large["cold"].get("warpload", {}).get("share_of_ceiling") is None
    assert {bar["passed"] for bar in large["bars"] if "cold" in bar["name"] or "memory" in bar["name"]} == {None}


def test_second_run_keeps_the_other_pipeline(results: dict[str, Any]) -> None:
    assert results["model"]["dtype"] == "float16"
    assert results["large"]["model"]["dtype"] == "bfloat16"


def test_suite_is_valid_bash() -> None:
    subprocess.run(["bash", "-n", str(SUITE)], check=True, timeout=60)


@pytest.mark.parametrize("stage", ["build", "tests", "benchmarks", "all", None])
def test_stage_without_folder_is_refused_with_usage(stage: str | None, tmp_path: Path) -> None:
    command = ["bash", str(SUITE), *([stage] if stage else [])]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: ")
    assert "[build|tests|benchmarks|all] OUTPUT_FOLDER" in result.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("case", "status"),
    [
        ('<testcase classname="a" name="b"/>', 0),
        ('<testcase classname="a" name="b"><skipped/></testcase>', 1),
        ('<testcase classname="a" name="b" status="notrun"/>', 1),
        ('<testcase classname="a" name="b"><failure/></testcase>', 1),
        ("", 1),
    ],
    ids=["passed", "skipped", "not run", "failed", "none"],
)
def test_record_fails_where_a_test_did_not_pass(case: str, status: int, tmp_path: Path) -> None:
    file = tmp_path / "tests.xml"
    file.write_text(f"<testsuites><testsuite>{case}</testsuite></testsuites>", encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.gpu.record", str(tmp_path), "--device", "cpu"]
    command += ["--ctest", str(file), "--pytest", str(file), "--sanitizer", "clean"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == status, result.stdout + result.stderr
    tests = json.loads((tmp_path / "none-cpu.json").read_text(encoding="utf-8"))["tests"]
    assert tests["ctest"]["passed"] == (status == 0)
    assert tests["compute-sanitizer"] == "clean"
