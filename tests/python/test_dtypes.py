"""`load_file(dtype=)` is what torch makes of the floating-point tensors, and a dtype has many names."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import warpload
from support.bad_files import entry
from support.checkpoints import framed
from support.compare import bytes_of
from support.devices import Device
from support.tensors import FLOATING, FOUR_BITS, OTHERS, YOUNG, random_tensor
from warpload import dtypes, engine

RARE = [*YOUNG, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]
SOURCES = [*FLOATING, *RARE]
TARGETS = [*SOURCES, torch.int8, torch.int64, torch.uint16, torch.bool, torch.complex64, torch.complex128]
SHAPES: list[tuple[int, ...]] = [(0,), (), (3, 5), (259,)]


@pytest.fixture(scope="session")
def every_dtype(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with random bits of all dtypes that torch can save."""
    tensors = {
        f"{str(dtype).removeprefix('torch.')}.{number}": random_tensor(dtype, shape, number)
        for dtype, (number, shape) in itertools.product(dict.fromkeys([*SOURCES, *OTHERS]), enumerate(SHAPES))
    }
    file = tmp_path_factory.mktemp("dtypes") / "every-dtype.safetensors"
    safetensors.torch.save_file(tensors, file)
    return file


def by_torch(file: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    loaded = safetensors.torch.load_file(file)
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in loaded.items()}


def assert_same_bits(loaded: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(loaded) == list(expected)
    for name, tensor in expected.items():
        assert loaded[name].dtype == tensor.dtype, name
        assert loaded[name].shape == tensor.shape, name
        if tensor.is_floating_point() and tensor.itemsize > 1:  # as everywhere, torch's NaN may have other bits
            assert torch.equal(loaded[name].isnan(), tensor.isnan()), name
            loaded[name], tensor = (each.nan_to_num(nan=0.0) for each in (loaded[name], tensor))
        if tensor.numel():
            assert bytes_of(loaded[name]) == bytes_of(tensor), name


@pytest.mark.parametrize("dtype", TARGETS, ids=str)
@pytest.mark.parametrize("disable_mmap", [False, True])
def test_every_dtype_becomes_what_torch_makes_of_it(
    dtype: torch.dtype, disable_mmap: bool, device: Device, every_dtype: Path
) -> None:
    loaded = warpload.load_file(every_dtype, device.name, dtype=dtype, disable_mmap=disable_mmap)

    assert all(tensor.device == torch.device(device.name) for tensor in loaded.values())
    assert_same_bits({name: tensor.cpu() for name, tensor in loaded.items()}, by_torch(every_dtype, dtype))


def test_torch_casts_only_what_the_core_does_not(every_dtype: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    request = engine.request

    def record(*arguments: Any, **wanted: Any) -> Any:
        asked.append(wanted)
        return request(*arguments, **wanted)

    monkeypatch.setattr(engine, "request", record)

    loaded = warpload.load_file(every_dtype, dtype=torch.bfloat16)

    rare = {name for name in loaded if name.split(".")[0] in [str(dtype).removeprefix("torch.") for dtype in RARE]}
    by_core = {name for name in loaded} - rare  # noqa: C416
    assert [set(each["only"]) for each in asked] == [rare, by_core]
    assert [each.get("dtype") for each in asked] == [None, "BF16"]


needs_four_bits = pytest.mark.skipif(not FOUR_BITS, reason="this torch has no float4")


def write_four_bits(file: Path, shape: list[int]) -> Path:
    size = shape[0] * shape[1] // 2
    header = {"four": entry("F4", shape, 0, size), "w": entry("F32", [2], size, size + 8)}
    file.write_bytes(framed(json.dumps(header).encode()) + bytes(size + 8))
    return file


@needs_four_bits
def test_four_bits_without_elements_become_any_dtype(tmp_path: Path) -> None:
    file = write_four_bits(tmp_path / "empty.safetensors", [0, 4])

    assert_same_bits(warpload.load_file(file, dtype=torch.float16), by_torch(file, torch.float16))


@needs_four_bits
@pytest.mark.parametrize("dtype", [torch.float16, *FOUR_BITS, torch.quint8], ids=str)
def test_what_torch_does_not_cast_either_is_refused_by_name(dtype: torch.dtype, tmp_path: Path) -> None:
    file = write_four_bits(tmp_path / "four.safetensors", [2, 4])
    with pytest.raises(RuntimeError):
        by_torch(file, dtype)

    with pytest.raises(warpload.InvalidArgumentError, match=str(dtype)) as caught:
        warpload.load_file(file, dtype=dtype)

    assert caught.value.path == str(file)
    assert caught.value.tensor in ("four", "w")
    assert isinstance(caught.value.__cause__, RuntimeError)


NAMES = {
    torch.float16: ["float16", "torch.float16", "half", "fp16", "F16", "f16", " Float16 "],
    torch.bfloat16: ["bfloat16", "torch.bfloat16", "bf16", "BF16"],
    torch.float32: ["float32", "float", "fp32", "F32"],
    torch.float64: ["double", "F64", float],
    torch.float8_e4m3fn: ["float8_e4m3fn", "F8_E4M3"],
    **{dtype: ["F8_E8M0"] for dtype in YOUNG},
    torch.complex64: ["C64", "cfloat"],
    torch.int8: ["I8", "int8"],
}


@pytest.mark.parametrize(("dtype", "name"), [(dtype, name) for dtype, names in NAMES.items() for name in names])
def test_a_dtype_may_be_named(dtype: torch.dtype, name: Any, mixed: Path) -> None:
    assert dtypes.as_dtype(name) == dtype
    assert_same_bits(warpload.load_file(mixed, "cpu", name), by_torch(mixed, dtype))


@pytest.mark.parametrize("code", dtypes.torch_dtypes())
def test_every_code_and_every_name_of_torch_is_known(code: str) -> None:
    expected = dtypes.torch_dtypes()[code]

    assert dtypes.as_dtype(code) == dtypes.as_dtype(code.lower()) == expected
    assert dtypes.as_dtype(str(expected)) == dtypes.as_dtype(str(expected).removeprefix("torch.")) == expected


def test_none_keeps_each_tensors_own(mixed: Path) -> None:
    assert_same_bits(warpload.load_file(mixed, "cpu", None), safetensors.torch.load_file(mixed))


@pytest.mark.parametrize("wrong", ["nonsense", "cuda", "float17", "", "F6_E2M3", "nn", "Tensor", 16, b"float16", list])
def test_what_is_no_dtype_is_refused_with_what_is(wrong: Any, mixed: Path) -> None:
    for load in (lambda: warpload.load_file(mixed, dtype=wrong), lambda: warpload.to_device(mixed, "cpu", wrong)):
        with pytest.raises(warpload.InvalidArgumentError) as caught:
            load()
        assert repr(wrong) in str(caught.value)
        for meant in ("torch.dtype", "'float16'", "BF16", "F8_E4M3"):
            assert meant in caught.value.cure


@pytest.mark.parametrize("name", ["float16", "torch.float16", "F16"])
def test_a_module_may_be_given_a_name_too(name: str, device: Device) -> None:
    module = torch.nn.Linear(3, 2)
    expected = module.weight.detach().to(torch.float16)

    warpload.to_device(module, device.name, name)

    assert bytes_of(module.weight.detach().cpu()) == bytes_of(expected)
    assert module.bias.dtype == torch.float16


def test_a_module_that_torch_refuses_to_cast_is_left_as_it_was(device: Device) -> None:
    module = torch.nn.Linear(3, 2)
    module.register_buffer("ids", torch.arange(3))
    before = {name: tensor.data_ptr() for name, tensor in module.state_dict().items()}

    with pytest.raises(TypeError):
        warpload.to_device(module, device.name, torch.int8)

    assert {name: tensor.data_ptr() for name, tensor in module.state_dict().items()} == before
