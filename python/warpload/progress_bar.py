"""The bar of a load that takes long: one for all that the load reads, in bytes, in place of the libraries' own.

    Loading unet:  62%|██████▏   | 4.29G/6.94G [00:03<00:02, 1.31GB/s, casting]

    thread that loads   shown( .... engine: add(bytes to come) ................................ ) end
                                        |                                                       |
    the bar's thread                    `- waits a second ------ tqdm is imported, draws ...... closes

The thread is there only where somebody watches, from when there are bytes to come: what nobody sees costs nothing. It
reads counters of the core's, and holds nothing of the load. Loads inside a load are counted in the outermost one's bar.
Of loads on several threads the first has a bar, until it ends; the others have none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from . import _core, forked, options, progress_audience, progress_tally, strings

logger = logging.getLogger("warpload")

_DELAY = 1.0  # seconds; a load that is over by then shows nothing
_INTERVAL = 0.125  # between two looks
_INTERVAL_OF_LOGS = 5.0  # where what is written stays
_NEXT_TO_NOTHING = 1e-9  # seconds
_USUAL_SIZE = {"ncols": 80, "nrows": 24}  # characters


class ProgressBar:
    """The bar of one load, which may never be seen.

    Args:
        name: what is loaded.
        asked: what the options of the load say.
        library: whose switch counts; see ``progress_audience``.
        doing: what is done with it.
    """

    def __init__(self, name: str, asked: bool | None, library: str, doing: str) -> None:
        self._name, self._asked, self._library, self._doing = name, asked, library, doing
        self.is_first = False  # so that it may be drawn
        self._began = time.time()
        self._tally = progress_tally.Tally()
        self._over = threading.Event()
        self._lock = threading.Lock()  # of the two below
        self._thread: threading.Thread | None = None
        self._is_visible = False
        self._has_failed = False
        self._line: Any = None

    def add(self, meter: _core.LoadMeter, names: Mapping[int, str], *, taken: bool = False) -> None:
        """Count segments of a load of the core's; see ``Tally.add``."""
        if not self._tally.add(meter, names, taken=taken) or not self.is_first:
            return
        with self._lock:
            if self._thread is not None or self._over.is_set():
                return
            self._thread = threading.Thread(target=self._run, name="warpload-progress", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system gives no thread
            self.is_first = False

    def build(self, component: str) -> None:
        """Say what Python builds from here on."""
        self._tally.building = component

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Say that Python imports libraries while the block runs."""
        self._tally.python = "importing"
        try:
            yield
        finally:
            self._tally.python = "building"

    def end(self, *, failed: bool) -> None:
        """Leave the last line, if there is one, and write no more."""
        self._has_failed = failed
        with self._lock:
            self._over.set()
            thread = self._thread if self._is_visible else None
        if thread is not None:
            thread.join()

    def forget(self) -> None:
        """Leave the line to the parent process, in a child of fork."""
        self._over.set()
        if self._line is not None:
            self._line.disable = True

    # -- on its thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._over.wait(max(self._began + _DELAY - time.time(), 0)) or not self._begin():
                return
            interval = _INTERVAL if progress_audience.is_watched() else _INTERVAL_OF_LOGS
            while True:
                progress = self._tally.look()
                self._draw(progress)
                if self._over.wait(interval):
                    break
            if not self._has_failed:  # what failed has given up what was still to come
                progress = self._tally.look()
            progress = progress_tally.at_end(progress, failed=self._has_failed)
            self._describe(progress)
            self._line.n = progress.done
            with forked.held_up():
                self._line.close()  # draws it once more
        except Exception as error:  # a terminal that is gone is no reason to say anything there
            logger.debug("the progress of %s is not shown any more: %s", self._name, error)

    def _begin(self) -> bool:
        """Make the line, and tell whether there is one."""
        with forked.held_up():  # see there: imports; and no child is to find tqdm's lock held
            from tqdm.auto import tqdm

            with self._lock:
                if self._over.is_set() or not progress_audience.is_wanted(self._asked, self._library):
                    return False
                self._is_visible = True
            # It draws when it is told to, not before it knows what.
            when = {"mininterval": 0, "miniters": 0, "delay": _NEXT_TO_NOTHING}
            total = self._tally.look().total
            self._line = tqdm(total=total, file=sys.stderr, unit="B", unit_scale=True, **_size(sys.stderr), **when)
            self._line.start_t = self._line.last_print_t = self._began
        return True

    def _draw(self, progress: progress_tally.Progress) -> None:
        line = self._line
        self._describe(progress)
        with forked.held_up():
            if progress.done > line.n:
                line.update(progress.done - line.n)  # finds the rate, too
            else:
                line.refresh()
        line.delay = 0  # from here on it has been seen: closing leaves it

    def _describe(self, progress: progress_tally.Progress) -> None:
        """Say how far the load is, without drawing it."""
        line = self._line
        line.total = progress.total
        if (widget := getattr(line, "container", None)) is not None:  # in a notebook
            widget.children[1].max = progress.total
        line.set_description(f"{self._doing} {strings.shown(progress.component or self._name)}", refresh=False)
        line.set_postfix_str(progress.limit, refresh=False)


def _size(stream: Any) -> dict[str, Any]:
    """Return how large the terminal is, in tqdm's arguments; one that does not know is taken for one like most."""
    try:
        is_known = all(os.get_terminal_size(stream.fileno()))
    except (AttributeError, OSError, ValueError):  # no terminal: tqdm knows what to do there
        is_known = True
    return {"dynamic_ncols": True} if is_known else dict(_USUAL_SIZE)


# Of this thread's outermost load.
_current: ContextVar[ProgressBar | None] = ContextVar("warpload_progress", default=None)
# The one that may be drawn. One operation of a list is whole to other threads: no lock is left held in a child.
_drawn: list[ProgressBar] = []


@forked.anew_in_child
def _start_without_bars() -> None:
    _current.set(None)
    for bar in _drawn:
        bar.forget()
    _drawn.clear()


def current() -> ProgressBar | None:
    """Return the bar of the load under way on this thread, or None where none is to be shown."""
    return _current.get()


class Shown:
    """Show the load inside the block, if it takes long and somebody wants to see it; inside a load, as a part of that.

    Args:
        source: what is loaded, a path or an id.
        library: whose switch counts; see ``progress_audience``.
        doing: what is done with it.
    """

    def __init__(self, source: str, library: str = "diffusers", doing: str = "Loading") -> None:
        self._source, self._library, self._doing = source, library, doing
        self._bar: ProgressBar | None = None

    def __enter__(self) -> None:
        if _current.get() is not None:
            return
        asked = options.progress()
        if not progress_audience.is_wanted(asked, self._library):
            return
        name = os.path.basename(os.path.normpath(self._source)) or self._source
        self._bar = bar = ProgressBar(name, asked, self._library, self._doing)
        _drawn.append(bar)
        bar.is_first = _drawn[0] is bar
        if not bar.is_first:
            _drawn.remove(bar)
        self._token = _current.set(bar)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is None:
            return
        _current.reset(self._token)
        try:
            self._bar.end(failed=error is not None)
        finally:
            with contextlib.suppress(ValueError):  # it was not the first, or this is a child
                _drawn.remove(self._bar)


def importing() -> contextlib.AbstractContextManager[None]:
    """Say that Python imports libraries while the block runs, for the load under way on this thread."""
    return contextlib.nullcontext() if (bar := _current.get()) is None else bar.importing()


def build(component: str) -> None:
    """Say what Python builds from here on, for the load under way on this thread."""
    if (bar := _current.get()) is not None:
        bar.build(component)
