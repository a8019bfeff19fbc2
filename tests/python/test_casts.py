"""Casts on the way are bit-identical to `torch.Tensor.to`, for all bit patterns that fit in a test.

They are so on every device, on whichever side of the copy to it they are made.

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
from support.compare import assert_same_tensor, bytes_of
from support.devices import Device
from support.patterns import NARROW, SAME_NAN_BITS, TARGETS, WIDE, assert_same_values, critical_values, every_pattern
from support.tensors import random_tensor

# Through slots the processor's casts and the kernels' are the same code; there fewer will do.
RANDOM = {torch.float32: 4_000_000, torch.float64: 1_000_000}
RANDOM_THROUGH_SLOTS = 300_000


def cast(tensor: torch.Tensor, target: torch.dtype, side: str, device: Device, file: Path) -> torch.Tensor:
    """Write the tensor, load it in another dtype to the device, and return what is there."""
    safetensors.torch.save_file({"t": tensor}, file)
    with device.options(device_casts=side):
        loaded = warpload.load_file(file, device.name, dtype=target)["t"]
    assert device.holds_all([loaded])
    return loaded.cpu()


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("source", NARROW, ids=str)
def test_every_bit_pattern_of_a_narrow_type_casts_as_in_torch(
    source: torch.dtype, target: torch.dtype, side: str, device: Device, tmp_path: Path
) -> None:
    patterns = every_pattern(source)

    ours = cast(patterns, target, side, device, tmp_path / "patterns.safetensors")

    assert_same_values(ours, patterns.to(target), nan_bits=SAME_NAN_BITS)


def random_bits(dtype: torch.dtype, count: int) -> torch.Tensor:
    """Return numbers of random bits, and as many of moderate size, of which more survive a cast."""
    generator = np.random.default_rng(4)
    raw = random_tensor(dtype, (count,), 5)
    moderate = generator.standard_normal(count) * np.exp2(generator.integers(-160, 140, count))
    return torch.cat([raw, torch.from_numpy(moderate).to(dtype)])


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("source", WIDE, ids=str)
def test_random_wide_numbers_cast_as_in_torch(
    source: torch.dtype, target: torch.dtype, side: str, device: Device, tmp_path: Path
) -> None:
    values = random_bits(source, RANDOM_THROUGH_SLOTS if device.has_slots else RANDOM[source])

    ours = cast(values, target, side, device, tmp_path / "random.safetensors")

    assert_same_values(ours, values.to(target), nan_bits=source == target)


@pytest.mark.parametrize("target", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("source", WIDE, ids=str)
def test_ties_subnormals_and_overflows_round_as_in_torch(
    source: torch.dtype, target: torch.dtype, side: str, device: Device, tmp_path: Path
) -> None:
    values = critical_values(source, target)

    ours = cast(values, target, side, device, tmp_path / "critical.safetensors")

    assert_same_values(ours, values.to(target), nan_bits=False)


@pytest.mark.parametrize("target", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_float32_subnormals_cast_as_in_torch(target: torch.dtype, side: str, device: Device, tmp_path: Path) -> None:
    bits = np.random.default_rng(2).integers(0, 1 << 23, 1_000_000, dtype=np.uint32)
    bits[::2] |= np.uint32(1 << 31)
    values = torch.from_numpy(bits.view(np.float32))

    ours = cast(values, target, side, device, tmp_path / "subnormal.safetensors")

    assert_same_values(ours, values.to(target), nan_bits=True)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_length_of_a_tail_casts_as_in_torch(
    target: torch.dtype, side: str, device: Device, tmp_path: Path
) -> None:
    """Lengths around those of vectors and blocks, from every dtype: what a loop leaves over is cast like the rest."""
    values = torch.randn(200, generator=torch.Generator().manual_seed(0))
    tensors = {"first": torch.arange(5, dtype=torch.uint8)}
    for source in (*NARROW, *WIDE):
        tensors |= {f"{source}.{length:03}": values[:length].to(source) for length in range(200)}
    for shift in (0, 1):
        file = tmp_path / f"tails-{shift}.safetensors"
        save_raw(tensors, file, shift=shift)

        with device.options(device_casts=side):
            loaded = warpload.load_file(file, device.name, dtype=target)

        for name, tensor in tensors.items():
            expected = tensor.to(target) if tensor.is_floating_point() else tensor
            assert_same_tensor(loaded[name].cpu(), expected, name)


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
    device: Device,
    tmp_path: Path,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = {"first": torch.arange(odd, dtype=torch.uint8)}
    for number, (length, source) in enumerate(zip(lengths, sources, strict=False)):
        tensors[f"t{number}"] = torch.randn(length, generator=generator).to(source)
    file = tmp_path / "odd.safetensors"
    save_raw(tensors, file, shift=shift)

    loaded = warpload.load_file(file, device.name, dtype=target)

    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        expected = tensor.to(target) if tensor.is_floating_point() else tensor
        assert loaded[name].dtype == expected.dtype, name
        assert bytes_of(loaded[name]) == bytes_of(expected), name
