"""`load_file` gives what safetensors gives, in tensors that stand on their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

import warpload
from support.checkpoints import save_raw
from support.compare import assert_same_tensor, assert_same_tensors
from support.processes import run_python
from support.tensors import FLOATING, OTHERS, SHAPES, mixed_tensors, random_tensor


@pytest.mark.parametrize("dtype", FLOATING + OTHERS, ids=str)
def test_every_dtype_and_shape_equals_safetensors(dtype: torch.dtype, tmp_path: Path) -> None:
    file = tmp_path / "one-dtype.safetensors"
    tensors = {f"t{number}": random_tensor(dtype, shape, number) for number, shape in enumerate(SHAPES)}
    safetensors.torch.save_file(tensors, file)

    assert_same_tensors(warpload.load_file(file), safetensors.torch.load_file(file))
    assert_same_tensors(warpload.load_file(file, disable_mmap=True), safetensors.torch.load_file(file))


@pytest.mark.parametrize("order", [["z", "a", "m"], ["m", "z", "a"]])
def test_names_come_in_the_order_of_safetensors(order: list[str], tmp_path: Path) -> None:
    file = tmp_path / "order.safetensors"
    save_raw({name: torch.arange(3.0) for name in order}, file)

    assert list(warpload.load_file(file)) == list(safetensors.torch.load_file(file))


def test_a_file_without_tensors_is_an_empty_dictionary(tmp_path: Path) -> None:
    file = tmp_path / "none.safetensors"
    safetensors.torch.save_file({}, file)

    assert warpload.load_file(file) == safetensors.torch.load_file(file) == {}
    assert warpload.load_file(file, dtype=torch.float16) == {}


@pytest.mark.parametrize("as_type", [str, Path])
def test_the_name_may_be_a_string_or_a_path(as_type: type, mixed: Path) -> None:
    assert_same_tensors(warpload.load_file(as_type(mixed)), safetensors.torch.load_file(mixed))


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_the_cpu_may_be_a_string_or_a_device(device: str | torch.device, mixed: Path) -> None:
    assert_same_tensors(warpload.load_file(mixed, device), safetensors.torch.load_file(mixed))


def test_several_files_give_the_tensors_of_all(mixed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"n": torch.arange(5)}, other)
    expected = {**safetensors.torch.load_file(mixed), **safetensors.torch.load_file(other)}

    loaded = warpload.load_file([mixed, other])

    assert_same_tensors(loaded, expected)


def test_an_index_gives_the_tensors_of_all_its_shards(tmp_path: Path) -> None:
    expected = mixed_tensors()
    weight_map = {}
    for number, name in enumerate(expected):
        shard = f"model-{number % 3}.safetensors"
        weight_map[name] = shard
    for shard in set(weight_map.values()):
        part = {name: tensor for name, tensor in expected.items() if weight_map[name] == shard}
        safetensors.torch.save_file(part, tmp_path / shard)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))

    loaded = warpload.load_file(index)

    assert_same_tensors(loaded, expected)


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_each_tensor_is_aligned_for_its_dtype(shift: int, tmp_path: Path) -> None:
    file = tmp_path / "shifted.safetensors"
    tensors = {"a": torch.arange(3, dtype=torch.uint8), "b": torch.arange(5.0), "c": torch.arange(4)}
    save_raw(tensors, file, shift=shift)

    loaded = warpload.load_file(file)

    assert_same_tensors(loaded, safetensors.torch.load_file(file))
    for name, tensor in loaded.items():
        assert tensor.data_ptr() % tensor.itemsize == 0, name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_dtype_is_for_floating_point_tensors_only(dtype: torch.dtype, mixed: Path) -> None:
    expected = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in safetensors.torch.load_file(mixed).items()
    }

    loaded = warpload.load_file(mixed, dtype=dtype)

    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert loaded[name].dtype == tensor.dtype, name
        assert loaded[name].shape == tensor.shape, name
        assert torch.equal(loaded[name].nan_to_num(), tensor.nan_to_num()), name


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_files_widen_to_the_dtype_asked_for(dtype: torch.dtype, tmp_path: Path) -> None:
    file = tmp_path / "float8.safetensors"
    safetensors.torch.save_file({"w": random_tensor(dtype, (16, 16)), "n": torch.arange(3)}, file)

    loaded = warpload.load_file(file, dtype=torch.bfloat16)

    expected = safetensors.torch.load_file(file)
    assert_same_tensor(loaded["w"], expected["w"].to(torch.bfloat16))
    assert_same_tensor(loaded["n"], expected["n"])


def test_it_works_where_diffusers_and_transformers_are_missing(mixed: Path) -> None:
    run_python(
        """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("diffusers", "transformers", "accelerate", "safetensors", "huggingface_hub"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
import torch, warpload
loaded = warpload.load_file(sys.argv[1], dtype=torch.float32)
assert loaded["a.bias"].dtype == torch.float32 and loaded["m.count"].dtype == torch.int64, loaded
with warpload.safe_open(sys.argv[1], "pt") as file:
    assert len(list(file.keys())) == len(loaded)
""",
        mixed,
    )
