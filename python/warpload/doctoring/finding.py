"""One thing that was found out, and what its user can do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

# "good" needs nothing; "note" is worth knowing; "bad" costs time, or breaks loads.
Level = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: of what was looked at, in a few words.
        value: what was found.
        level: what that means for loads.
        advice: what to do about it, in a sentence; empty where there is nothing to do.
    """

    name: str
    value: str
    level: Level = "good"
    advice: str = ""


Section = tuple[str, list[Finding]]


def section(title: str, findings: Iterable[Finding | None]) -> Section:
    """Return findings under a title, without those of what this machine has not."""
    return title, [each for each in findings if each is not None]


def as_dict(sections: Iterable[Section]) -> dict[str, list[dict[str, Any]]]:
    """Return plain data for JSON: the findings by their section."""
    return {title: [asdict(each) for each in findings] for title, findings in sections}
