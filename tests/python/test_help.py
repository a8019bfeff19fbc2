"""What ``help()`` says of the public names: every parameter by its name, what comes back, and no clipped sentences."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import warpload
from warpload.open_file import TensorSlice, TorchFile

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: value for name in warpload.__all__ if inspect.isfunction(value := getattr(warpload, name))
}
METHODS: dict[str, Callable[..., Any]] = {
    f"{cls.__name__}.{name}": value
    for cls in (TorchFile, TensorSlice)
    for name, value in vars(cls).items()
    if inspect.isfunction(value) and not name.startswith("_")
} | {"DiffusionPipeline.from_pretrained": warpload.DiffusionPipeline.from_pretrained}


@pytest.mark.parametrize("name", sorted(FUNCTIONS | METHODS))
def test_help_names_every_parameter_and_says_what_comes_back(name: str) -> None:
    function = (FUNCTIONS | METHODS)[name]
    told = inspect.getdoc(function) or ""
    signature = inspect.signature(function)

    assert [each for each in signature.parameters if each != "self" and f"    {each}: " not in told] == []
    if signature.return_annotation not in ("None", None, "Iterator[None]"):
        assert re.search(r"^(Returns:|Return )", told, re.MULTILINE)


@pytest.mark.parametrize("cls", [warpload.LoadOptions, warpload.LoadReport])
def test_help_names_every_attribute(cls: type) -> None:
    told = inspect.getdoc(cls) or ""
    names = [field.name for field in dataclasses.fields(cls) if not field.name.startswith("_")]

    assert [name for name in names if f"    {name}: " not in told] == []


@pytest.mark.parametrize("name", warpload.__all__)
def test_help_begins_with_a_whole_sentence(name: str) -> None:
    if name == "__version__":
        return
    first = (inspect.getdoc(getattr(warpload, name)) or "").split("\n\n")[0]

    assert re.match(r"[A-Z`].*\.$", first, re.DOTALL)
    assert not re.match(r"(Likewise|Ditto|See|Same|The same|As above)\b", first)
