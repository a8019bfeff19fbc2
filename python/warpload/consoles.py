"""Where commands write: results to the standard output, whatever else is said to the standard error.

Where nobody watches (a pipe, a file) there is no colour, nothing moves, and no line is cut or folded.
"""

from __future__ import annotations

import sys

from rich.console import Console

# No line of ours is as long; a terminal has its own width.
_UNFOLDED = 100_000


def for_results() -> Console:
    """Return the console for what a command was asked for."""
    return _unfolded_unless_watched(stderr=False)


def for_messages() -> Console:
    """Return the console for errors and for what goes on meanwhile: who pipes results gets none of it."""
    return _unfolded_unless_watched(stderr=True)


def _unfolded_unless_watched(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
        reconfigure(errors="backslashreplace")  # a name may have what the terminal's encoding lacks
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_UNFOLDED)
