"""Keeps the memory that a timed load will need backed by the host.

In a virtual machine the first touch of memory that the host has not backed is slow (on some hosts seconds a GB), and
memory that stays free is handed back to the host after about two seconds. Whichever program came first, or took
longest, would pay for it. So another process holds touched memory, and frees it piece by piece as the load takes
memory: what the load gets was in use a moment before, as the kernel hands out first what was freed last. It is the
same for every contender.

Imports only the standard library. Run as a program, this file is that other process; it obeys lines on its standard
input: "hold BYTES" makes it take memory and answer "BYTES", and from then on it frees as needed.
"""

from __future__ import annotations

import mmap
import os
import select
import subprocess
import sys
from types import TracebackType

_PIECE = 32 << 20
# How far the holder frees ahead of what the load has taken, once that is more than the noise of other processes.
_AHEAD = 64 << 20
_NOISE = 16 << 20
# What is left free when memory is taken; far above what makes the kernel drop page cache.
_LEFT_FREE = 1 << 30
_POLL_SECONDS = 0.001


class MemoryReserve:
    """A process that holds touched memory for the loads to come; a context manager.

    Not thread-safe. Loads run while it is open; `refill` goes between them.
    """

    def __init__(self) -> None:
        self.held = 0  # bytes, when it was last refilled
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> MemoryReserve:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def refill(self, byte_count: int) -> int:
        """Take and touches memory until that many bytes are held, or until 1 GiB is left free.

        Args:
            byte_count: bytes that the next load is expected to allocate.

        Returns:
            The bytes held.

        Raises:
            RuntimeError: the holding process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print("hold", byte_count, file=self._process.stdin, flush=True)
            self.held = int(self._process.stdout.readline())
            return self.held
        except (BrokenPipeError, ValueError) as error:
            raise RuntimeError("the process that holds memory has ended") from error


def free_memory() -> int:
    """Return the bytes that hold nothing at all, not even page cache."""
    return os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE


def _take_piece(advice: int = mmap.MADV_HUGEPAGE) -> mmap.mmap:
    piece = mmap.mmap(-1, _PIECE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    piece.madvise(advice)
    with memoryview(piece) as view:
        view[:: mmap.PAGESIZE] = bytes([1]) * (_PIECE // mmap.PAGESIZE)  # one write in every page is enough
    return piece


class _Holder:
    def __init__(self) -> None:
        self._pieces: list[mmap.mmap] = []
        self._free_before = 0
        self._released = 0
        self._touched_fragments = False

    def fill(self, byte_count: int) -> int:
        """Hold that many bytes if they are there; returns how many are held."""
        if not self._touched_fragments:
            # Small pages come out of the fragments of memory that huge pages leave over; loaders that use small pages
            # get those first.
            self._take(byte_count, mmap.MADV_NOHUGEPAGE)
            self._pieces.clear()
            self._touched_fragments = True
        self._take(byte_count, mmap.MADV_HUGEPAGE)
        self._free_before = free_memory()
        self._released = 0
        return len(self._pieces) * _PIECE

    def _take(self, byte_count: int, advice: int) -> None:
        while len(self._pieces) * _PIECE < byte_count and free_memory() > _LEFT_FREE + _PIECE:
            self._pieces.append(_take_piece(advice))

    def follow(self) -> None:
        """Free as much as others have taken since the last fill, and a little ahead."""
        taken = self._free_before + self._released - free_memory()
        while self._pieces and taken > _NOISE and self._released < taken + _AHEAD:
            self._pieces.pop().close()
            self._released += _PIECE


def _hold() -> None:
    holder = _Holder()
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], _POLL_SECONDS)
        if readable:
            words = sys.stdin.readline().split()
            if len(words) != 2:
                return
            print(holder.fill(int(words[1])), flush=True)
        holder.follow()


if __name__ == "__main__":
    _hold()
