"""An attempt that leaves no traces: what it changed in the process is undone where it is refused.

The core begins to put a model together and may find that stock has to do it. What stock then draws, says and warns of
has to be what it would have been had nobody tried before.

attempt()  ---------------- keep() -----------------> end
   | undone where refused   | stays: stock goes on from it
   v                        v
   generators of torch, of Python and of numpy; log records and warnings, held back until it is known who says them

A model that was kept and that stock cannot go on with is undone like the rest: stock builds another.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from .. import forked
from . import generators
from .confined import Confined
from .refusal import NotNativeError

_showwarning = Confined(lambda: warnings, "showwarning")
# transformers adds these to every logger, and keeps in a cache what it has said once.
_said_once = [Confined(lambda: logging.Logger, name) for name in ("warning_once", "info_once")]


class Attempt:
    """What one attempt has said and drawn so far.

    Attributes:
        answering: whether the library's own code is at work and has all that it needs: what it raises is its answer.
    """

    def __init__(self) -> None:
        self.answering = False
        self._events: list[_Event] = []
        self._kept_from: int | None = None
        self._generators = generators.states()

    def keep(self) -> None:
        """Let what is drawn and said from here on stay, whether the core or stock goes on with the model."""
        self._kept_from = len(self._events)

    def said(self) -> int:
        """Return how many records and warnings there have been."""
        return len(self._events)

    def add(self, event: _Event) -> None:
        """Hold an event back."""
        self._events.append(event)

    def _end(self, refused: bool, built: Any) -> None:
        if built is None:
            self._kept_from = None
        kept_from = len(self._events) if self._kept_from is None else self._kept_from
        for number, event in enumerate(self._events):
            if not refused or number >= kept_from:
                event.say()
            else:
                event.discard()
        if refused and self._kept_from is None:
            generators.restore(self._generators)


@contextlib.contextmanager
def attempt() -> Iterator[Attempt]:
    """Undo what the block did where it ends in a ``NotNativeError``; otherwise say what it had to say.

    What other threads draw and say meanwhile is theirs.
    """
    current = Attempt()
    refused, built = False, None
    try:
        with _held_records(current), _held_calls(current):
            yield current
    except NotNativeError as error:
        refused, built = True, error.built
        raise
    finally:
        current._end(refused, built)


# -- what is said -----------------------------------------------------------------------------------------------------


class _Event:
    def say(self) -> None:
        raise NotImplementedError

    def discard(self) -> None:
        """Leave nothing of the event behind."""


class _Record(_Event):
    """A log record on its way to one handler."""

    def __init__(self, handler: logging.Handler, record: logging.LogRecord) -> None:
        self.handler, self.record = handler, record

    def say(self) -> None:
        self.handler.handle(self.record)


class _Call(_Event):
    """A call that says something."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.function, self.arguments, self.keywords = function, arguments, keywords

    def say(self) -> None:
        self.function(*self.arguments, **self.keywords)


class _Warning(_Call):
    def discard(self) -> None:
        """Take the warning out of where Python notes what it has shown: it has not been."""
        message, category, filename, lineno = self.arguments[:4]
        text = str(message)
        keys = [(text, category), (text, category, 0), (text, category, lineno)]
        registries = [getattr(warnings, "onceregistry", {})]
        modules = [each for each in list(sys.modules.values()) if getattr(each, "__file__", None) == filename]
        registries += [vars(module).get("__warningregistry__") or {} for module in modules]
        for registry in registries:
            for key in keys:
                registry.pop(key, None)


class _Holder(logging.Filter):
    """Sees what this thread sends to one handler, and may hold it back.

    Args:
        handler: the handler.
        seen: is called with each record; tells whether it goes on to the handler.
    """

    def __init__(self, handler: logging.Handler, seen: Callable[[_Record], bool]) -> None:
        super().__init__()
        self.handler, self.seen, self.thread = handler, seen, threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return threading.get_ident() != self.thread or self.seen(_Record(self.handler, record))


@contextlib.contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """Count what this thread says inside the block, which is said as ever; yields what returns the number."""
    count = 0

    def seen(_: _Record) -> bool:
        nonlocal count
        count += 1
        return True

    def warned(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
        nonlocal count
        count += 1
        function(*arguments, **keywords)

    with _seen_records(seen), _showwarning.replaced(warned):
        yield lambda: count


@contextlib.contextmanager
def _held_records(attempt: Attempt) -> Iterator[None]:
    """Hold records back."""

    def hold(record: _Record) -> bool:
        attempt.add(record)
        return False

    with _seen_records(hold):
        yield


@contextlib.contextmanager
def _seen_records(seen: Callable[[_Record], bool]) -> Iterator[None]:
    """See records at the handlers, where all loggers' come by."""
    holders = [_Holder(handler, seen) for handler in _handlers()]
    for holder in holders:
        # New lists: another thread may be going through the old ones. First, so that the others see it when it is said.
        holder.handler.filters = [holder, *holder.handler.filters]
    try:
        yield
    finally:
        for holder in holders:
            holder.handler.filters = [each for each in holder.handler.filters if each is not holder]


@forked.anew_in_child
def _remove_holders() -> None:
    # A thread of the child may get the number of one of the parent's.
    own = threading.get_ident()
    for handler in _handlers():
        handler.filters = [each for each in handler.filters if not (isinstance(each, _Holder) and each.thread != own)]


def _handlers() -> list[logging.Handler]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    found = [handler for each in loggers if isinstance(each, logging.Logger) for handler in each.handlers]
    if logging.lastResort is not None:
        found.append(logging.lastResort)
    return list(dict.fromkeys(found))


@contextlib.contextmanager
def _held_calls(attempt: Attempt) -> Iterator[None]:
    """Hold back warnings, and what is said once a process: neither is noted as said before it is."""

    def holding(event: type[_Call]) -> Callable[..., None]:
        def hold(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
            attempt.add(event(function, arguments, keywords))

        return hold

    with contextlib.ExitStack() as replaced:
        replaced.enter_context(_showwarning.replaced(holding(_Warning)))
        for once in _said_once:
            if once.exists():
                replaced.enter_context(once.replaced(holding(_Call)))
        yield
