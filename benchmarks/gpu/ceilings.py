"""The limits that loads are held against, measured on the same machine in the same run.

What no loader can beat: the copy from pinned memory to the device, for files in the page cache; the disk read past the
page cache, for files that are not in it. The copy out of the page cache is noted beside them.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from warpload.measuring import page_cache

from . import facts
from .journal import Journal, read
from .models import Model
from .report import DISK, HOST_TO_DEVICE, PAGE_CACHE

_MEBIBYTE = 1 << 20
COPY_BYTES = 4 << 30  # what one timed copy to the device moves in all
_PAGE_CACHE_BYTES = 8 << 30  # what one timed copy out of the page cache moves at most
_PAGE_CACHE_BLOCK = 4 * _MEBIBYTE
MOST_RESIDENT = 0.001  # of the pages of files that count as evicted
DISK_SETTINGS = ((8, 4 * _MEBIBYTE), (16, 4 * _MEBIBYTE), (16, _MEBIBYTE), (4, 4 * _MEBIBYTE))  # threads, block
_DISK_TIMEOUT = 120  # seconds
_COPY_SIZES = (8, 64, 256)  # MiB


class CeilingError(RuntimeError):
    """A limit could not be measured; the message says why."""


def note_limits(journal: Journal, device: str, model: Model, copy_bytes: int = COPY_BYTES) -> None:
    """Measure the copy to the device and the copy out of the page cache, and note every single figure."""
    _note_figures(journal, model, PAGE_CACHE, page_cache_copy(model.files))
    _note_figures(journal, model, HOST_TO_DEVICE, host_to_device(device, copy_bytes))
    if device != "cpu":
        facts.note(journal, "gpu after copies", facts.gpu)  # before them the link may have been idle, and slower


def _note_figures(journal: Journal, model: Model, name: str, figures: Iterator[tuple[str, float]]) -> None:
    for setting, gbps in figures:
        journal.add("ceiling", model=model.key, name=name, setting=setting, gbps=gbps)
        print(f"{name}, {setting}: {gbps:.2f} GB/s", flush=True)


def host_to_device(device: str, copy_bytes: int = COPY_BYTES, repeats: int = 5) -> Iterator[tuple[str, float]]:
    """Copy from pinned memory by torch, in several sizes and with one and two streams; yield setting and GB/s."""
    for size in sorted({min(size * _MEBIBYTE, copy_bytes) for size in _COPY_SIZES}):
        for streams in (1, 2):
            yield from _copies(device, size, streams, repeats, copy_bytes)


def _copies(
    device: str, size_bytes: int, stream_count: int, repeats: int, copy_bytes: int
) -> Iterator[tuple[str, float]]:
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
    for _ in range(repeats):
        yield f"{size_bytes // _MEBIBYTE} MiB, {stream_count} streams", moved / _seconds(copy_all) / 1e9


def page_cache_copy(files: Sequence[Path], repeats: int = 3) -> Iterator[tuple[str, float]]:
    """Read files that are in the page cache into touched memory, by several numbers of threads; yield both."""
    page_cache.warm(files)
    pieces = _pieces(files, _PAGE_CACHE_BLOCK, _PAGE_CACHE_BYTES)
    cores = len(os.sched_getaffinity(0))
    for threads in sorted({max(1, cores // 4), max(1, cores // 2), cores}):
        _read_pieces(pieces, threads)  # the first touches the buffers
        for _ in range(repeats):
            yield f"{threads} threads", _read_pieces(pieces, threads)


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


def best_disk_setting(journal: Journal, model: Model) -> tuple[int, int]:
    """Return threads and block of the fastest reading of a model's files so far, or the first of DISK_SETTINGS."""
    readings = [
        (result["gbps"], (result["threads"], result["block"]))
        for result in read([journal.path])
        if result["kind"] == "ceiling" and result["name"] == DISK and result["model"] == model.key
    ]
    return max(readings)[1] if readings else DISK_SETTINGS[0]


def disk_setting(threads: int, block: int) -> str:
    """Return the setting's name in the results."""
    return f"{threads} threads, {block // 1024} KiB"


def disk(program: Path, files: Sequence[Path], threads: int, block: int) -> float:
    """Read files past the page cache (O_DIRECT) with warpload_disk_ceiling, after dropping them from it.

    Args:
        program: as built by CMake with WARPLOAD_BENCHMARKS=ON.
        files: what to read.
        threads: that read.
        block: bytes of one read.

    Returns:
        GB/s.

    Raises:
        CeilingError: the program failed.
    """
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
