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
import torch, warpload
torch.set_num_threads(1)

def load(begun):
    while True:
        with warpload.LoadOptions(threads=2):
            warpload.load_file(sys.argv[1], dtype=torch.float16)
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


def test_a_daemon_thread_that_loads_to_the_host_does_not_disturb_the_end(large: Path) -> None:
    """To a device torch allocates, and its own calls end the process on such a thread, whoever makes them."""
    result = run_python(_ENDS_WHILE_LOADING, large)

    assert result.stderr == ""
