"""The table of seams names all that is not public and that we read of the libraries: the package's source is asked."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import warpload
from support.other_versions import LIBRARIES
from warpload.stock.seams import FEATURES, SEAMS

PACKAGE = Path(warpload.__file__).parent
SOURCES = [
    file
    for file in sorted(PACKAGE.rglob("*.py"))
    if file.relative_to(PACKAGE).parts[0] not in ("demo", "measuring", "bench")
]
IN_TABLE = {word for seam in SEAMS for word in (*seam.name.split("."), *seam.mentions)}
# What begins with an underscore and is no library's symbol that the table could name.
EXCEPTIONS = {
    "_find_and_load_unlocked": "importlib's import of one module; where it is called otherwise, packages come at once",
    "_ModuleLockManager": "importlib's lock of a module, which finds out when two threads wait for each other",
    "_bootstrap": "importlib's own part that has it",
    "_getframe": "of sys, and documented",
    "_top_level_inferred": "importlib.metadata's names of a distribution that lists none; read where it is there",
    "_version": "torch's count of a tensor's changes in place, which its guide to autograd names",
    "_initializing": "importlib's mark of a module whose import is under way",
    "_class_name": "a key of diffusers' configurations, which are files",
    "_from_auto": "an argument of transformers' from_pretrained that changes nothing",
    "_pretrained_model_name_or_path": "only names the report of a modular pipeline, which else has its class's name",
}
# Modules of the libraries that are imported by name, beside the libraries themselves: all documented.
PUBLIC_MODULES = {"safetensors.torch", "torch.nn", "torch.utils.dlpack", "diffusers.configuration_utils"}


def is_private(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"_[A-Za-z]\w*", name) is not None


def own_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a file defines: functions, classes, variables, attributes of its own objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


def read_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names beginning with one underscore that a file reads of objects, or has as strings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.attr
        elif isinstance(node, ast.Constant) and is_private(node.value):
            yield str(node.value)
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in LIBRARIES:
            yield from (each.name for each in node.names if is_private(each.name))


TREES = {str(file.relative_to(PACKAGE)): ast.parse(file.read_text()) for file in SOURCES}
OWN = {name for tree in TREES.values() for name in own_names(tree)}


@pytest.mark.parametrize("file", [file for file in TREES if file != "stock/seams.py"])
def test_what_is_read_of_a_library_and_is_not_public_is_in_the_table(file: str) -> None:
    assert set(read_names(TREES[file])) - OWN - IN_TABLE - EXCEPTIONS.keys() == set()


@pytest.mark.parametrize("file", TREES)
def test_only_public_modules_of_a_library_are_imported_by_name(file: str) -> None:
    found = [node for node in ast.walk(TREES[file]) if isinstance(node, ast.ImportFrom) and not node.level]
    of_libraries = {str(node.module) for node in found if str(node.module).split(".")[0] in LIBRARIES}

    assert of_libraries - PUBLIC_MODULES - set(LIBRARIES) == set()


def test_the_table_has_no_feature_without_a_seam_and_no_seam_twice() -> None:
    assert {feature for seam in SEAMS for feature in seam.features} == FEATURES.keys()
    assert len({str(seam) for seam in SEAMS}) == len(SEAMS)


def test_every_exception_is_needed() -> None:
    read = {name for tree in TREES.values() for name in read_names(tree)}

    assert EXCEPTIONS.keys() <= read
    assert not EXCEPTIONS.keys() & IN_TABLE
