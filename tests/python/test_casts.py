"""Casts on the way are bit-identical to `torch.Tensor.to`, for all bit patterns that fit in a test.

NaN: the narrow types are compared to the last bit of the payload. From float32 and float64, where torch's own result
depends on whether an element went through its vectorised loop, a NaN has to be a NaN of the same dtype.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import warpload
from support.checkpoints import save_raw
from support.compare import bytes_of
from support.patterns import NARROW, SAME_NAN_BITS, TARGETS, WIDE, assert_same_values, critical_values, every_pattern

MILLIONS = 4_000_000


def cast_by_core(tensor: torch.Tensor, target: torch.dtype, file: Path) -> torch.Tensor:
    """Write the tensor, and load it in another dtype."""
    safetensors.torch.save_file({"t": tensor}, file)
    return warpload.load_file(file, dtype=target)["t"]


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("source", NARROW, ids=str)
def test_every_bit_pattern_of_a_narrow_type_casts_as_in_torch(
    source: torch.dtype, target: torch.dtype, tmp_path: Path
) -> None:
    patterns = every_pattern(source)

    ours = cast_by_core(patterns, target, tmp_path / "patterns.safetensors")

    assert_same_values(ours, patterns.to(target), nan_bits=SAME_NAN_BITS)


@pytest.mark.parametrize("target", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_millions_of_random_float32_cast_as_in_torch(target: torch.dtype, tmp_path: Path) -> None:
    raw = np.random.default_rng(0).integers(0, 1 << 32, MILLIONS, dtype=np.uint32)
    values = torch.from_numpy(raw.view(np.float32))

    ours = cast_by_core(values, target, tmp_path / "random.safetensors")

    assert_same_values(ours, values.to(target), nan_bits=False)


@pytest.mark.parametrize("target", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_millions_of_random_float64_cast_as_in_torch(target: torch.dtype, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    raw = generator.integers(0, 1 << 64, MILLIONS // 4, dtype=np.uint64).view(np.float64)
    moderate = generator.standard_normal(MILLIONS // 4) * np.exp2(generator.integers(-160, 140, MILLIONS // 4))
    values = torch.from_numpy(np.concatenate([raw, moderate]))

    ours = cast_by_core(values, target, tmp_path / "random.safetensors")

    assert_same_values(ours, values.to(target), nan_bits=False)


@pytest.mark.parametrize("target", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("source", WIDE, ids=str)
def test_ties_subnormals_and_overflows_round_as_in_torch(
    source: torch.dtype, target: torch.dtype, tmp_path: Path
) -> None:
    values = critical_values(source, target)

    ours = cast_by_core(values, target, tmp_path / "critical.safetensors")

    assert_same_values(ours, values.to(target), nan_bits=False)


def test_float32_subnormals_cast_as_in_torch(tmp_path: Path) -> None:
    bits = np.random.default_rng(2).integers(0, 1 << 23, 1_000_000, dtype=np.uint32)
    bits[::2] |= np.uint32(1 << 31)
    values = torch.from_numpy(bits.view(np.float32))

    for target in (torch.bfloat16, torch.float16, torch.float64):
        ours = cast_by_core(values, target, tmp_path / "subnormal.safetensors")
        assert_same_values(ours, values.to(target), nan_bits=True)


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("source", [*NARROW, *WIDE], ids=str)
def test_every_length_of_a_tail_casts_as_in_torch(source: torch.dtype, target: torch.dtype, tmp_path: Path) -> None:
    """Lengths around those of vectors: what a loop leaves over is cast like the rest."""
    values = torch.randn(200, generator=torch.Generator().manual_seed(0)).to(source)
    tensors = {f"t{length:03}": values[:length].clone() for length in range(200)}
    file = tmp_path / "tails.safetensors"
    safetensors.torch.save_file(tensors, file)

    loaded = warpload.load_file(file, dtype=target)

    for name, tensor in tensors.items():
        assert bytes_of(loaded[name]) == bytes_of(tensor.to(target)), name


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 70), min_size=1, max_size=6),
    sources=st.lists(st.sampled_from([*NARROW, *WIDE]), min_size=6, max_size=6),
    target=st.sampled_from(TARGETS),
    odd=st.integers(0, 9),
    shift=st.integers(0, 7),
    seed=st.integers(0, 1 << 16),
)
def test_odd_lengths_at_odd_offsets_cast_as_in_torch(
    lengths: list[int],
    sources: list[torch.dtype],
    target: torch.dtype,
    odd: int,
    shift: int,
    seed: int,
    tmp_path: Path,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = {"first": torch.arange(odd, dtype=torch.uint8)}
    for number, (length, source) in enumerate(zip(lengths, sources, strict=False)):
        tensors[f"t{number}"] = torch.randn(length, generator=generator).to(source)
    file = tmp_path / "odd.safetensors"
    save_raw(tensors, file, shift=shift)

    loaded = warpload.load_file(file, dtype=target)

    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        expected = tensor.to(target) if tensor.is_floating_point() else tensor
        assert loaded[name].dtype == expected.dtype, name
        assert bytes_of(loaded[name]) == bytes_of(expected), name


def test_a_tensor_larger_than_a_read_casts_as_in_torch(tmp_path: Path) -> None:
    """Several reads and several workers share one tensor, and small ones before it shift the cuts."""
    values = torch.randn(3_000_001, generator=torch.Generator().manual_seed(3))
    tensors = {"a": torch.arange(13, dtype=torch.uint8), "b": values, "c": values[:77].clone()}
    file = tmp_path / "large.safetensors"
    save_raw(tensors, file, shift=3)

    loaded = warpload.load_file(file, dtype=torch.bfloat16)

    assert bytes_of(loaded["a"]) == bytes_of(tensors["a"])
    assert bytes_of(loaded["b"]) == bytes_of(values.to(torch.bfloat16))
    assert bytes_of(loaded["c"]) == bytes_of(values[:77].to(torch.bfloat16))
