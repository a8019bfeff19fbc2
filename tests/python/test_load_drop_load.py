"""The measurement of loads that follow each other, rehearsed on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu" / "load_drop_load.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def phases(*arguments: object) -> list[dict[str, Any]]:
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a folder with three files of weights in two folders, 12 KB in all."""
    for folder, count in (("unet", 2), ("vae", 1)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            tensors = {f"{folder}{number}": torch.randn(1000)}
            safetensors.torch.save_file(tensors, tmp_path / folder / f"model-{number}.safetensors")
    return tmp_path


def test_each_phase_is_one_line_with_its_time_and_what_is_loaded(model: Path) -> None:
    found = phases("--model", model, "--device", "cpu")

    assert [(phase["phase"], phase["bytes"]) for phase in found] == [
        ("first", 12_000),
        ("dropped", 0),
        ("again", 12_000),
        ("dropped again", 0),
        ("activations", 0),
        ("beside activations", 12_000),
        ("dropped beside activations", 0),
        ("emptied", 0),
        ("after emptying", 12_000),
    ]
    assert all(phase["seconds"] > 0 for phase in found)
    assert all(phase["reserved"] is None for phase in found)


def test_a_dtype_is_cast_to(model: Path) -> None:
    assert phases("--model", model, "--device", "cpu", "--dtype", "bfloat16")[0]["bytes"] == 6_000


def test_a_folder_without_weights_is_an_error_of_the_command_line(tmp_path: Path) -> None:
    result = run("--model", tmp_path)

    assert result.returncode == 2
    assert "no safetensors file" in result.stderr


@pytest.mark.gpu
def test_on_a_gpu_the_second_load_takes_what_the_first_has_left(model: Path) -> None:
    large = torch.randn(64 * 2**20)
    safetensors.torch.save_file({"large": large}, model / "unet" / "model-2.safetensors")

    found = {phase["phase"]: phase for phase in phases("--model", model, "--device", "cuda:0")}

    assert found["again"]["reserved"] == found["first"]["reserved"]
    assert found["dropped"]["largest_free"] >= large.nbytes
    assert found["beside activations"]["reserved"] >= found["again"]["reserved"]
    assert found["emptied"]["reserved"] < found["dropped beside activations"]["reserved"]
