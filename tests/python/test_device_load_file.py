"""`load_file` to a device gives what safetensors gives, cast on either side of the copy to the same bits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

import warpload
from support.checkpoints import framed, save_raw
from support.compare import assert_same_tensor, assert_same_tensors, bytes_of
from support.devices import Device
from support.patterns import NARROW, SAME_NAN_BITS, TARGETS, WIDE, assert_same_values, critical_values, every_pattern
from support.tensors import FOUR_BITS, OTHERS, SHAPES, YOUNG, mixed_tensors, random_tensor

SIDES = ["host", "device", "auto"]
DTYPES = [*NARROW, *WIDE, *OTHERS, *YOUNG]
RANDOM = 300_000


def assert_arrived(device: Device, loaded: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Fail unless these tensors are on the device, in segments, each with a storage of its own of exactly its size."""
    assert_same_tensors(loaded, {name: tensor.to(device.name) for name, tensor in expected.items()})
    assert device.holds_all(loaded.values())
    for name, tensor in loaded.items():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, name
        assert tensor.storage_offset() == 0, name
        assert tensor.is_contiguous(), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_shape_arrives(dtype: torch.dtype, device: Device, tmp_path: Path) -> None:
    file = tmp_path / "one-dtype.safetensors"
    tensors = {f"t{number}": random_tensor(dtype, shape, number) for number, shape in enumerate(SHAPES)}
    safetensors.torch.save_file(tensors, file)

    assert_arrived(device, warpload.load_file(file, device.name), safetensors.torch.load_file(file))


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


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.float32])
@pytest.mark.parametrize("shift", [0, 1, 3, 7])
def test_misaligned_tensors_arrive_aligned(
    shift: int, dtype: torch.dtype | None, device: Device, tmp_path: Path
) -> None:
    file = tmp_path / "shifted.safetensors"
    tensors = {"a": torch.arange(3, dtype=torch.uint8), "b": torch.randn(5), "c": torch.arange(4), "d": torch.randn(3)}
    save_raw(tensors, file, shift=shift)

    loaded = warpload.load_file(file, device.name, dtype=dtype)

    expected = {n: t.to(dtype) if dtype and t.is_floating_point() else t for n, t in tensors.items()}
    assert_arrived(device, loaded, expected)
    for name, tensor in loaded.items():
        assert tensor.data_ptr() % tensor.itemsize == 0, name


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_a_file_without_tensors_is_an_empty_dictionary(
    dtype: torch.dtype | None, device: Device, tmp_path: Path
) -> None:
    file = tmp_path / "none.safetensors"
    safetensors.torch.save_file({}, file)

    assert warpload.load_file(file, device.name, dtype=dtype) == {}


def test_tensors_without_elements_alone_arrive(device: Device, tmp_path: Path) -> None:
    file = tmp_path / "empty.safetensors"
    tensors = {"a": torch.empty(0), "b": torch.empty(3, 0, 2, dtype=torch.int64)}
    safetensors.torch.save_file(tensors, file)

    assert_arrived(device, warpload.load_file(file, device.name, dtype=torch.float32), tensors)


def test_several_files_give_the_tensors_of_all(device: Device, mixed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"n": torch.arange(5)}, other)

    loaded = warpload.load_file([mixed, other], device.name)

    assert_arrived(device, loaded, {**safetensors.torch.load_file(mixed), "n": torch.arange(5)})


def test_an_index_gives_the_tensors_of_all_its_shards(device: Device, tmp_path: Path) -> None:
    expected = mixed_tensors()
    weight_map = {name: f"model-{number % 3}.safetensors" for number, name in enumerate(expected)}
    for shard in set(weight_map.values()):
        part = {name: tensor for name, tensor in expected.items() if weight_map[name] == shard}
        safetensors.torch.save_file(part, tmp_path / shard)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}))

    assert_arrived(device, warpload.load_file(index, device.name), expected)


@pytest.mark.parametrize("disable_mmap", [False, True])
def test_names_come_in_the_order_of_the_bytes_however_they_are_read(
    disable_mmap: bool, device: Device, tmp_path: Path
) -> None:
    file = tmp_path / "order.safetensors"
    save_raw({name: torch.arange(3.0) for name in ("m", "z", "a")}, file)

    assert list(warpload.load_file(file, device.name, disable_mmap=disable_mmap)) == ["m", "z", "a"]


@pytest.mark.parametrize("direct_io", ["never", "always"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_tensors_larger_than_a_slot_arrive(
    dtype: torch.dtype | None, direct_io: str, device: Device, tmp_path: Path
) -> None:
    """33 MB of one tensor through the fewest slots: ranges meet in the midst of tensors, and slots are used again."""
    file = tmp_path / "large.safetensors"
    tensors = {"a": torch.arange(13, dtype=torch.uint8), "b": torch.randn(8_300_001), "c": torch.randn(77)}
    save_raw(tensors, file, shift=3)

    with device.options(pinned_bytes=1, direct_io=direct_io):
        loaded = warpload.load_file(file, device.name, dtype=dtype)

    expected = {name: tensor.to(dtype) if dtype and name != "a" else tensor for name, tensor in tensors.items()}
    assert_arrived(device, loaded, expected)


@pytest.mark.parametrize("as_object", [False, True])
@pytest.mark.parametrize("with_index", [False, True])
def test_options_may_be_an_argument_and_the_device_an_object(
    with_index: bool, as_object: bool, device: Device, mixed: Path
) -> None:
    name = device.name if with_index else device.kind
    with device.on_host():
        loaded = warpload.load_file(mixed, torch.device(name) if as_object else name, options=device.options())

    assert_arrived(device, loaded, safetensors.torch.load_file(mixed))


# -- casts ------------------------------------------------------------------------------------------------------------


def cast(tensor: torch.Tensor, target: torch.dtype, side: str, device: Device, file: Path) -> torch.Tensor:
    """Write the tensor, load it in another dtype to the device, and return what is there."""
    safetensors.torch.save_file({"t": tensor}, file)
    with device.options(device_casts=side):
        loaded = warpload.load_file(file, device.name, dtype=target)["t"]
    assert device.holds(loaded)
    return loaded.cpu()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("source", NARROW, ids=str)
def test_every_bit_pattern_of_a_narrow_type_casts_as_in_torch(
    source: torch.dtype, target: torch.dtype, side: str, device: Device, tmp_path: Path
) -> None:
    patterns = every_pattern(source)

    ours = cast(patterns, target, side, device, tmp_path / "patterns.safetensors")

    assert_same_values(ours, patterns.to(target), nan_bits=SAME_NAN_BITS)


def random_bits(dtype: torch.dtype) -> torch.Tensor:
    """Return numbers of random bits, and as many of moderate size, of which more survive a cast."""
    generator = np.random.default_rng(4)
    raw = random_tensor(dtype, (RANDOM,), 5)
    moderate = generator.standard_normal(RANDOM) * np.exp2(generator.integers(-160, 140, RANDOM))
    return torch.cat([raw, torch.from_numpy(moderate).to(dtype)])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("source", WIDE, ids=str)
def test_random_wide_numbers_cast_as_in_torch(
    source: torch.dtype, target: torch.dtype, side: str, device: Device, tmp_path: Path
) -> None:
    values = random_bits(source)

    ours = cast(values, target, side, device, tmp_path / "random.safetensors")

    assert_same_values(ours, values.to(target), nan_bits=source == target)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("target", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("source", WIDE, ids=str)
def test_ties_subnormals_and_overflows_round_as_in_torch(
    source: torch.dtype, target: torch.dtype, side: str, device: Device, tmp_path: Path
) -> None:
    values = critical_values(source, target)

    ours = cast(values, target, side, device, tmp_path / "critical.safetensors")

    assert_same_values(ours, values.to(target), nan_bits=False)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_length_of_a_tail_casts_as_in_torch(
    target: torch.dtype, side: str, device: Device, tmp_path: Path
) -> None:
    """Lengths around those of vectors and blocks, at odd offsets, from every dtype in one file."""
    values = torch.randn(70, generator=torch.Generator().manual_seed(0))
    tensors = {"first": torch.arange(5, dtype=torch.uint8)}
    for source in (*NARROW, *WIDE):
        tensors |= {f"{source}.{length:03}": values[:length].to(source) for length in range(70)}
    file = tmp_path / "tails.safetensors"
    save_raw(tensors, file, shift=1)

    with device.options(device_casts=side):
        loaded = warpload.load_file(file, device.name, dtype=target)

    for name, tensor in tensors.items():
        expected = tensor.to(target) if tensor.is_floating_point() else tensor
        assert_same_tensor(loaded[name].cpu(), expected, name)
