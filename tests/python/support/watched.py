"""A terminal that remembers what was written to it, and loads that last until their bar has been seen."""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import diffusers
import pytest
import transformers

from warpload import progress_bar
from warpload.models.joint_load import JointLoad

PATIENCE = 60.0  # seconds; only a fault reaches it


class Terminal(io.StringIO):
    """A standard error that somebody watches."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = threading.Condition()

    def isatty(self) -> bool:
        super().isatty()  # raises what a closed one raises
        return True

    def write(self, text: str) -> int:
        with self._seen:
            written = super().write(text)
            self._seen.notify_all()
        return written

    def waits_for(self, text: str) -> bool:
        """Wait until a text has been written; tell whether it has."""
        with self._seen:
            return self._seen.wait_for(lambda: text in self.getvalue(), PATIENCE)

    def clear(self) -> None:
        """Forget what has been written."""
        self.seek(0)
        self.truncate()

    def lines(self) -> list[str]:
        """Return what has been written over and over, each time by itself."""
        return [each.rstrip() for each in re.split(r"[\r\n]", self.getvalue()) if each.strip()]


def libraries_bars_on() -> Iterator[None]:
    """Let the libraries' bars be on, as they are by default; the tests' own setting is that they are off."""
    diffusers.utils.logging.enable_progress_bar()
    transformers.utils.logging.enable_progress_bar()  # and huggingface_hub's
    yield
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def watched(monkeypatch: pytest.MonkeyPatch, *, delay: float = 0.0) -> Terminal:
    """Return the terminal that is the standard error from now on; bars are shown after so many seconds."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress_bar, "_DELAY", delay)
    monkeypatch.setattr(progress_bar, "_INTERVAL", 0.001)
    return terminal


def seen_before_its_end(monkeypatch: pytest.MonkeyPatch, terminal: Terminal, text: str = "Loading") -> None:
    """Let loads of models and pipelines end only when a text has been written."""
    before_end(monkeypatch, lambda: terminal.waits_for(text))


def before_end(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Have something done each time that a load waits for its bytes."""
    wait = JointLoad.wait

    def act_and_wait(self: JointLoad) -> None:
        act()
        wait(self)

    monkeypatch.setattr(JointLoad, "wait", act_and_wait)


class Meter:
    """What stands for a load of the core's: as far as a test says.

    Attributes:
        arrived: bytes of each segment that are there.
        seconds: what the workers' time went to.
    """

    def __init__(self, *whole: int) -> None:
        self.whole = list(whole)
        self.arrived = [0] * len(whole)
        self.seconds = dict.fromkeys(
            ("waiting_for_slots", "waiting_for_arena", "sending", "from_disk", "from_memory", "casting"), 0.0
        )

    def progress(self, segment: int) -> tuple[int, int]:
        return self.arrived[segment], self.whole[segment]

    def times(self) -> dict[str, float]:
        return dict(self.seconds)
