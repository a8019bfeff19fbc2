"""Files of the repository that lie outside of docs/ and belong to the site: read where they are, never copied.

Pages link as they do for whoever reads them in the repository; here those links are made to lead through the site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parents[2]

# Pages: in the repository -> in the site.
PAGES = {"CHANGELOG.md": "changelog.md", "benchmarks/README.md": "benchmarks.md"}
# The repository's front page, in whose place the site has one of its own.
_FRONT = {"README.md": "index.md"}
# Searching for a word leads to what explains it first.
_FOUND_LAST = {"changelog.md"}
# What `make docs` has made of the public headers.
_REFERENCE = ROOT / "build" / "docs" / "html"

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
_FENCED = re.compile(r"(^```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages, whatever file of the repository they and the others link to, and the reference of C++ and C."""
    for here, site in PAGES.items():
        files.append(File.generated(config, site, abs_src_path=str(ROOT / here)))
    for target in sorted(_linked_files(files)):
        inclusion = InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, target, abs_src_path=str(ROOT / target), inclusion=inclusion))
    for path in sorted(each for each in _REFERENCE.rglob("*") if each.is_file()):
        name = f"reference/{path.relative_to(_REFERENCE).as_posix()}"
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Make links that lead through the repository lead through the site."""
    name = page.file.src_uri
    if name in _FOUND_LAST:
        page.meta["search"] = {"boost": 0.1}
    parts = _FENCED.split(markdown)
    for index in range(0, len(parts), 2):  # the others are code
        parts[index] = _LINK.sub(lambda link: _of_site(link[1], name), parts[index])
    return "".join(parts)


def _in_repository(page: str) -> str:
    """Return where one of the site's pages is in the repository."""
    named = {site: here for here, site in PAGES.items()}
    in_docs = f"docs/{page}"
    return named.get(page) or (in_docs if (ROOT / in_docs).is_file() else page)


def _target(link: str, page: str) -> str:
    """Return what a page links to, as a path in the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(_in_repository(page)), link))


def _of_site(link: str, page: str) -> str:
    """Return a link of a page as the site needs it."""
    target = _target(link, page)
    if not (ROOT / target).is_file():
        return link  # of the site only, or wrong: strict building tells
    site = (PAGES | _FRONT).get(target, target.removeprefix("docs/"))
    return posixpath.relpath(site, posixpath.dirname(page) or ".")


def _linked_files(files: Any) -> Iterator[str]:
    """Yield the files outside of docs/ that pages link to and that are no pages of the site."""
    found = set()
    for page in [file.src_uri for file in files if file.src_uri.endswith(".md")]:
        path = ROOT / _in_repository(page)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        found |= {_target(link, page) for link in _LINK.findall("".join(_FENCED.split(text)[::2]))}
    outside = {each for each in found if not each.startswith(("docs/", "../"))} - PAGES.keys() - _FRONT.keys()
    yield from (each for each in outside if (ROOT / each).is_file())
