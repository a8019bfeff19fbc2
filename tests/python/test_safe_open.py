"""`safe_open` answers as safetensors' own does."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

import warpload
from support.checkpoints import save_raw
from support.compare import assert_same_tensor, assert_same_tensors
from support.processes import mapped_files, open_descriptors

TENSORS = {
    "weight": torch.arange(60.0).reshape(3, 4, 5),
    "bias": torch.arange(7, dtype=torch.float16),
    "count": torch.tensor(12),
    "flags": torch.tensor([True, False, True]),
    "empty": torch.empty(0, 3),
    "narrow": torch.arange(6.0).to(torch.float8_e4m3fn),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(TENSORS, path, metadata={"format": "pt", "Größe": "7 µm"})
    return path


def test_keys_are_those_of_safetensors(file: Path) -> None:
    with warpload.safe_open(file, "pt") as ours, safetensors.safe_open(file, "pt") as stock:
        assert list(ours.keys()) == list(stock.keys())


def test_keys_in_the_order_of_their_bytes_are_those_of_safetensors(tmp_path: Path) -> None:
    file = tmp_path / "unsorted.safetensors"
    save_raw({"z": torch.arange(3.0), "a": torch.arange(2), "m": torch.arange(5.0)}, file)

    with warpload.safe_open(file, "pt") as ours, safetensors.safe_open(file, "pt") as stock:
        assert list(ours.offset_keys()) == list(stock.offset_keys()) == ["z", "a", "m"]
        assert list(ours.keys()) == list(stock.keys())
        assert list(ours.get_tensors()) == list(stock.get_tensors())


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}, {"a": "", "": "b"}])
def test_metadata_are_those_of_safetensors(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    file = tmp_path / "metadata.safetensors"
    safetensors.torch.save_file({"t": torch.zeros(1)}, file, metadata=metadata)

    with warpload.safe_open(file, "pt") as ours, safetensors.safe_open(file, "pt") as stock:
        assert ours.metadata() == stock.metadata()


@pytest.mark.parametrize("framework", ["pt", "torch", "pytorch"])
def test_tensors_are_those_of_safetensors(framework: str, file: Path) -> None:
    with warpload.safe_open(file, framework) as ours, safetensors.safe_open(file, framework) as stock:
        for name in TENSORS:
            assert_same_tensor(ours.get_tensor(name), stock.get_tensor(name), name)
        assert_same_tensors(ours.get_tensors(), stock.get_tensors())


def test_device_and_framework_may_be_keywords(file: Path) -> None:
    with warpload.safe_open(filename=str(file), framework="pt", device="cpu") as ours:
        assert_same_tensor(ours.get_tensor("bias"), TENSORS["bias"])


def test_slices_know_shape_and_dtype(file: Path) -> None:
    with warpload.safe_open(file, "pt") as ours, safetensors.safe_open(file, "pt") as stock:
        for name in TENSORS:
            assert ours.get_slice(name).get_shape() == stock.get_slice(name).get_shape(), name
            assert ours.get_slice(name).get_dtype() == stock.get_slice(name).get_dtype(), name


INDEXES: dict[str, Callable[[Any], Any]] = {
    "all": lambda part: part[:],
    "rows": lambda part: part[1:3],
    "row": lambda part: part[1],
    "last-row": lambda part: part[-1],
    "columns": lambda part: part[:, 2:],
    "block": lambda part: part[0:2, 1:3, 2:5],
    "ellipsis": lambda part: part[..., 1:2],
    "nothing": lambda part: part[2:2],
    "mixed": lambda part: part[1, :, 3],
}


@pytest.mark.parametrize("index", INDEXES)
def test_slices_are_those_of_safetensors(index: str, file: Path) -> None:
    with warpload.safe_open(file, "pt") as ours, safetensors.safe_open(file, "pt") as stock:
        mine, theirs = (INDEXES[index](opened.get_slice("weight")) for opened in (ours, stock))

    assert mine.dtype == theirs.dtype
    assert mine.shape == theirs.shape
    assert torch.equal(mine, theirs)
    assert mine.untyped_storage().nbytes() == mine.nbytes


def test_an_unknown_name_is_refused_by_name(file: Path) -> None:
    with warpload.safe_open(file, "pt") as opened:
        for ask in (opened.get_tensor, opened.get_slice):
            with pytest.raises(warpload.WarploadError, match="no-such-tensor"):
                ask("no-such-tensor")


def test_tensors_outlive_the_file(file: Path) -> None:
    with warpload.safe_open(file, "pt") as opened:
        tensor = opened.get_tensor("weight")
        part = opened.get_slice("weight")[1:2]
    file.unlink()

    assert_same_tensor(tensor, TENSORS["weight"])
    assert_same_tensor(part, TENSORS["weight"][1:2])


def test_a_closed_file_answers_nothing(file: Path) -> None:
    with warpload.safe_open(file, "pt") as opened:
        opened.keys()

    for ask in (opened.keys, opened.offset_keys, opened.metadata, lambda: opened.get_tensor("weight")):
        with pytest.raises(warpload.InvalidArgumentError, match="closed"):
            ask()


def test_closing_gives_the_file_back(file: Path) -> None:
    with warpload.safe_open(file, "pt") as opened:
        opened.get_tensor("weight")
        assert str(file) in mapped_files()

    assert str(file) not in mapped_files()
    assert str(file) not in open_descriptors().values()


def test_it_works_without_a_with_statement(file: Path) -> None:
    opened = warpload.safe_open(file, "pt")

    assert_same_tensor(opened.get_tensor("bias"), TENSORS["bias"])


def test_other_frameworks_are_opened_by_safetensors(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="warpload"), warpload.safe_open(file, "np") as opened:
        assert isinstance(opened, safetensors.safe_open)
        np.testing.assert_array_equal(opened.get_tensor("weight"), TENSORS["weight"].numpy())

    assert "'np'" in caplog.text


def test_bad_files_are_refused_when_they_are_opened(tmp_path: Path) -> None:
    file = tmp_path / "bad.safetensors"
    file.write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")

    with pytest.raises(warpload.FormatError, match=str(file)):
        warpload.safe_open(file, "pt")
    with pytest.raises(FileNotFoundError):
        warpload.safe_open(tmp_path / "missing.safetensors", "pt")
