"""Bytes on their way before a load has asked for them: what ``warpload.prefetch`` began, until a load takes it.

    prefetch()  --> a thread of its own: files are opened | offered | the core reads ......... | dropped at its time
                                                              |
    a load      --------------------------------------------- take(files, what it wants): a segment, once; or why not

A prefetch has a part for each model, or for the files of one ``load_file``. A load takes part by part, by the files: it
need not ask for the same source by the same name. What does not fit (another dtype, another device, files that have
changed) is dropped, and the load reads by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import devices, forked
from .options import LoadOptions
from .prefetch_part import Part, Wanted, key_of
from .prefetch_run import Prefetch, Taken, alive, lock
from .report import LoadReport

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("warpload")

_threads: list[threading.Thread] = []


def begin(prefetch: Prefetch, find: Callable[[], list[Part]], options: LoadOptions) -> Prefetch:
    """Start a prefetch, or return the one under way that has been asked for the same.

    Args:
        prefetch: the new one.
        find: finds and opens what loads will ask for; called on a thread of its own.
        options: with which the core loads.
    """
    thread = threading.Thread(target=prefetch.run, args=(find, options), name="warpload-prefetch", daemon=True)
    with lock:
        for each in alive:
            if each.renew(prefetch):
                return each
        alive.append(prefetch)
        _threads[:] = [each for each in _threads if each.is_alive()]
    try:
        thread.start()
        _threads.append(thread)
    except RuntimeError as error:  # the system gives no thread
        prefetch.fail(error)
    return prefetch


def wanted(opened_as: str, code: str | None, device: torch.device | None, *, zero_copy: bool) -> Wanted:
    """Return what a load wants, on this thread's current stream; see ``Wanted``.

    Args:
        opened_as: ``"model"`` or ``"file"``.
        code: the dtype of floating-point tensors, or None.
        device: from ``devices.arena_device``.
        zero_copy: whether tensors may be views.
    """
    stream = devices.current_stream(device) if device is not None and alive else 0
    return Wanted(opened_as, code, devices.place_of(device), zero_copy, stream)


def take(asked: Sequence[Path], other: Wanted, report: LoadReport, label: str) -> Taken | None:
    """Return what was prefetched of files, once, or None where the load has to read them; the report says which.

    Where nothing fits, what there was of these files is dropped.

    Args:
        asked: an index, or files.
        other: what the load wants of them; see ``wanted``.
        report: of the load.
        label: what the report calls them.
    """
    if not alive:
        return None
    found = _take(asked, other)
    if isinstance(found, Taken):
        report.prefetched[label] = found.seconds
        return found
    if found:
        report.passed_over[label] = found
    return None


def _take(asked: Sequence[Path], other: Wanted) -> Taken | str:
    key, reason = key_of(asked), ""
    unfit: list[tuple[Prefetch, Part]] = []
    for prefetch in alive[:]:
        found = prefetch.find(asked, key)
        if not isinstance(found, Part):
            reason = reason or found or ""
            continue
        unfit.append((prefetch, found))
        taken = prefetch.take(found, asked, other)
        if isinstance(taken, Taken):
            return taken
        reason = reason or taken
    for prefetch, part in unfit:
        prefetch.drop_parts([part])
    return reason


def pass_over(folder: str | os.PathLike[str]) -> list[str]:
    """Drop the models that were prefetched of a folder, which is loaded in another way; return the labels."""
    labels = []
    for prefetch in alive[:]:
        parts = prefetch.parts_in(os.fspath(folder))
        labels += [each.label for each in parts]
        prefetch.drop_parts(parts)
    return labels


@contextlib.contextmanager
def telling(report: LoadReport) -> Iterator[None]:
    """Log what the block has not taken of what was prefetched, and why; the report has it."""
    before = len(report.passed_over)
    yield
    by_reason: dict[str, list[str]] = {}
    for label, reason in list(report.passed_over.items())[before:]:
        by_reason.setdefault(reason, []).append(label)
    for reason, labels in by_reason.items():
        names = ", ".join(labels)
        logger.warning("%s: %s is not taken from the prefetch, but read now: %s", report.source, names, reason)


@forked.anew_in_child
def _start_without_prefetches() -> None:
    for each in alive:
        each.lose()
    alive.clear()
    _threads.clear()


@atexit.register
def _drop_all() -> None:
    """No thread of ours is to be ended in the midst of what it does."""
    for each in alive[:]:
        each.drop("the interpreter ends", logging.DEBUG)
    for thread in _threads[:]:
        thread.join()
