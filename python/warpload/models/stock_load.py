"""Stock loads one model; the core reads its files where it can, and the report says who did what, and why."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import context, prefetch_run
from ..context import LoadContext
from ..report import LoadReport
from ..stock import hub, pickles, repeated_blocks, seam_check
from ..stock.call import Call
from ..stock.refusal import NotNativeError
from . import odd_files
from .native_load import find_folder
from .planned_files import PlannedFiles

logger = logging.getLogger("warpload")


def load_by_stock(call: Call, load: LoadContext, refusal: NotNativeError, oddities: list[str] | None) -> Any:
    """Let stock put a model together, and tell of it.

    Args:
        call: the call of ``from_pretrained``.
        load: the load that the model is a part of.
        refusal: why the core does not put it together.
        oddities: what is odd about its files, as far as the core has looked.
    """
    planned = PlannedFiles(call, load.joint) if refusal.quantised and load.joint is not None else None
    if planned is None:
        _pass_over(call, load, str(refusal))
    unread = "" if refusal.readable else str(refusal)
    with contextlib.ExitStack() as stack:
        part = context.part(load, unread=unread, built=refusal.built, folders=_folders(call), planned=planned)
        own = stack.enter_context(part)
        if planned is not None:
            stack.callback(lambda: _pass_over(call, load, _joined(str(refusal), _refused(call, own))))
        model = _ask_stock(call, refusal)
    reading, report = own.reading, load.report
    if oddities is None:
        oddities = _look(call) if reading.sizes else []
    odd = [*oddities, *reading.oddities]
    if reading.sizes and call.label not in report.components:
        report.components[call.label] = "native"
        report.bytes += sum(reading.sizes)
        tell_of_placing(report, call.label, refusal, odd)
    elif not reading.sizes:
        reason = _joined(str(refusal), _why_not_read(call, own) if refusal.quantised else [])
        report.components[call.label] = f"stock: {reason}"
        level = logging.INFO if refusal.said and not odd else logging.WARNING
        said = _joined(reason, odd)
        logger.log(level, "%s of %s is loaded by stock: %s", call.label, report.source, said)
    return model


def _pass_over(call: Call, load: LoadContext, reason: str) -> None:
    """Drop what was prefetched of the model that this load has not taken."""
    if prefetch_run.alive and load.joint is not None and call.location:
        load.joint.pass_over(_folder(call), reason)


def _folder(call: Call) -> str | os.PathLike[str]:
    """Return where the model lies, as far as that is known."""
    snapshot = call.snapshot
    if snapshot is None and not os.path.isdir(call.source):  # refused before anybody has looked, or to be asked for
        found = {name: call.kwargs.get(name) for name in ("cache_dir", "revision")}
        snapshot = hub.cached_snapshot(call.source, found)
    return call.location if snapshot is None else snapshot.folder / (call.kwargs.get("subfolder") or "")


def _why_not_read(call: Call, own: LoadContext) -> list[str]:
    """Say why the core has read no file for a quantiser, which it would."""
    return _refused(call, own) or [why_nothing_was_read(call.kwargs)]


def _refused(call: Call, own: LoadContext) -> list[str]:
    """Say why the core refused to read files for a quantiser, as far as it did."""
    refused = [who.removeprefix("stock: ") for who in own.reading.readers.values() if who != "native"]
    return refused or (["disable_mmap"] if call.kwargs.get("disable_mmap") else [])


def _folders(call: Call) -> list[str]:
    """Return where the files lie that stock will read, as far as is known: threads of its own read them, too."""
    if call.location and os.path.isdir(call.source):
        return [os.path.abspath(call.location)]
    repository = hub.cached_repository(call.source, call.kwargs)
    return [] if repository is None else [os.path.abspath(repository)]


def _ask_stock(call: Call, refusal: NotNativeError) -> Any:
    """Call stock; where it cannot load what the core refused either, the core's error says why."""
    import torch

    fault = refusal.fault
    try:
        with repeated_blocks.copied_as_ever() if refusal.quantised else contextlib.nullcontext():
            return call.by_stock()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if fault is None:
            raise
        raise fault from error


def _look(call: Call) -> list[str]:
    """Return what is odd about the index of a model that stock has put together by itself."""
    try:
        return odd_files.told_of_index(call.weights_file(find_folder(call)))
    except NotNativeError:
        return []


def source_name(source: Any) -> str:
    """Return what the report calls what stock is to load: a file, several, or tensors that are in memory."""
    if isinstance(source, list | tuple):
        return ", ".join(map(source_name, source))
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "a dictionary of tensors"


def why_nothing_was_read(kwargs: Mapping[str, Any], source: str = "") -> str:
    """Say why stock's code asked the core for no file.

    Args:
        kwargs: the keyword arguments of the call.
        source: the file that stock has read, where that is known.
    """
    if reason := seam_check.why_off("files for stock"):
        return reason
    if kwargs.get("disable_mmap"):
        return "disable_mmap"
    return pickles.why_not_native(Path(source)) if source else "no safetensors"


def tell_of_placing(report: LoadReport, label: str, reason: NotNativeError | str, odd: Sequence[str] = ()) -> None:
    """Say that stock has placed the tensors of a model that the core has read."""
    report.placed_by_stock[label] = str(reason)
    strange = odd or (isinstance(reason, NotNativeError) and reason.unexpected)
    said = _joined(str(reason), odd)
    level = logging.WARNING if strange else logging.INFO
    logger.log(level, "%s of %s is read by the core and placed by stock: %s", label, report.source, said)


def _joined(reason: str, odd: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys([reason, *odd]))
