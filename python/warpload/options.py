"""How loads are done, where a caller wants to say so; the environment gives the defaults."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from types import TracebackType
from typing import Any

from .errors import InvalidArgumentError

_CHOICES = {
    "arena": ("auto", "always"),
    "device_casts": ("auto", "host", "device"),
    "direct_io": ("auto", "never", "always"),
    "populate": ("auto", "never", "always"),
}
_MIB = 2**20
_PREFETCH_SECONDS = 60.0
# What is none of a loader's.
_NOT_OF_LOADERS = {
    "arena": "auto",
    "imports_ahead": True,
    "lazy_imports": True,
    "trace": False,
    "prefetch_seconds": _PREFETCH_SECONDS,
    "progress": None,
}

_TRUE, _FALSE = {"1", "ON", "YES", "TRUE"}, {"0", "OFF", "NO", "FALSE"}
_PARALLEL_WORKERS = 8  # what diffusers' guide promises where the number is not said


def _from_environment(variable: str, default: str) -> Callable[[], str]:
    return lambda: os.environ.get(variable, "").strip() or default


def _switch(variable: str, unsaid: str = "1") -> Callable[[], bool]:
    """Return what reads a variable that is on or off."""

    def is_on() -> bool:
        text = os.environ.get(variable, "").strip() or unsaid
        if text.upper() not in _TRUE | _FALSE:
            raise InvalidArgumentError(f"{variable} is {text!r}, neither on nor off")
        return text.upper() in _TRUE

    return is_on


_trace_of_environment = _switch("WARPLOAD_TRACE", "0")


def _progress_of_environment() -> bool | None:
    if not os.environ.get("WARPLOAD_PROGRESS", "").strip():
        return None
    return _switch("WARPLOAD_PROGRESS")()


def _pinned_bytes() -> int:
    return _number("WARPLOAD_PINNED_BYTES", os.environ.get("WARPLOAD_PINNED_BYTES", "").strip() or str(128 * _MIB))


def _threads() -> int:
    """Return the number of workers that the environment asks for; 0 leaves it to us."""
    return _threads_of_environment()[1]


def _threads_of_environment() -> tuple[str, int]:
    """Return the variable that says the number of workers, and the number; 0 leaves it to us."""
    if own := os.environ.get("WARPLOAD_THREADS", "").strip():
        return "WARPLOAD_THREADS", _number("WARPLOAD_THREADS", own)
    enabled = os.environ.get("HF_ENABLE_PARALLEL_LOADING", "").upper()
    workers = os.environ.get("HF_PARALLEL_LOADING_WORKERS", "").strip()
    if enabled in _FALSE:
        return "HF_ENABLE_PARALLEL_LOADING", 0
    if workers:
        return "HF_PARALLEL_LOADING_WORKERS", _number("HF_PARALLEL_LOADING_WORKERS", workers)
    return "HF_ENABLE_PARALLEL_LOADING", _PARALLEL_WORKERS if enabled in _TRUE else 0


def _prefetch_seconds() -> float:
    text = os.environ.get("WARPLOAD_PREFETCH_SECONDS", "").strip()
    try:
        value = float(text or _PREFETCH_SECONDS)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise InvalidArgumentError(f"WARPLOAD_PREFETCH_SECONDS is {text!r}, not a positive number of seconds")
    return value


def check_seconds(name: str, value: Any) -> None:
    """Refuse what is no time to wait; infinity is one.

    Args:
        name: what the caller calls it.
        value: what was given.

    Raises:
        InvalidArgumentError: it is no positive number.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise InvalidArgumentError(f"{name} is {value!r}, not a positive number of seconds")


def _number(variable: str, text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise InvalidArgumentError(f"{variable} is {text!r}, not a positive number")
    return int(text)


@dataclass(frozen=True)
class LoadOptions:
    """How the core loads. Used as a context, the options hold for the loads of this thread inside the block.

    Examples:
        >>> with warpload.LoadOptions(pinned_bytes=64 * 2**20):
        ...     pipe = warpload.DiffusionPipeline.from_pretrained(folder, device_map="cuda")

    Attributes:
        arena: ``"auto"`` fills an arena through slots for devices, and maps files or fills memory directly on the CPU;
            ``"always"`` treats the CPU like a device, which is slower and there to test with. (``WARPLOAD_ARENA``)
        pinned_bytes: the most host memory, in bytes, that is page-locked for copies to devices: slots of 4 MiB, one a
            worker and four more, and at least one; kept for the next load until ``release_pinned_memory``.
            (``WARPLOAD_PINNED_BYTES``, 128 MiB)
        device_casts: who casts on the way to a device: ``"host"`` (the workers), ``"device"`` or ``"auto"`` (the device
            where the source is no larger than the result, else the faster one by measurement). The bits are the same.
            (``WARPLOAD_DEVICE_CASTS``)
        direct_io: whether bytes that are not in the page cache are read past it: ``"auto"``, ``"never"`` (they are then
            in the page cache for the next load), ``"always"`` (bytes that are there, too; to measure with).
            (``WARPLOAD_DIRECT_IO``)
        populate: whether the pages of tensors that are views of their files, as those on the CPU are that need no
            cast, are backed in the background once the bytes of their load are there, so that nobody waits for page
            faults when they are first used: ``"auto"`` (in the order in which a pipeline uses its models; what is not
            in the page cache is read ahead as far as half of the memory goes that is available then), ``"never"``,
            ``"always"`` (everything is read ahead). The tensors are the same. (``WARPLOAD_POPULATE``)
        threads: the number of workers; 0 takes one for each processor that this process may use. No more than four for
            each of these are started, or 32 where that is more; a larger number is logged once. (``WARPLOAD_THREADS``,
            or diffusers' own ``HF_ENABLE_PARALLEL_LOADING`` and ``HF_PARALLEL_LOADING_WORKERS``)
        prefetch_seconds: how many seconds after the call of ``prefetch`` what no load has taken is dropped;
            ``math.inf`` is never. (``WARPLOAD_PREFETCH_SECONDS``, 60)
        lazy_imports: whether what only training, ``torch.compile`` and the like need of other libraries is imported
            when it is first used, where a load through ``warpload.NAME`` imports diffusers and transformers.
            (``WARPLOAD_LAZY_IMPORTS``, on)
        imports_ahead: whether the files of what such a load imports, or one that ``prefetch`` foresees, are brought
            into the page cache by threads of the core while Python imports the first of them. Where they are there
            already, as a few of them tell, nothing is read. (``WARPLOAD_IMPORTS_AHEAD``, on)
        progress: whether a load that takes longer than a second shows a bar, in place of the libraries' own: None where
            a person watches (a terminal, a notebook) and the libraries' bars are on, True elsewhere, too, such as in a
            log, False never. (``WARPLOAD_PROGRESS``)
        trace: whether the core records what each of its threads does when, for ``LoadReport.save_trace``; a load takes
            under one percent longer, and its report up to 10 MB. (``WARPLOAD_TRACE``, off)

    Raises:
        InvalidArgumentError: a value, or a variable of the environment, is none of these.
    """

    arena: str = field(default_factory=_from_environment("WARPLOAD_ARENA", "auto"))
    pinned_bytes: int = field(default_factory=_pinned_bytes)
    device_casts: str = field(default_factory=_from_environment("WARPLOAD_DEVICE_CASTS", "auto"))
    direct_io: str = field(default_factory=_from_environment("WARPLOAD_DIRECT_IO", "auto"))
    populate: str = field(default_factory=_from_environment("WARPLOAD_POPULATE", "auto"))
    threads: int = field(default_factory=_threads)
    prefetch_seconds: float = field(default_factory=_prefetch_seconds)
    lazy_imports: bool = field(default_factory=_switch("WARPLOAD_LAZY_IMPORTS"))
    imports_ahead: bool = field(default_factory=_switch("WARPLOAD_IMPORTS_AHEAD"))
    progress: bool | None = field(default_factory=_progress_of_environment)
    trace: bool = field(default_factory=_trace_of_environment)

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise InvalidArgumentError(f"{name} is {getattr(self, name)!r}, not one of {', '.join(choices)}")
        for name in ("imports_ahead", "lazy_imports", "trace"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidArgumentError(f"{name} is {getattr(self, name)!r}, neither True nor False")
        if self.progress is not None and not isinstance(self.progress, bool):
            raise InvalidArgumentError(f"progress is {self.progress!r}, neither None, True nor False")
        for name, least in (("pinned_bytes", 1), ("threads", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidArgumentError(f"{name} is {value!r}, not a number of at least {least}")
        check_seconds("prefetch_seconds", self.prefetch_seconds)

    def __enter__(self) -> LoadOptions:
        _active.set((*_active.get(), self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _active.set(_active.get()[:-1])

    def of_loader(self) -> dict[str, Any]:
        """Return the arguments that the core's loader is made with."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _NOT_OF_LOADERS}

    def without_what_loaders_ignore(self) -> LoadOptions:
        """Return options that are equal where loaders made with them would be alike."""
        changes: dict[str, Any] = _NOT_OF_LOADERS
        return replace(self, **changes)


_active: ContextVar[tuple[LoadOptions, ...]] = ContextVar("warpload_options", default=())


def current() -> LoadOptions:
    """Return the options of the innermost block on this thread, or the environment's.

    Raises:
        InvalidArgumentError: the environment asks for what does not exist.
    """
    active = _active.get()
    return active[-1] if active else LoadOptions()


def progress() -> bool | None:
    """Return the option of that name, of the innermost block or of the environment, which alone is read for it.

    Raises:
        InvalidArgumentError: the environment's is neither on nor off.
    """
    active = _active.get()
    return active[-1].progress if active else _progress_of_environment()


def trace() -> bool:
    """Return the option of that name, in the way of ``progress``.

    Raises:
        InvalidArgumentError: the environment's is neither on nor off.
    """
    active = _active.get()
    return active[-1].trace if active else _trace_of_environment()


def asked_threads(wanted: LoadOptions) -> str:
    """Say where a number of workers comes from, and the number."""
    variable, number = _threads_of_environment()
    return f"{variable}={number}" if number == wanted.threads else f"LoadOptions(threads={wanted.threads})"
