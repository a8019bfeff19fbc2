"""A tensor that torch cannot represent fails by itself: what lies beside it in the file is read."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors
import safetensors.torch
import torch
import transformers

import warpload
from support.bad_files import entry
from support.checkpoints import framed, weight_file
from support.compare import bytes_of
from support.pipelines import Saved
from warpload import _core, dtypes

CODES = [*dtypes._TORCH_NAMES, "F6_E2M3", "F6_E3M2"]
SHAPES = [[], [0], [1], [2], [3], [4], [8], [0, 3], [3, 0], [0, 1], [2, 3], [4, 3], [4, 1], [4, 2], [8, 3], [2, 0, 3]]
GOOD = torch.tensor([1.5, -2.0])

BAD = {"six-bits": ("F6_E2M3", [4]), "odd-four-bits": ("F4", [2, 3]), "empty-odd-four-bits": ("F4", [0, 3])}
bad_tensors = pytest.mark.parametrize("bad", BAD)


def nbytes(code: str, shape: list[int]) -> float:
    return math.prod(shape) * _core.dtype_bits(code) / 8


CASES = [(code, shape) for code, shape in itertools.product(CODES, SHAPES) if nbytes(code, shape).is_integer()]


def write(file: Path, code: str, shape: list[int]) -> Path:
    """Write a file of two good tensors around one of that dtype and shape."""
    size = int(nbytes(code, shape))
    header = {
        "before": entry("F32", [2], 0, 8),
        "odd": entry(code, shape, 8, 8 + size),
        "w": entry("F32", [2], 8 + size, 16 + size),
    }
    data = GOOD.numpy().tobytes()
    file.write_bytes(framed(json.dumps(header).encode()) + data + bytes(i % 2 for i in range(size)) + data)
    return file


def outcome(call: Callable[[], torch.Tensor]) -> Any:
    """Return what a tensor is, or the error."""
    try:
        tensor = call()
    except Exception as error:  # compared with stock's
        return error
    return tensor.dtype, tuple(tensor.shape), bytes_of(tensor) if tensor.numel() else b""


def assert_same_outcome(ours: Any, stock: Any, file: Path) -> None:
    if isinstance(stock, Exception):
        assert isinstance(ours, warpload.FormatError)
        if not isinstance(stock, AttributeError):  # safetensors' own, where this torch lacks the dtype
            assert isinstance(ours, type(stock))
        assert (ours.path, ours.tensor) == (str(file), "odd")
        assert str(file) in str(ours)
        assert "'odd'" in str(ours)
    else:
        assert ours == stock


@pytest.mark.parametrize(("code", "shape"), CASES, ids=str)
def test_each_dtype_and_shape_is_read_or_refused_as_by_safetensors(code: str, shape: list[int], tmp_path: Path) -> None:
    file = write(tmp_path / "model.safetensors", code, shape)
    with safetensors.safe_open(file, "pt") as stock, warpload.safe_open(file, "pt") as ours:
        assert_same_outcome(outcome(lambda: ours.get_tensor("odd")), outcome(lambda: stock.get_tensor("odd")), file)
        for name in ("before", "w"):
            assert torch.equal(ours.get_tensor(name), GOOD)
            assert torch.equal(ours.get_slice(name)[:1], GOOD[:1])
        assert ours.get_slice("odd").get_shape() == stock.get_slice("odd").get_shape() == shape
        assert ours.get_slice("odd").get_dtype() == stock.get_slice("odd").get_dtype() == code
    whole = outcome(lambda: safetensors.torch.load_file(file)["odd"])
    assert_same_outcome(outcome(lambda: warpload.load_file(file)["odd"]), whole, file)
    with warpload.LoadOptions(arena="always"):
        assert_same_outcome(outcome(lambda: warpload.load_file(file)["odd"]), whole, file)


@bad_tensors
@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_a_slice_of_it_is_refused_by_name_and_its_neighbour_is_not(bad: str, backend: str, tmp_path: Path) -> None:
    file = write(tmp_path / "model.safetensors", *BAD[bad])
    with warpload.safe_open(file, "pt", backend=backend) as opened:
        for index in (slice(None), ..., slice(0, 1)):
            with pytest.raises(warpload.FormatError) as caught:
                opened.get_slice("odd")[index]
            assert (caught.value.path, caught.value.tensor) == (str(file), "odd")
            assert isinstance(caught.value, safetensors.SafetensorError)
        assert torch.equal(opened.get_tensor("w"), GOOD)
        with pytest.raises(warpload.FormatError):
            opened.get_tensors()


@bad_tensors
@pytest.mark.parametrize("arena", ["auto", "always"])
@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_a_whole_file_is_refused_before_anything_is_loaded(
    bad: str, arena: str, dtype: torch.dtype | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "model.safetensors", *BAD[bad])
    monkeypatch.setattr("warpload.engine.start", None)

    with warpload.LoadOptions(arena=arena), pytest.raises(warpload.FormatError) as caught:
        warpload.load_file(file, dtype=dtype)

    assert caught.value.tensor == "odd"
    assert caught.value.byte_range is not None
    assert "safe_open" in caught.value.cure


def test_what_torch_says_itself_is_told_with_file_and_tensor(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> None:
        raise RuntimeError("no such thing in this build")

    monkeypatch.setattr("torch.utils.dlpack.from_dlpack", refuse)

    with (
        warpload.safe_open(mixed, "pt") as opened,
        pytest.raises(warpload.FormatError, match="in this build") as caught,
    ):
        opened.get_tensor("a.bias")

    assert (caught.value.path, caught.value.tensor) == (str(mixed), "a.bias")
    assert isinstance(caught.value.__cause__, RuntimeError)


def append(file: Path, code: str, shape: list[int]) -> None:
    """Add a tensor to a saved file."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    size = int(nbytes(code, shape))
    header["odd"] = entry(code, shape, len(data), len(data) + size)
    file.write_bytes(framed(json.dumps(header).encode()) + data + bytes(size))


LOADS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "diffusers": ("unet", lambda folder: diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")),
    "transformers": (
        "text_encoder",
        lambda folder: transformers.CLIPTextModel.from_pretrained(folder / "text_encoder"),
    ),
    "single-file": (
        "unet",
        lambda folder: diffusers.UNet2DConditionModel.from_single_file(
            str(weight_file(folder / "unet")), config=str(folder / "unet")
        ),
    ),
    "pipeline": ("vae", lambda folder: diffusers.DiffusionPipeline.from_pretrained(folder)),
    "pipeline-in-float16": (
        "vae",
        lambda folder: diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.half),
    ),
}


@bad_tensors
@pytest.mark.parametrize("arena", ["auto", "always"])
@pytest.mark.parametrize("load", LOADS)
def test_a_model_whose_file_has_one_loads_or_fails_as_by_stock(load: str, arena: str, bad: str, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    component, call = LOADS[load]
    append(weight_file(folder / component), *BAD[bad])

    stock: Any = None
    try:
        call(folder)
    except Exception as error:  # compared with ours
        stock = error
    expectation = contextlib.nullcontext() if stock is None else pytest.raises(type(stock))
    with warpload.LoadOptions(arena=arena), warpload.accelerated(), expectation:
        call(folder)
