"""What torch's allocator for CUDA can still give, by the rules of its cache.

What it holds to spare is not all room. It serves a request from one free piece that is large enough and of the same
stream, else from new memory; and where the driver has none, it first releases those allocations that are wholly free
(of expandable segments, their free pages). Fragments between tensors in use help nobody.

Where the snapshot does not tell (a graph's pool that its graph has left, a setting that rounds sizes), the answer here
is yes: torch itself has the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_MIB = 2**20
_ROUNDING = 512
_SMALL = _MIB  # up to here requests share allocations of 2 MiB, in a pool of their own
_SMALL_ALLOCATION = 2 * _MIB
_MIDDLE = 10 * _MIB  # up to here they share allocations of 20 MiB
_MIDDLE_ALLOCATION = 20 * _MIB
_LARGE_ROUNDING = 2 * _MIB
_DEFAULT_POOL = (0, 0)


@dataclass(frozen=True)
class Piece:
    """A free part of something that torch has allocated from the driver.

    Attributes:
        begin: its offset there.
        size: its bytes.
        of: the bytes of the whole.
        page: the bytes that can be released by themselves; 0 where all are or none.
        small: whether it is in the pool for small requests.
        usable: whether a request of the current stream may be served from it.
    """

    begin: int
    size: int
    of: int
    page: int
    small: bool
    usable: bool

    def split(self) -> tuple[int, list[Piece]]:
        """Return the bytes that torch releases when it empties its cache, and what is left of the piece then."""
        end = self.begin + self.size
        if self.page:
            first, last = _round_up(self.begin, self.page), end // self.page * self.page
        else:
            first, last = (0, end) if self.size == self.of else (0, 0)
        if first >= last:
            return 0, [self]
        ends = [replace(self, size=first - self.begin), replace(self, begin=last, size=end - last)]
        return last - first, [piece for piece in ends if piece.size]


def allocation_bytes(size: int) -> int:
    """Return what torch takes from the driver for one request."""
    if size <= _SMALL:
        return _SMALL_ALLOCATION
    return _MIDDLE_ALLOCATION if size < _MIDDLE else _round_up(size, _LARGE_ROUNDING)


def free_pieces(snapshot: Iterable[Mapping[str, Any]], device: int, stream: int) -> list[Piece]:
    """Return what is free in the cache of one device, from ``torch.cuda.memory_snapshot()``."""
    return [piece for segment in snapshot if segment["device"] == device for piece in _free_in(segment, stream)]


def _free_in(segment: Mapping[str, Any], stream: int) -> Iterable[Piece]:
    small = segment["segment_type"] == "small"
    page = (_SMALL_ALLOCATION if small else _MIDDLE_ALLOCATION) if segment.get("is_expandable") else 0
    usable = segment["stream"] == stream and tuple(segment.get("segment_pool_id", _DEFAULT_POOL)) == _DEFAULT_POOL
    begin = end = 0
    for block in segment["blocks"]:
        if block["state"] == "active_allocated":
            if end > begin:
                yield Piece(begin, end - begin, segment["total_size"], page, small, usable)
            begin = end + block["size"]
        end += block["size"]
    if end > begin:
        yield Piece(begin, end - begin, segment["total_size"], page, small, usable)


def fits(sizes: Sequence[int], free: int, allowance: int, pieces: Sequence[Piece]) -> bool:
    """Tell whether torch can serve the requests, one after the other.

    Args:
        sizes: bytes of each.
        free: bytes that the driver has.
        allowance: bytes that torch may take from it beyond what it holds.
        pieces: what is free in its cache.
    """
    left = list(pieces)
    for size in sizes:
        if _take(_round_up(size, _ROUNDING), left):
            continue
        need = allocation_bytes(size)
        if need > min(free, allowance):
            released, left = _release(left)
            free, allowance = free + released, allowance + released
        if need > min(free, allowance):
            return False
        free, allowance = free - need, allowance - need
        if need > size:
            left.append(Piece(size, need - size, need, 0, size <= _SMALL, usable=True))
    return True


def _take(size: int, pieces: list[Piece]) -> bool:
    """Serve one request from the smallest piece that holds it, if there is one."""
    held = [piece for piece in pieces if piece.usable and piece.small == (size <= _SMALL) and piece.size >= size]
    if not held:
        return False
    best = min(held, key=lambda piece: piece.size)
    pieces.remove(best)
    if best.size > size:
        pieces.append(replace(best, begin=best.begin + size, size=best.size - size))
    return True


def _release(pieces: Sequence[Piece]) -> tuple[int, list[Piece]]:
    """Have torch empty its cache."""
    released, left = 0, []
    for piece in pieces:
        gone, rest = piece.split()
        released += gone
        left += rest
    return released, left


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
