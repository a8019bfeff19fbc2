"""How a command ends that cannot do what it is asked for: one sentence, and the exit status."""

from __future__ import annotations

from rich.console import Console


def refuse(console: Console, sentence: str, status: int) -> int:
    """Say what is wrong, however long the line, and return the status."""
    console.print(f"error: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    return status
