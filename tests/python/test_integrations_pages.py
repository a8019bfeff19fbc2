"""docs/integrations: every page is listed, tested, and has no snippet that no test runs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from support import integration_pages as pages

FOLDER = pages.ROOT / "docs" / "integrations"
PAGES = sorted(page.stem for page in FOLDER.glob("*.md") if page.stem != "index")
TESTS = Path(__file__).parent


def file_of(page: str) -> Path:
    return TESTS / f"test_integrations_{page.replace('-', '_')}.py"


def words_run(page: str) -> set[str]:
    """Return the words by which the page's test asks for the blocks that it runs."""
    found = set()
    for node in ast.walk(ast.parse(file_of(page).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("run", "block"):
            values = [each.value for each in node.args[:2] if isinstance(each, ast.Constant)]
            if values[:1] == [page]:
                found.add(str(values[1]))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_snippet_of_a_page_is_run_by_its_test(page: str) -> None:
    words = words_run(page)

    assert [text for text in pages.blocks(page) if not any(each in text for each in words)] == []
    for each in words:
        pages.block(page, each)  # of which there is one


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_what_is_the_same_and_what_to_watch_out_for(page: str) -> None:
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")

    assert re.search(r"^## (The same as|What is the same as)", text, re.MULTILINE)
    assert re.search(r"^## What to watch out for", text, re.MULTILINE)
    named = re.findall(r"`(test_\w+\.py)`", text)
    assert [name for name in named if not (TESTS / name).is_file()] == []


def test_the_index_lists_every_page() -> None:
    listed = re.findall(
        r"^\| \[[^\]]+\]\(([\w-]+)\.md\)", (FOLDER / "index.md").read_text(encoding="utf-8"), re.MULTILINE
    )

    assert sorted(listed) == PAGES
