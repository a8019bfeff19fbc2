"""A function of a module or class, replaced for one thread without harm to the others.

Whoever patches what a whole process shares, and puts back what he found, does so one at a time or leaves a patch
behind. Here the function that stands there only passes calls on, but on threads that asked for more: it may be left
behind by code that saved it and puts it back late, and does nothing then.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .. import forked

# Takes the function below, then the arguments of the call.
Act = Callable[..., Any]


class _Here(threading.local):
    """What one thread has asked for, innermost last, and whether it is below ours already."""

    def __init__(self) -> None:
        self.acts: list[Act] = []
        self.kept = 0
        self.below = False


class Confined:
    """One attribute that can be replaced on one thread.

    Args:
        find_owner: returns the module or class; called with the first use.
        name: the attribute, a function.
    """

    def __init__(self, find_owner: Callable[[], Any], name: str) -> None:
        self._find_owner, self._name = find_owner, name
        self._lock = threading.Lock()
        self._holders = 0
        self._here = _Here()
        self._ours: Callable[..., Any] | None = None
        self._first: Callable[..., Any] | None = None  # what was there before ours for the first time
        self._found: Callable[..., Any] | None = None  # what ours stands before now
        forked.anew_in_child(self._count_anew)

    @contextlib.contextmanager
    def replaced(self, act: Act) -> Iterator[None]:
        """Have ``act`` called instead on this thread inside the block; what it replaces is its first argument."""
        self._hold()
        self._here.acts.append(act)
        try:
            yield
        finally:
            self._here.acts.remove(act)
            self._release()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Leave ours in its place inside the block, however often ``replaced`` comes and goes there.

        Each time that an attribute of a class changes, Python forgets what it knows of all classes below.
        """
        self._hold()
        self._here.kept += 1
        try:
            yield
        finally:
            self._here.kept -= 1
            self._release()

    def exists(self) -> bool:
        """Tell whether there is such an attribute."""
        return self._name in vars(self._find_owner())

    def present(self) -> Any:
        """Return the function that others see, with ours taken for the one that it stands before, or None."""
        present = vars(self._find_owner()).get(self._name)
        return self._found if present is self._ours else present

    def wanted_here(self) -> bool:
        """Tell whether this thread is inside a block of ``replaced``."""
        return bool(self._here.acts)

    def _hold(self) -> None:
        owner = self._find_owner()
        with self._lock:
            self._holders += 1
            present = vars(owner)[self._name]
            if present is self._ours:
                return
            self._found = present
            if self._ours is None:
                self._first, self._ours = present, self._passing_on(present)
            setattr(owner, self._name, self._ours)

    def _release(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                self._put_back()

    def _put_back(self) -> None:
        owner = self._find_owner()
        if vars(owner)[self._name] is self._ours:  # else someone has replaced ours
            setattr(owner, self._name, self._found)

    def _count_anew(self) -> None:
        # A child has none of its parent's other threads.
        self._lock = threading.Lock()
        self._holders = len(self._here.acts) + self._here.kept
        if self._holders == 0 and self._ours is not None:
            self._put_back()

    def _passing_on(self, like: Callable[..., Any]) -> Callable[..., Any]:
        here = self._here

        @functools.wraps(like)
        def pass_on(*arguments: Any, **keywords: Any) -> Any:
            acts = here.acts
            if not acts:
                return self._below(*arguments, **keywords)
            act = acts.pop()
            try:
                return act(pass_on if acts else self._below, *arguments, **keywords)
            finally:
                acts.append(act)

        return pass_on

    def _below(self, *arguments: Any, **keywords: Any) -> Any:
        here = self._here
        # A patch that was made above ours, and is found below it now, calls ours again.
        below = self._first if here.below else self._found
        assert below is not None
        outer, here.below = here.below, True
        try:
            return below(*arguments, **keywords)
        finally:
            here.below = outer
