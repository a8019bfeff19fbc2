"""Loads to a device in a process: threads, forks, Ctrl-C, the pinned memory that stays, and what the module links."""

from __future__ import annotations

import logging
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import warpload
from support.bad_files import good
from support.compare import assert_same_pipeline, assert_same_tensors
from support.devices import Device, models_of
from support.pipelines import Saved
from support.processes import run_python
from warpload import _core, engine

pytestmark = pytest.mark.slots


def test_loads_in_threads_at_once_are_right(device: Device, saved: Saved, mixed: Path) -> None:
    calls = [("stable-diffusion", torch.float16), ("wan", torch.bfloat16)] * 2
    expected = [
        warpload.DiffusionPipeline.from_pretrained(saved(name), device_map=device.kind, dtype=dtype)
        for name, dtype in calls
    ]
    loaded: list[Any] = [None] * (len(calls) + 2)
    together = threading.Barrier(len(loaded))

    def load(position: int) -> None:
        together.wait()
        try:
            with device.options(threads=1 + position % 2):  # two loaders, each for several loads at once
                if position >= len(calls):
                    loaded[position] = warpload.load_file(mixed, device.name)
                    return
                name, dtype = calls[position]
                loaded[position] = warpload.DiffusionPipeline.from_pretrained(
                    saved(name), device_map=device.kind, dtype=dtype
                )
        except BaseException as error:  # told by the main thread
            loaded[position] = error

    threads = [threading.Thread(target=load, args=(position,)) for position in range(len(loaded))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for result in loaded:
        if isinstance(result, BaseException):
            raise result
    for ours, alone in zip(loaded, expected, strict=False):
        assert_same_pipeline(ours, alone)
        for model in models_of(ours).values():
            assert device.holds_all(model.parameters())
    on_device = {name: tensor.to(device.name) for name, tensor in safetensors.torch.load_file(mixed).items()}
    for tensors in loaded[len(calls) :]:
        assert_same_tensors(tensors, on_device)


def test_a_child_after_fork_loads_through_slots_of_its_own(tmp_path: Path) -> None:
    """The parent's workers and slots do not exist in the child. (A GPU cannot be used on both sides of a fork.)"""
    file = tmp_path / "good.safetensors"
    file.write_bytes(good())

    run_python(
        """
import multiprocessing, os, sys
os.environ["WARPLOAD_ARENA"] = "always"
import torch, warpload
def values():
    return warpload.load_file(sys.argv[1], dtype=torch.float64)["a"].view(torch.int64).tolist()
def child(queue):
    queue.put((values(), warpload.release_pinned_memory() > 0))
expected = values()
held = warpload.load_file(sys.argv[1])
context = multiprocessing.get_context("fork")
for _ in range(3):
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == (expected, True)
    process.join(timeout=60)
    assert process.exitcode == 0, process.exitcode
assert values() == expected
assert held["b"].tolist() == [16, 17, 18, 19]
assert warpload.release_pinned_memory() > 0
""",
        file,
    )


@pytest.mark.parametrize("device_name", ["cpu", pytest.param("cuda:0", marks=pytest.mark.gpu)])
def test_ctrl_c_ends_a_load_to_a_device_and_not_the_process(device_name: str, tmp_path: Path) -> None:
    """One worker casts two gigabytes of a file without a block on disk; the signal comes once bytes are moving."""
    run_python(
        """
import gc, os, signal, sys, threading, time, weakref
os.environ["WARPLOAD_ARENA"] = "always"
import torch, warpload
from warpload import devices, engine
from support.checkpoints import framed
name = sys.argv[2]
assert name == "cpu" or torch.cuda.is_available()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
header = b'{"t": {"dtype": "F16", "shape": [1073741824], "data_offsets": [0, 2147483648]}}'
with open(sys.argv[1], "wb") as file:
    file.write(framed(header))
    file.truncate(8 + len(header) + (1 << 31))

handles, segments, started, original, allocate = [], [], threading.Event(), engine.start, devices.allocate
def start(*arguments):
    handles.append(original(*arguments))
    started.set()
    return handles[-1]
def allocated(*arguments):
    found = allocate(*arguments)
    segments.extend(weakref.ref(owner) for _, owner in found)
    return found
engine.start, devices.allocate = start, allocated

def interrupt():
    global sent
    started.wait()
    while handles[0].bytes_done == 0:
        time.sleep(0)
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

thread = threading.Thread(target=interrupt)
thread.start()
try:
    warpload.load_file(sys.argv[1], name, dtype=torch.bfloat16)
except KeyboardInterrupt:
    assert time.monotonic() - sent < 20
    assert 0 < handles[0].bytes_done < handles[0].bytes_total, handles[0].bytes_done
else:
    raise AssertionError("loaded in spite of the signal")
thread.join()
handles.clear()
gc.collect()
deadline = time.monotonic() + 20
while segments[0]() is not None and time.monotonic() < deadline:
    time.sleep(0.01)
assert segments[0]() is None
with open(sys.argv[1], "wb") as file:
    file.write(framed(b'{"t": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}') + bytes([0, 60, 0, 64]))
assert warpload.load_file(sys.argv[1], name, dtype=torch.float32)["t"].tolist() == [1.0, 2.0]
""",
        tmp_path / "sparse.safetensors",
        device_name,
    )


# -- pinned memory ----------------------------------------------------------------------------------------------------


def test_pinned_memory_is_given_back_and_taken_anew(device: Device, mixed: Path) -> None:
    expected = warpload.load_file(mixed, device.name)
    assert engine.loader().pinned_bytes > 0

    released = warpload.release_pinned_memory()

    assert released > 0
    assert engine.loader().pinned_bytes == 0
    assert warpload.release_pinned_memory() == 0
    assert_same_tensors(warpload.load_file(mixed, device.name), expected)
    assert warpload.release_pinned_memory() > 0


def test_no_more_is_pinned_than_the_options_say(device: Device, tmp_path: Path) -> None:
    file = tmp_path / "large.safetensors"
    tensors = {"t": torch.arange(16_000_000, dtype=torch.int32)}
    safetensors.torch.save_file(tensors, file)
    warpload.release_pinned_memory()

    with device.options(pinned_bytes=16 << 20):
        loaded = warpload.load_file(file, device.name)
        assert 0 < engine.loader().pinned_bytes <= 16 << 20

    assert torch.equal(loaded["t"].cpu(), tensors["t"])


def test_a_load_to_the_host_pins_nothing(mixed: Path) -> None:
    warpload.release_pinned_memory()

    with warpload.LoadOptions(arena="auto"):
        warpload.load_file(mixed, dtype=torch.float64)
        assert engine.loader().pinned_bytes == 0


class _Unpinned:
    """A loader that says that it could not pin all that it wanted."""

    def __init__(self, loader: _core.Loader, failure: str) -> None:
        self._loader, self.pinning_failure, self.pinned_bytes = loader, failure, 4096

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def test_memory_that_could_not_be_pinned_is_told_of_once(
    device: Device, mixed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = _Unpinned(engine.loader(), "the limit of locked memory is 64 KiB")
    monkeypatch.setattr(engine, "loader", lambda: found)
    monkeypatch.setattr(engine, "_told", set())

    with caplog.at_level(logging.WARNING, "warpload"):
        for _ in range(3):
            warpload.load_file(mixed, device.name)

    (record,) = caplog.records
    assert "64 KiB" in record.getMessage()
    assert "4096 bytes" in record.getMessage()


def test_nothing_is_told_where_all_could_be_pinned(
    device: Device, mixed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "warpload"):
        warpload.load_file(mixed, device.name)

    assert caplog.records == []


# -- the extension ----------------------------------------------------------------------------------------------------


def test_the_extension_links_no_library_of_cuda() -> None:
    """The driver is opened where a GPU is asked for: the same module loads on machines without one."""
    result = subprocess.run(["readelf", "-d", _core.__file__], capture_output=True, text=True, check=True)
    needed = [line for line in result.stdout.splitlines() if "(NEEDED)" in line]

    assert needed
    assert not [line for line in needed if "cuda" in line.lower() or "nvrtc" in line.lower()]


def test_a_load_to_the_host_opens_no_driver(mixed: Path) -> None:
    run_python(
        """
import sys
from pathlib import Path
import torch, warpload
def has_driver():
    return "libcuda.so" in Path("/proc/self/maps").read_text()
before = has_driver()
warpload.load_file(sys.argv[1], dtype=torch.float64)
with warpload.LoadOptions(arena="always"):
    warpload.load_file(sys.argv[1])
assert has_driver() == before
""",
        mixed,
    )


def test_a_driver_that_is_not_there_is_an_error_of_the_device() -> None:
    with pytest.raises(warpload.DeviceError, match="no-such-driver"):
        _core.Device.cuda(0, "libno-such-driver.so.1")
