"""What is imported or looked up at once although it could wait, as some version is not one that we know: said once.

Nothing of a load's result hangs on it, so this is no warning: a line of the log at INFO, and one in every report.
"""

from __future__ import annotations

import logging

logger = logging.getLogger("warpload")

_noted: dict[str, str] = {}


def note(what: str, why: str) -> None:
    """Take note of something that is not put off; only the first reason counts.

    Args:
        what: as a report names it.
        why: whose version is not as we know it, and in what.
    """
    reason = f"{why}; nothing but the start is slower"
    if _noted.setdefault(what, reason) is reason:  # one operation: to other threads it is whole
        logger.info("%s is turned off: %s", what, reason)


def turned_off() -> dict[str, str]:
    """Return what is not put off, each with the reason."""
    return _noted.copy()
