"""docs/compatibility.md leaves out no argument, and names tests that are there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import diffusers
import pytest

from warpload.stock.seams import SEAMS

PAGE = (Path(__file__).parents[2] / "docs" / "compatibility.md").read_text(encoding="utf-8")

# Arguments that stock still accepts and makes nothing of, that only concern how code is fetched, or that only older
# versions have.
SILENT = {"custom_revision", "use_onnx", "dduf_entries", "dduf_file"}


@pytest.mark.parametrize("cls", [diffusers.DiffusionPipeline, diffusers.ModelMixin])
def test_every_argument_of_from_pretrained_has_a_line(cls: type) -> None:
    source = inspect.getsource(inspect.unwrap(cls.from_pretrained.__func__))
    arguments = set(re.findall(r'kwargs\.pop\("(\w+)"', source)) - SILENT

    assert len(arguments) > 15
    missing = {name for name in arguments if f"`{name}" not in PAGE}
    assert missing == set()


def test_every_method_that_loads_an_adapter_has_a_line() -> None:
    methods = {seam.attribute for seam in SEAMS if seam.feature == "adapters"} - {"lora_state_dict"}

    assert len(methods) > 5
    assert {name for name in methods if f"`{name}`" not in PAGE and f".{name}`" not in PAGE} == set()


def test_the_tests_that_it_names_are_there() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", PAGE))

    assert len(named) > 10
    assert {name for name in named if not (Path(__file__).parent / name).is_file()} == set()
