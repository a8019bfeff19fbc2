"""The pages leave out nothing of what is public: names, options, pages themselves."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

import warpload
from support.pages import ROOT

DOCS = ROOT / "docs"
SITE = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


REFERENCE = page("python-api.md")


@pytest.mark.parametrize("name", warpload.__all__)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    assert re.search(
        rf"^### `warpload\.{name}`$|heading: warpload\.{name}\b|^`warpload\.{name}` ", REFERENCE, re.MULTILINE
    )


@pytest.mark.parametrize("option", [each.name for each in dataclasses.fields(warpload.LoadOptions)])
def test_every_option_has_a_row_with_its_variable(option: str) -> None:
    assert re.search(rf"^\| `{option}` \| `WARPLOAD_{option.upper()}`", page("tuning.md"), re.MULTILINE)


def test_every_page_is_in_the_sites_navigation() -> None:
    pages = {str(file.relative_to(DOCS)) for ending in ("md", "ipynb") for file in DOCS.rglob(f"*.{ending}")}

    assert {name for name in pages if f": {name}\n" not in SITE} == set()


def test_the_notebook_lies_in_git_without_outputs() -> None:
    notebook = json.loads(page("notebooks/quick-start.ipynb"))

    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
