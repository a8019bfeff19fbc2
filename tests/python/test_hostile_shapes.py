"""Empty tensors of huge extents: what stock loads is loaded, with its strides, and what stock refuses is refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

import warpload
from support.bad_files import entry, fail
from support.checkpoints import framed
from support.processes import run_python
from warpload import _core

EXTENTS = [0, 1, 2, 3, 1 << 31, 1 << 32, 1 << 33, 1 << 61, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64]
# Of each way to torch one: as they are, as bytes to be viewed, and in pairs.
DTYPES = ["F32", "U16", "F8_E4M3", "F4"]

Shape = tuple[int, ...]
Read = Callable[[Any], torch.Tensor]
READS: dict[str, Read] = {
    "load_file": lambda file: warpload.load_file(file)["a"],
    "load_file, copied": lambda file: warpload.load_file(file, disable_mmap=True)["a"],
    "get_tensor": lambda file: warpload.safe_open(file, "pt").get_tensor("a"),
    "get_slice": lambda file: warpload.safe_open(file, "pt").get_slice("a")[...],
}


def shapes() -> Iterable[Shape]:
    """Every shape of up to three axes that has a 0, and a few of very many axes."""
    for axes in (1, 2, 3):
        yield from (shape for shape in itertools.product(EXTENTS, repeat=axes) if 0 in shape)
    yield from [(0,) * 65, (0, *[2] * 62), (0, *[2] * 63), (0, *[2] * 64), (*[1] * 1000, 0)]


def write(file: Path, dtype: str, shape: Shape) -> Path:
    file.write_bytes(framed(json.dumps({"a": entry(dtype, list(shape), 0, 0)}).encode()))
    return file


def described(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.untyped_storage().nbytes()


def of_stock(file: Path) -> tuple[Any, ...] | None:
    """Describe what stock loads; None where it refuses."""
    try:
        return described(safetensors.torch.load_file(file)["a"])
    except (safetensors.SafetensorError, RuntimeError, TypeError):
        return None
    except AttributeError:  # a torch that has no such dtype
        assert not hasattr(torch, "float4_e2m1fn_x2")
        return None


def of_ours(read: Read, file: Path) -> tuple[Any, ...] | None:
    """Describe what we load; None where the refusal is one of our own."""
    try:
        return described(read(file))
    except warpload.FormatError:
        return None


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_tensor_is_loaded_where_stock_loads_it(dtype: str, read: str, tmp_path: Path) -> None:
    differing = {}
    for number, shape in enumerate(shapes()):
        file = write(tmp_path / f"{number}.safetensors", dtype, shape)
        stock, ours = of_stock(file), of_ours(READS[read], file)
        if ours != stock:
            differing[shape] = ours, stock
        file.unlink()

    assert differing == {}


def test_the_refusal_names_file_tensor_reason_and_cure(tmp_path: Path) -> None:
    file = write(tmp_path / "model.safetensors", "F32", (0, (1 << 63) - 1, 2))

    error = fail(warpload.FormatError, lambda: warpload.load_file(file), file)

    assert error.tensor == "a"
    assert "[0, 9223372036854775807, 2]" in error.reason
    assert error.byte_range is not None
    assert error.cure


def test_an_unlucky_shape_beside_good_tensors_does_not_bring_the_process_down(tmp_path: Path) -> None:
    """Two of them: what was freed twice is then in use again."""
    header = {
        "a": entry("F32", [0, (1 << 63) - 1, 2], 0, 0),
        "b": entry("F32", [0, (1 << 62), 2], 0, 0),
        "c": entry("F32", [4], 0, 16),
    }
    file = tmp_path / "model.safetensors"
    file.write_bytes(framed(json.dumps(header).encode()) + bytes(16))

    run_python(
        """
import sys, warpload
for _ in range(3):
    try:
        warpload.load_file(sys.argv[1])
    except warpload.FormatError as error:
        assert error.path == sys.argv[1], error
    else:
        raise AssertionError("loaded")
""",
        file,
    )


def test_memory_that_no_tensor_can_describe_is_refused() -> None:
    """Which torch cannot hold either, so that only a caller of the native interface comes this far."""
    with pytest.raises(warpload.InvalidArgumentError, match="below 2\\^63"):
        _core.Checkpoint.from_memory([("a", "F32", [0, 1 << 62, 2], 0, 0)], None)
