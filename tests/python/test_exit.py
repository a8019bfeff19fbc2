"""Processes that end while a daemon thread loads: quietly, and with the status that they were to have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from support.processes import TIMEOUT, environment

ROUNDS = 20

_ENDS_WHILE_LOADING = """
import sys, threading
import torch, warpload
torch.set_num_threads(1)
begun = threading.Event()
def load():
    while True:
        with warpload.LoadOptions(arena=sys.argv[2], threads=2):
            warpload.load_file(sys.argv[1], dtype=torch.float16)
        begun.set()
for _ in range(2):
    threading.Thread(target=load, daemon=True).start()
assert begun.wait(60)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("large") / "large.safetensors"
    safetensors.torch.save_file({f"t{index}": torch.randn(1000, 500) for index in range(8)}, file)
    return file


@pytest.mark.parametrize("arena", ["auto", "always"])
def test_a_daemon_thread_that_loads_does_not_disturb_the_end(arena: str, large: Path) -> None:
    for _ in range(0, ROUNDS, 4):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _ENDS_WHILE_LOADING, str(large), arena],
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for _ in range(4)
        ]
        for process in processes:
            said, _ = process.communicate(timeout=TIMEOUT)
            assert (process.returncode, said) == (0, "")
