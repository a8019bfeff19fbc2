"""What memory and a disk can do, measured in about two seconds: no load is faster than these.

Python's own calls measure: `memmove` and `memset` of the C library, and reads, all of which let other threads run.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from warpload import _core

_SECONDS = 0.4
_PIECE = 8 << 20
_MEMORY = 256 << 20
_READERS = 4


@dataclass(frozen=True)
class Limits:
    """Bytes a second; None where nothing could be measured.

    Attributes:
        first_touch: of memory that the kernel has to give and to clear, as the result of a cast is.
        copy: from memory to memory, by all cores.
        disk: of a file that is not in the page cache, by large reads past the cache.
    """

    first_touch: float | None
    copy: float | None
    disk: float | None


def measure(files: Sequence[Path]) -> Limits:
    """Measure the limits.

    Args:
        files: from which the disk's rate is measured; of none it is not.
    """
    cores, seconds = len(os.sched_getaffinity(0)), _SECONDS
    size = min(_MEMORY, _core.available_memory() // 8) // (cores * _PIECE) * (cores * _PIECE)
    if size == 0:
        return Limits(None, None, _disk(files, seconds))
    return Limits(_first_touch(size, cores, seconds), _copy(size, cores, seconds), _disk(files, seconds))


def _first_touch(size: int, cores: int, seconds: float) -> float:
    def once() -> int:
        with mmap.mmap(-1, size) as memory, ThreadPoolExecutor(cores) as threads:
            base = _address(memory)
            list(threads.map(lambda begin: ctypes.memset(base + begin, 1, _PIECE), range(0, size, _PIECE)))
        return size

    return _rate(once, seconds)


def _copy(size: int, cores: int, seconds: float) -> float:
    half = size // 2 // _PIECE * _PIECE or _PIECE
    with mmap.mmap(-1, half) as source, mmap.mmap(-1, half) as target, ThreadPoolExecutor(cores) as threads:
        read, write = _address(source), _address(target)
        for base in (read, write):
            ctypes.memset(base, 1, half)

        def once() -> int:
            pieces = range(0, half, _PIECE)
            list(threads.map(lambda begin: ctypes.memmove(write + begin, read + begin, _PIECE), pieces))
            return half

        return _rate(once, seconds)


def _disk(files: Sequence[Path], seconds: float) -> float | None:
    """Read pieces of the largest file past the page cache; None where that cannot be, as on some network mounts."""
    largest = max(files, key=lambda file: file.stat().st_size, default=None)
    if largest is None or largest.stat().st_size < _PIECE:
        return None
    try:
        descriptor = os.open(largest, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return None
    try:
        return _read_directly(descriptor, largest.stat().st_size, seconds)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _read_directly(descriptor: int, size: int, seconds: float) -> float:
    offsets = iter(range(0, size - _PIECE + 1, _PIECE))
    end = time.perf_counter() + seconds

    def read() -> int:
        done = 0
        with mmap.mmap(-1, _PIECE) as buffer:
            while time.perf_counter() < end and (offset := next(offsets, None)) is not None:
                done += os.preadv(descriptor, [buffer], offset)
        return done

    begin = time.perf_counter()
    with ThreadPoolExecutor(_READERS) as threads:
        done = sum(threads.map(lambda _: read(), range(_READERS)))
    return done / (time.perf_counter() - begin)


def _rate(once: Callable[[], int], seconds: float) -> float:
    once()  # not counted: threads begin with it
    done, begin = 0, time.perf_counter()
    while True:
        done += once()
        if (spent := time.perf_counter() - begin) >= seconds:
            return done / spent


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
