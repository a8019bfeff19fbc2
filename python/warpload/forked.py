"""What a child starts anew with after a fork.

A child has the thread that forked and none of the others: what those held stays held, and what they were in the midst
of stays half done. Each module that has such a state says here how the child puts it right. What belongs to the thread
that forked, or to the process as a whole, stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

_resets: list[Callable[[], None]] = []


def anew_in_child(reset: Callable[[], None]) -> Callable[[], None]:
    """Have a function called in every child, before anything else of it runs; in the order of these calls.

    It runs on the thread that forked, the only one there is, and must not wait for anything.
    """
    _resets.append(reset)
    return reset


def _start_anew() -> None:
    for reset in _resets:
        reset()


_forking = threading.RLock()

os.register_at_fork(before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_forking.release)
os.register_at_fork(after_in_child=_start_anew)


@contextlib.contextmanager
def held_up() -> Iterator[None]:
    """Let no thread fork while the block runs: for what a child could not put right, such as an import half done.

    A module that another thread was importing stays locked in the child for good. The block must be short, and must
    not wait for a thread that may fork.
    """
    with _forking:
        yield


class Lock:
    """A lock that its owner may take again. A child finds it free, unless the thread that forked holds it.

    Made once a module: each is remembered for good.

    Args:
        mend: called in a child where another thread held the lock, to put right what it was in the midst of; the
            lock is free by then.
    """

    def __init__(self, mend: Callable[[], None] | None = None) -> None:
        self._mend = mend
        self._lock = threading.RLock()
        self._owner: int | None = None
        self._depth = 0
        anew_in_child(self._start_anew)

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = threading.get_ident()
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
        self._lock.release()

    def _start_anew(self) -> None:
        if self._owner == threading.get_ident():
            return
        held = self._owner is not None
        self._lock = threading.RLock()
        self._owner, self._depth = None, 0
        if held and self._mend is not None:
            self._mend()


class Users:
    """Who uses something that all of them share, such as a function that is replaced meanwhile.

    In a child those that were on other threads are gone. To be guarded by a lock.
    """

    def __init__(self) -> None:
        self._threads: dict[object, int] = {}

    def __len__(self) -> int:
        return len(self._threads)

    def add(self) -> object:
        """Add a user on this thread; return what tells it from others."""
        user = object()
        self._threads[user] = threading.get_ident()
        return user

    def remove(self, user: object) -> None:
        """Take a user out, unless it is gone already."""
        self._threads.pop(user, None)

    def is_last(self, user: object) -> bool:
        """Tell whether there is nobody but this one."""
        return list(self._threads) == [user]

    def lost(self, *, but: object = None) -> bool:
        """Take out those of other threads, but for one; tell whether there were some and nobody is left."""
        own, before = threading.get_ident(), len(self)
        self._threads = {user: thread for user, thread in self._threads.items() if thread == own or user is but}
        return len(self) == 0 < before
