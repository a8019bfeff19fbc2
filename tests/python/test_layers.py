"""Who may import whom in the package, and what its modules may be called: dependencies point down, names are unique."""

from __future__ import annotations

import ast
import graphlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import warpload
from warpload.stock.diffusers_names import diffusers_names

PACKAGE = Path(warpload.__file__).parent

# From the bottom up, as docs/design.md draws it: a module, or a folder and all in it that no other layer names. Each
# module imports only what is in its own layer or below.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"_core", "errors", "options", "dtypes", "strings", "forked", "report", "room", "mounts", "collector"})
    | {"read_ahead", "report_text", "units", "progress_audience", "progress_bar", "progress_tally"}
    | {"timeline", "timeline_rows", "timeline_svg", "timeline_figure", "trace_file", "trace_page"},
    frozenset({"stock.seams", "stock.seam_check", "stock.refusal", "stock.at_once"}),
    frozenset({"context"}),
    frozenset({"devices", "engine"}),
    frozenset({"stock"}),
    frozenset({"prefetch_part", "prefetch_run", "prefetched"}),
    frozenset({"open_file", "whole_file"}),
    frozenset({"models"}),
    frozenset({"pipelines"}),
    frozenset({"moving"}),
    frozenset({"facade"}),
    frozenset({"demo", "measuring", "bench", "converting", "doctoring", "inspecting", "verifying", "refusing"})
    | {"consoles", "tracing"},
    frozenset({"cli"}),
    frozenset({"__main__"}),
)


def modules() -> dict[str, Path]:
    """Return every module of the package with its file, by its name below the package; the package itself is left out.

    What is measured and shown (``demo``, ``measuring``, ``bench``) stands above all the rest: only ``cli`` imports it.
    """
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name and parts[0] not in ("demo", "measuring", "bench"):
            found[name] = file
    return found


MODULES = modules()


def layer(name: str) -> int:
    """Return the number of a module's layer: that which names it, or else the one that names its folder."""
    for known in (name, name.partition(".")[0]):
        for number, names in enumerate(LAYERS):
            if known in names:
                return number
    raise AssertionError(f"{name} is in no layer")


def imports(name: str) -> set[str]:
    """Return what a module imports of the package, inside functions too; what only type checkers see is left out."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    package = name.split(".") if MODULES[name].name == "__init__.py" else name.split(".")[:-1]
    return {found for node in executed(tree) for found in imported(node, package)} - {""}


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one, without what is below ``if TYPE_CHECKING:``."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield child
            yield from executed(child)


def imported(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Yield the modules of the package that one statement imports."""
    if isinstance(node, ast.Import):
        absolute = [alias.name.split(".") for alias in node.names]
        yield from (".".join(parts[1:]) for parts in absolute if parts[0] == "warpload")
    elif isinstance(node, ast.ImportFrom):
        parts = node.module.split(".") if node.module else []
        if node.level == 0 and parts[:1] != ["warpload"]:
            return
        base = package[: len(package) - node.level + 1] + parts if node.level else parts[1:]
        for alias in node.names:
            full = ".".join([*base, alias.name])
            yield full if full in MODULES or full == "_core" else ".".join(base)


def test_the_imports_are_found() -> None:
    """The rules below would hold of a program that finds nothing."""
    assert {"_core", "devices", "dtypes", "forked"} <= imports("engine")
    assert "pipelines.pipeline_load" in imports("facade")  # inside a function
    assert "demo.session" in imports("cli")  # by its whole name
    assert "models.joint_load" not in imports("context")  # for type checkers only


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_what_is_below_it(name: str) -> None:
    upward = {other for other in imports(name) if layer(other) > layer(name)}

    assert upward == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    order = graphlib.TopologicalSorter({name: imports(name) for name in MODULES}).static_order()

    assert set(order) >= MODULES.keys()  # a circle raises CycleError, which names it


def test_no_two_modules_have_one_name() -> None:
    names = Counter(name.rpartition(".")[2] for name in MODULES)

    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_hides_a_public_name() -> None:
    """``warpload.load_file`` is the function: once imported, a submodule of that name would be what the name means."""
    top = {name for name in MODULES if "." not in name}

    assert top & {*warpload.__all__, *diffusers_names()} == set()


def test_the_design_names_every_module_and_only_files_that_exist() -> None:
    root = Path(__file__).parents[2]
    design = (root / "docs" / "design.md").read_text(encoding="utf-8")
    picture = design.split("```")[1].partition("csrc/bindings")[0]
    words = set(re.findall(r"\w+", picture))

    assert [name for name in MODULES if name.rpartition(".")[2] not in words and name != "__main__"] == []
    named = re.findall(r"`((?:python|csrc|tests|benchmarks)/[\w/]+\.\w+)`", design)
    assert named
    assert [file for file in named if not (root / file).is_file()] == []
