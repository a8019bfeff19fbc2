"""A few hundred mutated files, as `make fuzz` compares many more: we and the safetensors package agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.processes import run_python
from tests.fuzz.files import compare
from tests.fuzz.files.cases import make_case
from warpload import engine

SEED = 1


@pytest.mark.parametrize("first", [0, 200, 400])
def test_mutated_files_are_loaded_or_refused_as_by_the_safetensors_package(first: int, tmp_path: Path) -> None:
    found = {}
    for number in range(first, first + 200):
        if problems := compare.findings(make_case(SEED, number).write(tmp_path)):
            found[number] = problems

    assert found == {}


def test_a_case_is_always_the_same() -> None:
    assert make_case(SEED, 17) == make_case(SEED, 17) != make_case(SEED, 18)


def test_an_error_that_is_none_of_ours_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("not this one")

    monkeypatch.setattr(engine, "open_checkpoint", fail)

    assert any("none of our errors" in each for each in compare.findings(make_case(SEED, 0).write(tmp_path)))


def test_a_process_that_dies_is_a_finding_with_the_way_to_see_it_again() -> None:
    result = run_python(
        """
import os, sys
sys.path.insert(0, os.getcwd())
from tests.fuzz.files import __main__ as program
program._run = lambda command, errors: (-6, "")
totals = program.Totals()
assert program._run_batch(seed=3, first=5, count=10, totals=totals) == 6 and totals.findings == 1
"""
    )

    assert "--seed 3 --only 5" in result.stdout
