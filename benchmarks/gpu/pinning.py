"""What pinning costs: cuMemHostRegister of touched memory in huge and in small pages, by several threads at once.

By the driver's own functions, as the core calls them: torch has no way to register memory, and is not needed here.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .journal import Journal

SLOT_BYTES = 4 << 20  # the engine's
_SLOTS = 8  # for each thread
_THREADS = (1, 4, 16)
_ROUNDS = 2
_PORTABLE = 1
_HUGE_PAGE = 2 << 20
_MADV_NOHUGEPAGE = 15  # the mmap module has no name for it before Python 3.12


class DriverError(RuntimeError):
    """A function of the driver failed; the message has its name and the number of the error."""


class Driver:
    """The few functions of CUDA's driver that pinning needs, in the primary context of the first GPU."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        self._device = ctypes.c_int()
        self._context = ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(self._device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)

    def enter(self) -> None:
        """Make the context current on this thread."""
        self.call("cuCtxPushCurrent_v2", self._context)

    def leave(self) -> None:
        """Undo `enter`."""
        self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def close(self) -> None:
        """Give the context back."""
        self.call("cuDevicePrimaryCtxRelease_v2", self._device)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; raises where it says anything but success."""
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise DriverError(f"{name}: error {status}")


@dataclass
class _Slots:
    """Touched memory of one thread."""

    area: mmap.mmap
    addresses: list[int]

    @staticmethod
    def touched(slot_bytes: int, *, huge: bool) -> _Slots:
        area = mmap.mmap(-1, _SLOTS * slot_bytes + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        area.madvise(mmap.MADV_HUGEPAGE if huge else _MADV_NOHUGEPAGE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(area))
        begin += -begin % _HUGE_PAGE
        ctypes.memset(begin, 1, _SLOTS * slot_bytes)
        return _Slots(area, [begin + number * slot_bytes for number in range(_SLOTS)])


def give_fake_a_device(library: str) -> None:
    """Start the tests' fake driver with a device, for a rehearsal: of itself it has none."""
    ctypes.CDLL(library).warpload_fake_cuda_reset()


def note_pinning(journal: Journal, library: str, slot_bytes: int = SLOT_BYTES) -> None:
    """Note a fact for each kind of page and number of threads."""
    begin = time.monotonic()
    driver = Driver(library)
    journal.add("fact", name="first context", seconds=time.monotonic() - begin, library=Path(library).name)
    for huge in (True, False):
        for threads in _THREADS:
            for number in range(_ROUNDS):
                found = _register(driver, threads, slot_bytes, huge=huge)
                fact = {"pages": "huge" if huge else "small", "threads": threads, "round": number, **found}
                journal.add("fact", name="pinning", **fact)
                print(f"pinning: {fact}")
    driver.close()


def _register(driver: Driver, threads: int, slot_bytes: int, *, huge: bool) -> dict[str, Any]:
    """Have the threads register their slots at once and unregister them; return the times of both."""
    together = threading.Barrier(threads + 1)
    errors: list[Exception] = []
    calls: list[float] = []

    def work(mine: _Slots) -> None:
        try:
            driver.enter()
            _work(driver, mine, slot_bytes, together, calls)
            driver.leave()
        except (DriverError, threading.BrokenBarrierError) as error:
            errors.append(error)
            together.abort()

    slots = [_Slots.touched(slot_bytes, huge=huge) for _ in range(threads)]
    workers = [threading.Thread(target=work, args=(mine,), daemon=True) for mine in slots]
    for worker in workers:
        worker.start()
    moments = []
    try:
        for _ in range(3):
            together.wait()
            moments.append(time.monotonic())
    except threading.BrokenBarrierError:
        pass
    for worker in workers:
        worker.join()
    if len(moments) < 3:
        return {"error": str(errors[0]) if errors else "unknown"}
    nbytes = threads * _SLOTS * slot_bytes
    seconds = moments[1] - moments[0]
    return {
        "bytes": nbytes, "slot_bytes": slot_bytes, "register_seconds": seconds, "gbps": nbytes / seconds / 1e9,
        "longest_call_seconds": max(calls), "unregister_seconds": moments[2] - moments[1],
    }  # fmt: skip


def _work(driver: Driver, mine: _Slots, slot_bytes: int, together: threading.Barrier, calls: list[float]) -> None:
    """Register the slots of one thread and unregister them, each when all threads are as far; note each call's time."""
    together.wait()
    for address in mine.addresses:
        begin = time.monotonic()
        driver.call("cuMemHostRegister_v2", ctypes.c_void_p(address), ctypes.c_size_t(slot_bytes), _PORTABLE)
        calls.append(time.monotonic() - begin)
    together.wait()
    for address in mine.addresses:
        driver.call("cuMemHostUnregister", ctypes.c_void_p(address))
    together.wait()
