"""The limits that loads are held against, measured on the same machine in the same run.

What no loader can beat: the copy from pinned memory to the device, for files in the page cache; the disk read past the
page cache, for files that are not in it. The copy out of the page cache is noted beside them.
"""

from __future__ import annotations

import json
import mmap
import multiprocessing
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from warpload.demo import page_cache

_MEBIBYTE = 1 << 20
_COPY_BYTES = 4 << 30  # what one timed copy to the device moves in all
_PAGE_CACHE_BYTES = 8 << 30  # what one timed copy out of the page cache moves at most
_PAGE_CACHE_BLOCK = 4 * _MEBIBYTE
MOST_RESIDENT = 0.001  # of the pages of files that count as evicted
_DISK_SETTINGS = ((4, 4 * _MEBIBYTE), (8, 4 * _MEBIBYTE), (16, _MEBIBYTE), (16, 4 * _MEBIBYTE))  # threads, block
_DISK_SECONDS = 40  # after which no setting is tried again
_DISK_TIMEOUT = 120  # seconds


@dataclass(frozen=True)
class Trial:
    """One setting of a measurement: what it was, every figure in GB/s, and their median."""

    setting: str
    gbps: list[float]

    @property
    def median(self) -> float:
        """The middle of the figures."""
        return statistics.median(self.gbps)


@dataclass(frozen=True)
class Ceiling:
    """A limit: the median of the best setting, and every trial."""

    name: str
    gbps: float
    setting: str
    trials: list[Trial]

    @staticmethod
    def of(name: str, trials: Sequence[Trial]) -> Ceiling:
        """Choose the best of at least one trial."""
        best = max(trials, key=lambda trial: trial.median)
        return Ceiling(name, best.median, best.setting, list(trials))

    def to_json(self) -> dict[str, object]:
        """Return it as the results have it."""
        return asdict(self)


class CeilingError(RuntimeError):
    """A limit could not be measured; the message says why."""


def host_to_device(device: str, repeats: int = 5, copy_bytes: int = _COPY_BYTES) -> Ceiling:
    """Copy from pinned memory by torch, in several sizes and with one and two streams.

    In a process of its own: the contenders find a device on which nobody else has a context or memory.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(_host_to_device, device, repeats, copy_bytes).result()


def _host_to_device(device: str, repeats: int, copy_bytes: int) -> Ceiling:
    trials = []
    for size in (16, 64, 256, 1024):
        for streams in (1, 2):
            size_bytes = min(size * _MEBIBYTE, copy_bytes)
            trials.append(_copies(device, size_bytes, streams, repeats, copy_bytes))
    return Ceiling.of("host to device, pinned", trials)


def _copies(device: str, size_bytes: int, stream_count: int, repeats: int, copy_bytes: int) -> Trial:
    import torch

    on_cuda = device != "cpu"
    sources = [torch.zeros(size_bytes, dtype=torch.uint8) for _ in range(stream_count)]
    if on_cuda:
        sources = [source.pin_memory() for source in sources]
    targets = [torch.zeros(size_bytes, dtype=torch.uint8, device=device) for _ in range(stream_count)]
    streams = [torch.cuda.Stream(device) for _ in range(stream_count)] if on_cuda else []
    rounds = max(1, copy_bytes // (size_bytes * stream_count))

    def copy_all() -> None:
        for _ in range(rounds):
            for number in range(stream_count):
                if on_cuda:
                    with torch.cuda.stream(streams[number]):
                        targets[number].copy_(sources[number], non_blocking=True)
                else:
                    targets[number].copy_(sources[number])
        if on_cuda:
            torch.cuda.synchronize(device)

    if on_cuda:
        torch.cuda.synchronize(device)  # the targets are filled on another stream
    copy_all()
    moved = rounds * size_bytes * stream_count
    return Trial(
        f"{size_bytes // 1024} KiB, {stream_count} streams", [moved / _seconds(copy_all) / 1e9 for _ in range(repeats)]
    )


def page_cache_copy(files: Sequence[Path], repeats: int = 3) -> Ceiling:
    """Read files that are in the page cache into memory that is touched, by several numbers of threads."""
    page_cache.warm(files)
    pieces = _pieces(files, _PAGE_CACHE_BLOCK, _PAGE_CACHE_BYTES)
    cores = len(os.sched_getaffinity(0))
    trials = []
    for threads in sorted({max(1, cores // 4), max(1, cores // 2), cores}):
        figures = [_read_pieces(pieces, threads) for _ in range(repeats + 1)]
        trials.append(Trial(f"{threads} threads", figures[1:]))  # the first touches the buffers
    return Ceiling.of("page cache to memory", trials)


def _pieces(files: Sequence[Path], block: int, limit: int) -> list[tuple[Path, int, int]]:
    """Return (file, offset, length) for the files' bytes, up to the limit."""
    pieces = []
    remaining = limit
    for path in files:
        size = min(path.stat().st_size, remaining)
        pieces += [(path, offset, min(block, size - offset)) for offset in range(0, size, block)]
        remaining -= size
    return pieces


def _read_pieces(pieces: Sequence[tuple[Path, int, int]], thread_count: int) -> float:
    """Return the GB/s at which so many threads read the pieces, each into its own buffer."""
    descriptors = {path: os.open(path, os.O_RDONLY) for path in {path for path, _, _ in pieces}}
    buffers = [mmap.mmap(-1, _PAGE_CACHE_BLOCK) for _ in range(thread_count)]
    ready = threading.Barrier(thread_count + 1)

    def read(number: int) -> None:
        buffer = buffers[number]
        buffer[:] = bytes(len(buffer))
        with memoryview(buffer) as view:
            ready.wait()
            for path, offset, length in pieces[number::thread_count]:
                if os.preadv(descriptors[path], [view[:length]], offset) != length:
                    raise CeilingError(f"{path}: short read at {offset}")

    try:
        with ThreadPoolExecutor(thread_count) as executor:
            workers = [executor.submit(read, number) for number in range(thread_count)]
            ready.wait()
            begin = time.monotonic()
            for worker in workers:
                worker.result()
            seconds = time.monotonic() - begin
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    return sum(length for _, _, length in pieces) / seconds / 1e9


def disk(program: Path, files: Sequence[Path], repeats: int = 3) -> Ceiling:
    """Read files past the page cache (O_DIRECT) with warpload_disk_ceiling, after dropping them from it.

    Args:
        program: as built by CMake with WARPLOAD_BENCHMARKS=ON.
        files: what to read.
        repeats: readings with each setting, as far as there is time; one in any case.

    Raises:
        CeilingError: the program failed.
    """
    begin = time.monotonic()
    figures: dict[tuple[int, int], list[float]] = {setting: [] for setting in _DISK_SETTINGS}
    for number in range(repeats):
        for (threads, block), readings in figures.items():
            if number == 0 or time.monotonic() - begin < _DISK_SECONDS:
                readings.append(_run_disk_program(program, files, threads, block))
    trials = [
        Trial(f"{threads} threads, {block // 1024} KiB", readings) for (threads, block), readings in figures.items()
    ]
    return Ceiling.of("disk, O_DIRECT", trials)


def _run_disk_program(program: Path, files: Sequence[Path], threads: int, block: int) -> float:
    state = page_cache.evict(files)
    command = [str(program), *map(str, files), "--threads", str(threads), "--block", str(block), "--direct"]
    if not page_cache_is_cold(state):
        raise CeilingError(f"the page cache keeps the files: {state}")
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_DISK_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CeilingError(str(error)) from error
    if result.returncode != 0:
        raise CeilingError(f"{' '.join(command)}\nended with status {result.returncode}: {result.stderr.strip()}")
    figures = json.loads(result.stdout)
    expected = sum(path.stat().st_size for path in files)
    if figures["bytes"] != expected:
        raise CeilingError(f"{program} read {figures['bytes']} bytes of {expected}")
    return float(figures["bytes"]) / float(figures["seconds"]) / 1e9


def page_cache_is_cold(state: page_cache.CacheState) -> bool:
    """Tell whether so few pages are resident that the disk is what is measured."""
    return state.resident_pages <= state.total_pages * MOST_RESIDENT


def _seconds(action: Callable[[], None]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin
