"""How much memory of a GPU is in use, asked of its management library from outside the process that loads.

So the load is not disturbed, and memory counts whoever allocated it.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Iterator

_LIBRARY = "libnvidia-ml.so.1"
_INTERVAL = 0.002  # seconds


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class Sampler:
    """Notes the memory in use every two milliseconds, in a thread; a context manager.

    Without the library, or where it refuses, there are no samples.
    """

    def __init__(self, device: str) -> None:
        self._samples: list[tuple[int, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(device,), daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def growth(self, begin: int, end: int) -> int | None:
        """Return by how much the memory in use grew between two moments of CLOCK_MONOTONIC, at its peak.

        Args:
            begin: nanoseconds; the last sample before it is the level that the growth counts from.
            end: nanoseconds.
        """
        before = [used for moment, used in self._samples if moment < begin]
        during = [used for moment, used in self._samples if begin <= moment <= end]
        return max(0, max(during) - before[-1]) if before and during else None

    def _run(self, device: str) -> None:
        if device == "cpu":
            return
        with contextlib.suppress(OSError), _opened(device) as (library, handle):
            memory = _Memory()
            while not self._ended.wait(_INTERVAL):
                if library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != 0:
                    return
                self._samples.append((time.monotonic_ns(), memory.used))


@contextlib.contextmanager
def _opened(device: str) -> Iterator[tuple[ctypes.CDLL, ctypes.c_void_p]]:
    """Open the library and the device; its number is the one that CUDA gives it where all devices are visible."""
    library = ctypes.CDLL(_LIBRARY)
    handle = ctypes.c_void_p()
    if library.nvmlInit_v2() != 0:
        raise OSError(f"{_LIBRARY} does not start")
    try:
        number = int(device.partition(":")[2] or 0)
        if library.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(handle)) != 0:
            raise OSError(f"{_LIBRARY} has no device {number}")
        yield library, handle
    finally:
        library.nvmlShutdown()
