"""Ctrl-C while Python waits for a load, whatever the wait is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.processes import run_python

WAITS = (("wait",), ("wait_segment", 1), ("release_segment", 1))


@pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait[0])
def test_ctrl_c_ends_every_wait_for_a_load_and_cancels_it(wait: tuple[str | int, ...], tmp_path: Path) -> None:
    """One worker casts two gigabytes of a file without a block on disk; what is waited for would come behind them."""
    run_python(
        """
import os, signal, sys, threading
from warpload import _core
from support.checkpoints import framed
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
header = b'{"t": {"dtype": "F16", "shape": [1073741824], "data_offsets": [0, 2147483648]}}'
with open(sys.argv[1], "wb") as file:
    file.write(framed(header))
    file.truncate(8 + len(header) + (1 << 31))

checkpoint = _core.Checkpoint.open([sys.argv[1]])
sys.setswitchinterval(1000)  # so the other thread runs only once this one waits in C++
waiting = threading.Event()

def interrupt():
    waiting.wait()
    while handle.bytes_done == 0:
        pass
    os.kill(os.getpid(), signal.SIGINT)

thread = threading.Thread(target=interrupt)
thread.start()
handle = _core.Loader().start([_core.SegmentRequest(checkpoint, dtype="BF16") for _ in range(2)])
try:
    waiting.set()
    getattr(handle, sys.argv[2])(*map(int, sys.argv[3:]))
except KeyboardInterrupt:
    assert handle.done
    assert 0 < handle.bytes_done < handle.bytes_total // 2, handle.bytes_done
else:
    raise AssertionError("waited to the end in spite of the signal")
thread.join()
""",
        tmp_path / "sparse.safetensors",
        *wait,
    )
