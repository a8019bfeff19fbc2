"""Indexes that are none, or do not go with their shards, are named with the reason."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import warpload
from support.bad_files import fail, write_index


@pytest.mark.parametrize("shard", ["../good.safetensors", "/etc/passwd", "sub/../../good.safetensors", ".."])
def test_an_index_that_leaves_its_folder_is_refused(shard: str, good_file: Path) -> None:
    folder = good_file.parent / "model"
    (folder / "sub").mkdir(parents=True)
    index = write_index(folder, {"a": shard})

    error = fail(warpload.FormatError, lambda: warpload.load_file(index), index)

    assert shard in error.reason
    assert error.tensor == "a"


def test_an_index_that_names_a_tensor_its_shard_lacks_is_refused(good_file: Path) -> None:
    index = write_index(good_file.parent, {"a": good_file.name, "c": good_file.name})

    error = fail(warpload.FormatError, lambda: warpload.load_file(index), index)

    assert error.tensor == "c"
    assert str(good_file) in error.reason


def test_an_index_whose_shard_is_missing_names_the_shard(good_file: Path) -> None:
    index = write_index(good_file.parent, {"a": good_file.name, "c": "gone.safetensors"})

    error = fail(warpload.IoError, lambda: warpload.load_file(index), good_file.parent / "gone.safetensors")

    assert isinstance(error, FileNotFoundError)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', '{"weight_map": {}}']
)
def test_an_index_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)

    fail(warpload.FormatError, lambda: warpload.load_file(index), index)


def test_two_files_with_the_same_tensor_are_refused(good_file: Path) -> None:
    other = Path(shutil.copy(good_file, good_file.parent / "other.safetensors"))

    error = fail(warpload.FormatError, lambda: warpload.load_file([good_file, other]), other)

    assert error.tensor == "a"
    assert str(good_file) in error.reason
