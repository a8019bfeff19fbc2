"""What a load says: to Python's warnings and to the libraries' loggers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.name}: {record.getMessage()}")


def with_warnings(load: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Return what was loaded, and all that Python, diffusers and transformers warned of meanwhile.

    The state of the random numbers afterwards counts as said: a program that seeds before it loads has to go on alike.
    """
    torch.manual_seed(0)
    listener = _Listener()
    loggers = [logging.getLogger(library) for library in ("diffusers", "transformers")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for logger in loggers:
            logger.addHandler(listener)
            logger.setLevel(logging.WARNING)
        try:
            loaded = load()
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.removeHandler(listener)
                logger.setLevel(level)
    said = [f"{warning.category.__name__}: {warning.message}" for warning in caught]
    return loaded, [*said, *listener.said, f"random numbers: {torch.rand(1).item()}"]


def warnings_of(log: pytest.LogCaptureFixture) -> list[str]:
    """Return what our own logger has warned of, by the fixture ``log``."""
    return [record.getMessage() for record in log.records if record.name == "warpload"]
