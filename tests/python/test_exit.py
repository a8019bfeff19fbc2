"""Processes that end while a daemon thread loads: quietly, and with the status that they were to have."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from support.processes import run_python

# The imports once, then a process each time: a child that comes to the end of the script ends as any interpreter.
_ENDS_WHILE_LOADING = """
import os, sys, threading
from warpload import engine

def load(begun):
    while True:
        request = engine.request(engine.open_checkpoint(sys.argv[1]), dtype="F16")
        handle = engine.loader().start([request], lambda sizes: [(0, None) for _ in sizes])
        handle.wait()
        handle.tensors(0)
        begun.set()

for _ in range(20):
    child = os.fork()
    if child == 0:
        begun = threading.Event()
        for _ in range(2):
            threading.Thread(target=load, args=(begun,), daemon=True).start()
        assert begun.wait(60)
        break
    _, status = os.waitpid(child, 0)
    assert status == 0, status
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("large") / "large.safetensors"
    safetensors.torch.save_file({f"t{index}": torch.randn(1000, 500) for index in range(8)}, file)
    return file


def test_a_daemon_thread_that_loads_does_not_disturb_the_end(large: Path) -> None:
    """By the core alone: calls of torch end the process on such a thread, whoever makes them."""
    result = run_python(_ENDS_WHILE_LOADING, large)

    assert result.stderr == ""
