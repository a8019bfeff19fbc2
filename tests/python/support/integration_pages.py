"""The snippets of the pages: tests run what a user copies, so that there is no second copy of it."""

from __future__ import annotations

from typing import Any

from . import pages
from .pages import ROOT as ROOT


def blocks(page: str, language: str = "python") -> list[str]:
    """Return the blocks of code of a page of docs/integrations, in their order.

    Args:
        page: its name without the suffix.
        language: what the page calls them.
    """
    return [str(each.parsed) for each in pages.blocks(ROOT / "docs" / "integrations" / f"{page}.md", language)]


def block(page: str, containing: str, language: str = "python") -> str:
    """Return the one block of a page that has these words.

    Args:
        page: its name without the suffix.
        containing: the words.
        language: what the page calls the block.
    """
    found = [text for text in blocks(page, language) if containing in text]
    assert len(found) == 1, f"{len(found)} blocks of {page}.md have {containing!r}"
    return found[0]


def run(page: str, containing: str, replaced: dict[str, Any] | None = None, **names: Any) -> dict[str, Any]:
    """Execute a block of a page as its reader would, and return the names that it leaves.

    Args:
        page: its name without the suffix.
        containing: words that only this block has.
        replaced: what the page says -> what a test has in its place (a folder for an id, the CPU for a GPU); a text
            that the block does not have is a failure.
        names: what earlier blocks of the page have left.
    """
    text = block(page, containing)
    for said, own in (replaced or {}).items():
        assert said in text, f"{said!r} is not in the block of {page}.md"
        text = text.replace(said, str(own))
    left = {"__name__": "__main__", **names}
    exec(compile(text, f"{page}.md", "exec"), left)
    return left
