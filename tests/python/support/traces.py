"""What a load leaves behind in its process: generators that were drawn from, log records, warnings, modes."""

from __future__ import annotations

import contextlib
import logging
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import diffusers
import numpy
import torch
from transformers.utils import logging as transformers_logging


@dataclass
class Traces:
    """What one call left behind."""

    result: Any = None
    error: str = ""
    generators: list[Any] = field(default_factory=list)
    records: list[tuple[str, int, str]] = field(default_factory=list)
    warnings: list[tuple[str, str, int, str]] = field(default_factory=list)
    leaves_default_dtype: bool = True


class _Recorder(logging.Handler):
    def __init__(self, records: list[tuple[str, int, str]]) -> None:
        super().__init__(logging.WARNING)
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.name, record.levelno, record.getMessage()))


def traces_of(call: Callable[[], Any], action: Any = "default") -> Traces:
    """Call with seeded generators, as a process does that has said nothing so far.

    Args:
        call: the load; what it raises is kept as text.
        action: the filter for warnings.
    """
    found = Traces()
    default_dtype = torch.get_default_dtype()
    random.seed(5)
    numpy.random.seed(5)
    torch.manual_seed(5)
    with _said_anew(found, action):
        try:
            found.result = call()
        except Exception as error:
            found.error = f"{type(error).__name__}: {error}"
    # Stock's diffusers leaves another one behind where a class cannot be built.
    found.leaves_default_dtype = torch.get_default_dtype() == default_dtype
    torch.set_default_dtype(default_dtype)
    # What is drawn next, rather than the states, so that a failure shows numbers.
    found.generators = [torch.randn(2).tolist(), random.random(), float(numpy.random.rand())]
    return found


@contextlib.contextmanager
def _said_anew(found: Traces, action: Any) -> Iterator[None]:
    transformers_logging.warning_once.cache_clear()
    transformers_logging.info_once.cache_clear()
    warnings.onceregistry.clear()
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    levels = [(diffusers.utils.logging, 40), (transformers_logging, 40)]
    recorder = _Recorder(found.records)
    for library, _ in levels:
        library.set_verbosity_warning()
    for logger in loggers:
        logger.addHandler(recorder)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            yield
        found.warnings += [(str(w.message), w.category.__name__, w.lineno, w.filename) for w in caught]
    finally:
        for logger in loggers:
            logger.removeHandler(recorder)
        for library, level in levels:
            library.set_verbosity(level)


def assert_same_traces(ours: Traces, stock: Traces) -> None:
    """Fail unless both left the same behind; the results are compared elsewhere."""
    assert ours.error == stock.error
    assert ours.generators == stock.generators
    assert ours.records == stock.records
    assert ours.warnings == stock.warnings
    assert ours.leaves_default_dtype


def by_both(load: Callable[[], Any], accelerated: Callable[[], Any], action: Any = "default") -> tuple[Traces, Traces]:
    """Return what a load leaves behind when the core does it and when stock does.

    Args:
        load: calls the libraries' own function.
        accelerated: the context in which the core does it.
        action: the filter for warnings.
    """

    def ours() -> Any:
        with accelerated():
            return load()

    stock = traces_of(load, action)
    mine = traces_of(ours, action)
    return mine, stock
