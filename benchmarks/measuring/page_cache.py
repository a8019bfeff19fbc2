"""The page cache: what is in it of some files, how to fill it, to keep it, and to empty it.

Imports only the standard library.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

_PAGE = mmap.PAGESIZE
_READ_PIECE = 1 << 20
_WARM_ATTEMPTS = 3
_LOWEST_BIT = bytes(value & 1 for value in range(256))


@dataclass(frozen=True)
class CacheState:
    """How much of some files is in the page cache.

    Attributes:
        resident_pages: pages that are in memory. Of files that another user owns and that cannot be written, the
            kernel reports every page as resident.
        total_pages: pages that the files have.
    """

    resident_pages: int
    total_pages: int

    @property
    def is_warm(self) -> bool:
        """Whether every page is in memory."""
        return self.resident_pages == self.total_pages

    def __str__(self) -> str:
        """Return "warm", "cold" or the share that is resident."""
        if self.is_warm:
            return "warm"
        if self.resident_pages == 0:
            return "cold"
        return f"{self.resident_pages / self.total_pages:.1%} resident ({self.resident_pages} pages)"


def cache_state(files: Iterable[Path]) -> CacheState:
    """Ask the kernel (mincore) which pages of the files are in the page cache."""
    resident = total = 0
    for path in files:
        file_resident, file_total = _resident_pages(path)
        resident += file_resident
        total += file_total
    return CacheState(resident, total)


def warm(files: Iterable[Path]) -> CacheState:
    """Read the files, until they are in the page cache; returns the state afterwards.

    They are read even when they are in it: a kernel that reclaims what was not used of late must see that they are.
    """
    files = list(files)
    buffer = bytearray(_READ_PIECE)
    for _ in range(_WARM_ATTEMPTS):
        for path in files:
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        state = cache_state(files)
        if state.is_warm:
            break
    return state


def evict(files: Iterable[Path]) -> CacheState:
    """Drop the files from the page cache; returns the state afterwards, as some pages may stay."""
    files = list(files)
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # pages that are not on the disk yet cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    return cache_state(files)


class PinnedFiles:
    """Files whose pages stay in the page cache, as this process has locked them; a context manager.

    Some kernels write off pages that were not used for seconds, which is less than some loads take. Locking as much
    needs a privilege or a high limit (ulimit -l); without it nothing is locked, and `pinned` is False.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._mappings: list[_Mapping] = []
        self.pinned = True
        for path in files:
            mapping = _Mapping(path)
            self._mappings.append(mapping)
            if not mapping.lock():
                self.pinned = False
                self.close()
                return

    def close(self) -> None:
        """Unlock the files; again does nothing."""
        while self._mappings:
            self._mappings.pop().close()

    def __enter__(self) -> PinnedFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _Mapping:
    """A file mapped for reading, by ctypes: mmap.mmap tells no address of a mapping that cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size
        self._address: int | None = None
        if self._size == 0:
            return
        with path.open("rb") as file:
            address = _libc().mmap(None, self._size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
        if address == ctypes.c_void_p(-1).value:
            raise self._error()
        self._address = address

    def resident_pages(self) -> tuple[int, int]:
        """Return (resident, all) pages of the file."""
        pages = -(-self._size // _PAGE)
        if self._address is None:
            return 0, pages
        states = ctypes.create_string_buffer(pages)
        if _libc().mincore(self._address, self._size, states) != 0:
            raise self._error()
        return sum(states.raw.translate(_LOWEST_BIT)), pages  # the other bits are not defined

    def lock(self) -> bool:
        """Read the pages in and keep them; False when the process may not lock as many."""
        return self._address is None or _libc().mlock(self._address, self._size) == 0

    def close(self) -> None:
        if self._address is not None:
            _libc().munmap(self._address, self._size)
            self._address = None

    def _error(self) -> OSError:
        number = ctypes.get_errno()
        return OSError(number, os.strerror(number), str(self._path))


def _resident_pages(path: Path) -> tuple[int, int]:
    mapping = _Mapping(path)
    try:
        return mapping.resident_pages()
    finally:
        mapping.close()


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *([ctypes.c_int] * 3), ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc
