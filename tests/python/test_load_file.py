"""`load_file` gives what safetensors gives, on every device, in tensors that stand on their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

import warpload
from support.checkpoints import framed, save_raw
from support.compare import assert_same_tensor, assert_same_tensors, bytes_of
from support.devices import Device
from support.patterns import NARROW, WIDE
from support.processes import run_python
from support.tensors import FOUR_BITS, OTHERS, SHAPES, YOUNG, mixed_tensors, random_tensor

DTYPES = [*NARROW, *WIDE, *OTHERS, *YOUNG]


def assert_arrived(device: Device, loaded: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Fail unless these tensors are on the device, in segments, each with a storage of its own of exactly its size."""
    assert_same_tensors(loaded, {name: tensor.to(device.name) for name, tensor in expected.items()})
    assert device.holds_all(loaded.values())
    for name, tensor in loaded.items():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, name
        assert tensor.storage_offset() == 0, name
        assert tensor.is_contiguous(), name
        assert tensor.data_ptr() % tensor.itemsize == 0, name


def cast(tensors: dict[str, torch.Tensor], dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """Return the tensors as torch casts them: those of floating point."""
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("disable_mmap", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_shape_equals_safetensors(
    dtype: torch.dtype, disable_mmap: bool, device: Device, tmp_path: Path
) -> None:
    file = tmp_path / "one-dtype.safetensors"
    tensors = {f"t{number}": random_tensor(dtype, shape, number) for number, shape in enumerate(SHAPES)}
    safetensors.torch.save_file(tensors, file)

    loaded = warpload.load_file(file, device.name, disable_mmap=disable_mmap)

    assert_arrived(device, loaded, safetensors.torch.load_file(file))


@pytest.mark.skipif(not FOUR_BITS, reason="this torch has no float4")
def test_two_elements_a_byte_arrive(device: Device, tmp_path: Path) -> None:
    file = tmp_path / "four-bits.safetensors"
    header = {"t": {"dtype": "F4", "shape": [3, 8], "data_offsets": [0, 12]}}
    file.write_bytes(framed(json.dumps(header).encode()) + bytes(range(12)))

    tensor = warpload.load_file(file, device.name)["t"]

    assert [tensor.dtype] == FOUR_BITS
    assert tensor.shape == (3, 4)
    assert tensor.device == torch.device(device.name)
    assert bytes_of(tensor) == bytes(range(12))


@pytest.mark.parametrize("disable_mmap", [False, True])
@pytest.mark.parametrize("order", [["z", "a", "m"], ["m", "z", "a"]])
def test_names_come_in_the_order_of_safetensors(
    order: list[str], disable_mmap: bool, device: Device, tmp_path: Path
) -> None:
    file = tmp_path / "order.safetensors"
    save_raw({name: torch.arange(3.0) for name in order}, file)

    loaded = warpload.load_file(file, device.name, disable_mmap=disable_mmap)

    assert list(loaded) == list(safetensors.torch.load_file(file)) == order


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_a_file_without_tensors_is_an_empty_dictionary(
    dtype: torch.dtype | None, device: Device, tmp_path: Path
) -> None:
    file = tmp_path / "none.safetensors"
    safetensors.torch.save_file({}, file)

    assert warpload.load_file(file, device.name, dtype=dtype) == safetensors.torch.load_file(file) == {}


def test_tensors_without_elements_alone_arrive(device: Device, tmp_path: Path) -> None:
    file = tmp_path / "empty.safetensors"
    tensors = {"a": torch.empty(0), "b": torch.empty(3, 0, 2, dtype=torch.int64)}
    safetensors.torch.save_file(tensors, file)

    assert_arrived(device, warpload.load_file(file, device.name, dtype=torch.float32), tensors)


@pytest.mark.parametrize("as_type", [str, Path])
def test_the_name_may_be_a_string_or_a_path(as_type: type, mixed: Path) -> None:
    assert_same_tensors(warpload.load_file(as_type(mixed)), safetensors.torch.load_file(mixed))


@pytest.mark.parametrize("as_object", [False, True])
@pytest.mark.parametrize("with_index", [False, True])
def test_options_may_be_an_argument_and_the_device_an_object(
    with_index: bool, as_object: bool, device: Device, mixed: Path
) -> None:
    name = device.name if with_index else device.kind
    with device.on_host():
        loaded = warpload.load_file(mixed, torch.device(name) if as_object else name, options=device.options())

    assert_arrived(device, loaded, safetensors.torch.load_file(mixed))


def test_several_files_give_the_tensors_of_all(device: Device, mixed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"n": torch.arange(5)}, other)
    expected = {**safetensors.torch.load_file(mixed), **safetensors.torch.load_file(other)}

    assert_arrived(device, warpload.load_file([mixed, other], device.name), expected)


def test_an_index_gives_the_tensors_of_all_its_shards(device: Device, tmp_path: Path) -> None:
    expected = mixed_tensors()
    weight_map = {name: f"model-{number % 3}.safetensors" for number, name in enumerate(expected)}
    for shard in set(weight_map.values()):
        part = {name: tensor for name, tensor in expected.items() if weight_map[name] == shard}
        safetensors.torch.save_file(part, tmp_path / shard)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))

    assert_arrived(device, warpload.load_file(index, device.name), expected)


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.float32])
@pytest.mark.parametrize("shift", [0, 1, 3, 7])
def test_misaligned_tensors_arrive_aligned(
    shift: int, dtype: torch.dtype | None, device: Device, tmp_path: Path
) -> None:
    file = tmp_path / "shifted.safetensors"
    tensors = {"a": torch.arange(3, dtype=torch.uint8), "b": torch.randn(5), "c": torch.arange(4), "d": torch.randn(3)}
    save_raw(tensors, file, shift=shift)

    assert_arrived(device, warpload.load_file(file, device.name, dtype=dtype), cast(tensors, dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_dtype_is_for_floating_point_tensors_only(dtype: torch.dtype, device: Device, mixed: Path) -> None:
    expected = cast(safetensors.torch.load_file(mixed), dtype)

    loaded = warpload.load_file(mixed, device.name, dtype=dtype)

    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert loaded[name].dtype == tensor.dtype, name
        assert loaded[name].shape == tensor.shape, name
        assert torch.equal(loaded[name].cpu().nan_to_num(), tensor.nan_to_num()), name


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8_files_widen_to_the_dtype_asked_for(dtype: torch.dtype, device: Device, tmp_path: Path) -> None:
    file = tmp_path / "float8.safetensors"
    safetensors.torch.save_file({"w": random_tensor(dtype, (16, 16)), "n": torch.arange(3)}, file)

    loaded = warpload.load_file(file, device.name, dtype=torch.bfloat16)

    expected = safetensors.torch.load_file(file)
    assert_same_tensor(loaded["w"].cpu(), expected["w"].to(torch.bfloat16))
    assert_same_tensor(loaded["n"].cpu(), expected["n"])


@pytest.mark.parametrize("direct_io", ["never", "always"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_tensors_larger_than_a_read_and_a_slot_arrive(
    dtype: torch.dtype | None, direct_io: str, device: Device, tmp_path: Path
) -> None:
    """33 MB of one tensor, read by several workers, where there are slots through the fewest.

    Ranges meet in the midst of tensors, small ones before it shift the cuts, and slots are used again.
    """
    file = tmp_path / "large.safetensors"
    tensors = {"a": torch.arange(13, dtype=torch.uint8), "b": torch.randn(8_300_001), "c": torch.randn(77)}
    save_raw(tensors, file, shift=3)

    with device.options(pinned_bytes=1, direct_io=direct_io):
        loaded = warpload.load_file(file, device.name, dtype=dtype)

    assert_arrived(device, loaded, cast(tensors, dtype))


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
