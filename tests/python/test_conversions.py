"""transformers' renames of keys are made for the kinds of models that are loaded, and are what the library makes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from transformers import conversion_mapping, core_model_loading

import warpload
from support.pipelines import Saved
from warpload.stock import conversions, repeated_renames

ORDINARY = conversion_mapping._build_checkpoint_conversion_mapping


@pytest.fixture(autouse=True)
def a_library_that_has_built_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion_mapping, "_checkpoint_conversion_mapping_cache", None)


def ours(kind: str) -> Any:
    return conversions.get_checkpoint_conversion_mapping(stock_is_not_asked, kind)


def stock_is_not_asked(kind: Any) -> Any:
    raise AssertionError(f"the library is asked for {kind}")


def looks(renames: Any) -> Any:
    """Return what can be compared of renames: all of their attributes."""
    return None if renames is None else [(type(each), dict(looks_of(each))) for each in renames]


def looks_of(rename: Any) -> Iterator[tuple[str, Any]]:
    for name, value in repeated_renames._settings(rename).items():
        is_operations = name == "operations"
        yield name, [(type(each), vars(each)) for each in value] if is_operations else (type(value), value)


def test_the_renames_of_each_kind_are_what_the_library_makes() -> None:
    stock = ORDINARY()
    for kind in (*stock, "a kind that nobody knows"):
        assert looks(ours(kind)) == looks(copy.deepcopy(stock.get(kind)))


def test_nobody_shares_a_rename() -> None:
    first, second = ours("legacy"), ours("legacy")
    first[0].source_patterns.append("x")
    first[0].collected_tensors["x"].append("y")

    assert looks(second) == looks(ours("legacy")) != looks(first)


def test_a_load_builds_the_table_of_no_other_kind(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved("stable-diffusion")
    monkeypatch.setattr(conversion_mapping, "_checkpoint_conversion_mapping_cache", None)  # saving needs it too
    made: list[Any] = []
    genuine = core_model_loading.WeightConverter.__init__

    def counted(self: Any, *arguments: Any, **keywords: Any) -> None:
        made.append(self)
        genuine(self, *arguments, **keywords)

    monkeypatch.setattr(core_model_loading.WeightConverter, "__init__", counted)

    warpload.DiffusionPipeline.from_pretrained(folder)

    assert made == []
    assert conversion_mapping._checkpoint_conversion_mapping_cache is None


def test_once_the_library_has_its_table_it_is_asked() -> None:
    renames = [core_model_loading.WeightRenaming("a", "b")]
    conversion_mapping.register_checkpoint_conversion_mapping("mine", renames)
    try:
        found = conversions.get_checkpoint_conversion_mapping(lambda kind: f"stock's {kind}", "mine")
    finally:
        conversion_mapping.USER_REGISTERED_MAPPINGS.discard("mine")

    assert found == "stock's mine"


def test_a_rename_that_the_table_is_made_with_the_help_of_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> dict[str, Any]:
        first = WeightRenaming("a.b", "c")  # noqa: F821 - a name of the library's module
        first.scope_prefix = "scope"
        return {"mine": [first, WeightRenaming(first.source_patterns[0], "d")]}  # noqa: F821

    expected = looks(in_the_librarys_module(build, monkeypatch)()["mine"])

    assert looks(ours("mine")) == expected


def test_where_two_renames_are_made_with_one_list_the_library_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> dict[str, Any]:
        patterns = ["a.b"]
        return {"mine": [WeightRenaming(patterns, ["c"]), WeightRenaming(patterns, ["d"])]}  # noqa: F821

    in_the_librarys_module(build, monkeypatch)

    assert conversions.get_checkpoint_conversion_mapping(lambda kind: "stock's", "mine") == "stock's"


def test_a_table_that_another_function_builds_is_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion_mapping, "_build_checkpoint_conversion_mapping", lambda: {})

    assert conversions.get_checkpoint_conversion_mapping(lambda kind: "stock's", "mine") == "stock's"


def in_the_librarys_module(build: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the library build its table with a function of ours, as if that were its own."""
    theirs = type(build)(build.__code__, vars(conversion_mapping), build.__name__)
    monkeypatch.setattr(conversion_mapping, "_build_checkpoint_conversion_mapping", theirs)
    return theirs
