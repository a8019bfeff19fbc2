"""Files of the repository that lie outside of docs/ and belong to the site: read where they are, never copied.

Pages link as they do for whoever reads them in the repository; here those links are made to lead to the site's pages.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]

# In the repository -> in the site.
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "benchmarks/README.md": "benchmarks.md"}
# README.md is the repository's own front page, and the site has another one.
_NOT_SHOWN = {"README.md"}
# Searching for a word leads to what explains it first.
_FOUND_LAST = {"changelog.md"}
# What `make docs` has made of the public headers.
_REFERENCE = ROOT / "build" / "docs" / "html"

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
_FENCED = re.compile(r"(^```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, the results that they link to, and the reference of C++ and C."""
    added = {site: ROOT / here for here, site in PAGES.items() if here not in _NOT_SHOWN}
    results = ROOT / "benchmarks" / "results"
    added |= {each.relative_to(ROOT).as_posix(): each for each in results.rglob("*") if each.is_file()}
    added |= {
        f"reference/{each.relative_to(_REFERENCE).as_posix()}": each
        for each in sorted(_REFERENCE.rglob("*"))
        if each.is_file()
    }
    for site, path in added.items():
        files.append(File.generated(config, site, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Make links that lead through the repository lead through the site."""
    here = next((own for own, site in PAGES.items() if site == page.file.src_uri and own not in _NOT_SHOWN), None)
    here = here or f"docs/{page.file.src_uri}"
    if page.file.src_uri in _FOUND_LAST:
        page.meta["search"] = {"boost": 0.1}
    parts = _FENCED.split(markdown)
    for index in range(0, len(parts), 2):  # the others are code
        parts[index] = _LINK.sub(lambda link: _of_site(link[1], here, page.file.src_uri), parts[index])
    return "".join(parts)


def _of_site(link: str, here: str, page: str) -> str:
    """Return a link of a file in the repository as one of the site's page."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
    if not (ROOT / target).exists():
        return link  # of the site only, or wrong: strict building tells
    site = PAGES.get(target, target.removeprefix("docs/"))
    return posixpath.relpath(site, posixpath.dirname(page) or ".")
