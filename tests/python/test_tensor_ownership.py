"""Every tensor that `load_file` gives stands on its own: its storage, its writes, its lifetime, its memory."""

from __future__ import annotations

import copy
import gc
import io
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch

import warpload
from support.compare import assert_same_tensors, bytes_of
from support.devices import Device
from support.processes import mapped_files, resident_bytes


@pytest.mark.parametrize("disable_mmap", [False, True])
@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_each_tensor_has_a_storage_of_exactly_its_size(
    disable_mmap: bool, dtype: torch.dtype | None, device: Device, mixed: Path
) -> None:
    for name, tensor in warpload.load_file(mixed, device.name, dtype, disable_mmap=disable_mmap).items():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, name
        assert tensor.storage_offset() == 0, name
        assert tensor.is_contiguous(), name


@pytest.mark.parametrize("disable_mmap", [False, True])
@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_writing_to_one_tensor_changes_no_other_nor_the_file(
    disable_mmap: bool, dtype: torch.dtype | None, device: Device, mixed: Path
) -> None:
    content = mixed.read_bytes()
    loaded = warpload.load_file(mixed, device.name, dtype, disable_mmap=disable_mmap)
    again = warpload.load_file(mixed, device.name, dtype, disable_mmap=disable_mmap)
    for changed in loaded:
        before = {name: bytes_of(tensor) for name, tensor in loaded.items() if name != changed}
        loaded[changed].zero_()
        assert {name: bytes_of(tensor) for name, tensor in loaded.items() if name != changed} == before

    assert mixed.read_bytes() == content
    for name, tensor in safetensors.torch.load_file(mixed).items():
        expected = tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
        assert bytes_of(again[name]) == bytes_of(expected), name


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_copies_and_files_of_a_small_tensor_are_small(
    dtype: torch.dtype | None, device: Device, tmp_path: Path
) -> None:
    file = tmp_path / "big-and-small.safetensors"
    safetensors.torch.save_file({"big": torch.zeros(1_000_000, dtype=torch.float16), "small": torch.arange(4.0)}, file)
    small = warpload.load_file(file, device.name, dtype=dtype)["small"]

    assert copy.deepcopy(small).untyped_storage().nbytes() == small.nbytes
    saved = io.BytesIO()
    torch.save(small, saved)
    assert len(saved.getvalue()) < 10_000
    saved.seek(0)
    assert torch.equal(torch.load(saved), small)
    pickled = pickle.dumps(small)
    assert len(pickled) < 10_000
    assert torch.equal(pickle.loads(pickled), small)
    safetensors.torch.save_file({"small": small}, tmp_path / "small.safetensors")
    assert (tmp_path / "small.safetensors").stat().st_size < 1_000


def test_all_tensors_together_can_be_saved_and_loaded_again(device: Device, mixed: Path, tmp_path: Path) -> None:
    loaded = warpload.load_file(mixed, device.name)

    safetensors.torch.save_file(loaded, tmp_path / "again.safetensors")

    assert (tmp_path / "again.safetensors").read_bytes() == mixed.read_bytes()
    assert_same_tensors(copy.deepcopy(loaded), loaded)
    assert_same_tensors(pickle.loads(pickle.dumps(loaded)), loaded)


@pytest.mark.parametrize("dtype", [None, torch.float32])
@pytest.mark.parametrize("disable_mmap", [False, True])
def test_a_tensor_outlives_the_others_and_the_file(
    dtype: torch.dtype | None, disable_mmap: bool, device: Device, mixed: Path
) -> None:
    expected = bytes_of(safetensors.torch.load_file(mixed)["z.weight"])
    loaded = warpload.load_file(mixed, device.name, dtype, disable_mmap=disable_mmap)
    kept = loaded.pop("z.weight")
    del loaded
    mixed.unlink()
    gc.collect()

    assert bytes_of(kept) == expected


def test_a_mapped_file_is_let_go_with_the_last_tensor(mixed: Path) -> None:
    loaded = warpload.load_file(mixed)
    assert str(mixed) in mapped_files()
    kept = loaded["z.weight"]
    del loaded
    assert str(mixed) in mapped_files()
    del kept

    assert str(mixed) not in mapped_files()


def test_without_mapping_no_file_is_held(mixed: Path) -> None:
    loaded = warpload.load_file(mixed, disable_mmap=True)

    assert str(mixed) not in mapped_files()
    assert_same_tensors(loaded, safetensors.torch.load_file(mixed))


def test_memory_goes_back_tensor_by_tensor(tmp_path: Path) -> None:
    """A cast of 150 MB to 300 MB, dropped in two steps."""
    mebibyte = 1 << 20
    file = tmp_path / "large.safetensors"
    half = torch.ones(75 * mebibyte // 2, dtype=torch.float16)
    safetensors.torch.save_file({"first": half, "second": half.clone()}, file)
    del half
    gc.collect()
    before = resident_bytes()

    loaded = warpload.load_file(file, dtype=torch.float32)
    full = resident_bytes()
    del loaded["first"]
    one_left = resident_bytes()
    total = loaded["second"].sum().item()
    del loaded
    none_left = resident_bytes()

    assert full - before > 280 * mebibyte
    assert full - one_left > 130 * mebibyte
    assert none_left - before < 40 * mebibyte
    assert total == 75 * mebibyte // 2
