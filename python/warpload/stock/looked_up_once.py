"""What the libraries look up on disk when they are imported, looked up once, and no more of it than counts.

    importlib.metadata.packages_distributions   diffusers and transformers each ask which distribution brings which
                                                module; newer Pythons look for every file of every distribution
    transformers' scan of its models' folders   made twice, of some 3,000 files that are taken apart line by line

The answers are those that they would get; another version of a function that we do not know is left alone.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import at_once, seam_check
from .confined import Confined

SCANNING = "transformers.utils.import_utils"

# Where ``str.splitlines`` begins a line.
_LINE_BREAKS = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")


def _metadata() -> ModuleType:
    return importlib.import_module("importlib.metadata")


def _scanning() -> ModuleType:
    return sys.modules[SCANNING]


_packages = Confined(_metadata, "packages_distributions")
_scan = Confined(_scanning, "create_import_structure_from_path")
_names = Confined(_scanning, "fetch__all__")

# What the code of each function names in the versions that we know.
_WORDS = {
    "create_import_structure_from_path": {"isfile", "dirname", "scandir"},
    "fetch__all__": {"__all__", "splitlines", "startswith"},
}


class LookUps:
    """The look-ups of one import by our facade, on its thread."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._found: dict[tuple[str, ...], dict[str, list[str]]] = {}
        self._scanned: dict[str, Any] = {}
        self._is_scanning = False

    def __enter__(self) -> LookUps:
        self._stack.enter_context(_packages.replaced(self._packages_distributions))
        if SCANNING in sys.modules:
            self.scans()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def scans(self) -> None:
        """Take note that transformers can scan its models from here on."""
        if self._is_scanning:
            return
        self._is_scanning = True
        if _is_known("create_import_structure_from_path"):
            self._stack.enter_context(_scan.replaced(self._scan))
        if _is_known("fetch__all__"):
            self._stack.enter_context(_names.replaced(_exported))

    def _packages_distributions(self, stock: Callable[[], Any]) -> dict[str, list[str]]:
        key = tuple(sys.path)
        if key not in self._found:
            self._found[key] = packages_distributions(stock)
        return {name: list(distributions) for name, distributions in self._found[key].items()}

    def _scan(self, stock: Callable[[Any], Any], path: Any) -> Any:
        folder = os.path.dirname(path) if os.path.isfile(path) else os.fspath(path)
        if folder not in self._scanned:
            self._scanned[folder] = stock(path)
        return self._scanned[folder]


def _is_known(name: str) -> bool:
    function = vars(_scanning()).get(name)
    if callable(function) and seam_check.words(function) >= _WORDS[name]:
        return True
    transformers = f"transformers {seam_check.version('transformers')}"
    at_once.note("scanning models once", f"{SCANNING}.{name} of {transformers} is not as we know it")
    return False


def _exported(stock: Callable[[str], list[str]], content: str) -> list[str]:
    """Give ``fetch__all__`` only the end of a file: the last line that begins with ``__all__``, and what follows."""
    start = content.rfind("__all__")
    while start > 0 and content[start - 1] not in _LINE_BREAKS:
        start = content.rfind("__all__", 0, start)
    return [] if start < 0 else stock(content[start:])


def packages_distributions(stock: Callable[[], Any]) -> dict[str, list[str]]:
    """Return what ``importlib.metadata.packages_distributions`` does.

    Newer Pythons learn the names that a distribution's files begin with from all files that are there, which takes a
    look at each: seconds where there is much. Here they are given one file a name.
    """
    metadata = _metadata()
    inferred = vars(metadata).get("_top_level_inferred")
    looks_for_all = "skip_missing_files" in metadata.Distribution.files.fget.__code__.co_varnames
    if inferred is None or not looks_for_all:
        return dict(stock())
    found = collections.defaultdict(list)
    for each in metadata.distributions():
        declared = (each.read_text("top_level.txt") or "").split()
        for name in declared or inferred(_Thinned(metadata, each)):
            found[name].append(each.metadata["Name"])
    return dict(found)


class _Thinned:
    """A distribution with one file for each name that its files begin with.

    Attributes:
        files: those files; all, where nothing lists them.
    """

    def __init__(self, metadata: ModuleType, distribution: Any) -> None:
        record = distribution.read_text("RECORD") if type(distribution) is metadata.PathDistribution else None
        self.files = distribution.files if not record else _one_a_name(metadata, distribution, record)


def _one_a_name(metadata: ModuleType, distribution: Any, record: str) -> list[Any]:
    files: dict[str, Any] = {}
    for row in csv.reader(record.splitlines()):
        first, _, rest = row[0].partition("/")
        name = first if rest and first not in ("", ".") else row[0]
        if name not in files and os.path.exists(distribution.locate_file(row[0])):
            files[name] = metadata.PackagePath(row[0])
    return list(files.values())
