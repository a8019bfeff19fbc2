"""A few hundred mutated GGUF files, as `make fuzz` compares many more: we and the gguf package agree."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

import warpload
from tests.fuzz.files import gguf_compare
from tests.fuzz.files.gguf_cases import make_gguf

SEED = 1


@pytest.mark.parametrize("first", [0, 300])
def test_mutated_files_are_loaded_or_refused_as_by_the_gguf_package(first: int, tmp_path: Path) -> None:
    found = {}
    for number in range(first, first + 300):
        file = tmp_path / "model.gguf"
        file.write_bytes(make_gguf(Random(f"{SEED}/{number}")))
        if problems := gguf_compare.findings(file):
            found[number] = problems

    assert found == {}


def test_the_files_are_neither_all_good_nor_all_bad(tmp_path: Path) -> None:
    taken = 0
    for number in range(100):
        file = tmp_path / "model.gguf"
        file.write_bytes(make_gguf(Random(f"{SEED}/{number}")))
        try:
            warpload.load_file(file)
            taken += 1
        except warpload.FormatError:
            continue

    assert 10 < taken < 90
