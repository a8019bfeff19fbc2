"""Memory that several tensors share, and layouts other than the plain one, when a module is brought to a device."""

from __future__ import annotations

import pytest
import torch

import warpload
from support.compare import bytes_of
from support.devices import Device, tensors_of
from support.moving import Module, move, parameter
from support.tensors import random_tensor

pytestmark = pytest.mark.slots

# -- memory that is shared --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_one_parameter_in_two_modules_stays_one(dtype: torch.dtype | None, device: Device) -> None:
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(4, 4), "b": torch.nn.Linear(4, 4)})
    module["b"].weight = module["a"].weight

    move(module, device, dtype)

    assert module["a"].weight is module["b"].weight
    assert device.holds(module["a"].weight)


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.float64])
def test_two_parameters_over_one_storage_share_it_afterwards(dtype: torch.dtype | None, device: Device) -> None:
    module = Module()
    module.a = parameter(4, 5)
    module.b = torch.nn.Parameter(module.a.data)
    module.register_buffer("c", module.a.data)

    move(module, device, dtype)

    assert module.a is not module.b
    assert module.a.data_ptr() == module.b.data_ptr() == module.c.data_ptr()
    assert device.holds_all(tensors_of(module))
    with torch.no_grad():
        module.a.zero_()
    assert not module.b.any()


def test_views_that_overlap_do_so_afterwards(device: Device) -> None:
    base = torch.arange(30.0)
    module = Module()
    module.a = torch.nn.Parameter(base[:20])
    module.b = torch.nn.Parameter(base[10:].view(4, 5))
    module.register_buffer("c", base[12:18])
    module.register_buffer("other", torch.arange(30.0))

    move(module, device)

    assert module.a.untyped_storage().data_ptr() == module.b.untyped_storage().data_ptr()
    assert module.b.data_ptr() - module.a.data_ptr() == 40
    assert device.holds_all(tensors_of(module))
    with torch.no_grad():
        module.a[12] = -1
    assert module.b[0, 2] == -1
    assert module.c[0] == -1
    assert module.other[12] == 12


def test_overlapping_views_of_several_dtypes_move(device: Device) -> None:
    base = random_tensor(torch.float32, (16,), 3)
    module = Module()
    module.register_buffer("floats", base[:10])
    module.register_buffer("halves", base[5:].view(torch.bfloat16))

    move(module, device)

    assert module.halves.data_ptr() - module.floats.data_ptr() == 20


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_overlapping_views_that_are_cast_are_left_to_torch(dtype: torch.dtype, device: Device) -> None:
    base = torch.arange(30.0)
    module = Module()
    module.a = torch.nn.Parameter(base[:20])
    module.b = torch.nn.Parameter(base[10:])
    module.c = parameter(3)

    move(module, device, dtype)

    assert device.holds(module.c)
    assert not device.holds(module.a)


def test_parts_of_one_storage_that_do_not_overlap_move_alone(device: Device) -> None:
    base = torch.arange(1_000_000.0)
    module = Module()
    module.a = torch.nn.Parameter(base[10:20])
    module.b = torch.nn.Parameter(base[999_000:])

    move(module, device)

    assert device.holds_all(tensors_of(module))
    assert device.segment_bytes() < 10_000


# -- layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_dense_tensors_keep_the_order_of_their_dimensions(dtype: torch.dtype | None, device: Device) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3), torch.nn.Conv3d(2, 3, 2))
    module[0].to(memory_format=torch.channels_last)
    module[1].to(memory_format=torch.channels_last_3d)
    module.transposed = torch.nn.Parameter(torch.randn(3, 5).t())
    module.permuted = torch.nn.Parameter(torch.randn(2, 3, 4).permute(1, 2, 0))
    strides = [tensor.stride() for tensor in tensors_of(module)]

    move(module, device, dtype)

    assert [tensor.stride() for tensor in tensors_of(module)] == strides
    if dtype is not torch.bfloat16:
        assert device.holds_all(tensors_of(module))


def strange(kind: str) -> torch.Tensor:
    """Return a tensor that the core cannot move."""
    base = torch.randn(6, 8)
    return {
        "expanded": lambda: torch.randn(1, 8).expand(5, 8),
        "with-gaps": lambda: base[:, :4],
        "every-other": lambda: base.flatten()[::2],
        "sparse": lambda: base.relu().to_sparse(),
        "compressed": lambda: base.relu().to_sparse_csr(),
        "conjugate": lambda: torch.randn(4, dtype=torch.complex64).conj(),
        "negative": lambda: torch.randn(4, dtype=torch.complex64).conj().imag,
        "complex128": lambda: torch.randn(4, dtype=torch.complex128),
    }[kind]()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize(
    "kind",
    ["expanded", "with-gaps", "every-other", "sparse", "compressed", "conjugate", "negative", "complex128"],
)
def test_what_the_core_cannot_move_is_left_to_torch(kind: str, device: Device) -> None:
    tensor = strange(kind)
    module, stock = Module(), Module()
    for each in (module, stock):
        each.register_buffer("strange", tensor)
        each.plain = parameter(4)

    warpload.to_device(module, device.name)
    stock.to(device.name)

    assert device.holds(module.plain)
    assert (module.strange.layout, module.strange.dtype) == (stock.strange.layout, stock.strange.dtype)
    assert module.strange.device == torch.device(device.name)
    ours, theirs = (each.strange.to_dense() if each.strange.layout != torch.strided else each.strange
                    for each in (module, stock))  # fmt: skip
    assert torch.equal(ours, theirs)
    if kind not in ("sparse", "compressed"):
        assert ours.stride() == theirs.stride()
        assert not device.holds(ours)


class Tagged(torch.Tensor):
    """A subclass as quantisers have them."""


def test_subclasses_of_tensors_are_left_to_torch(device: Device) -> None:
    module = Module()
    module.register_buffer("tagged", torch.randn(5).as_subclass(Tagged))
    module.plain = parameter(4)
    tagged = bytes_of(module.tagged.as_subclass(torch.Tensor))

    warpload.to_device(module, device.name)

    assert type(module.tagged) is Tagged
    assert module.tagged.device == torch.device(device.name)
    assert bytes_of(module.tagged.as_subclass(torch.Tensor)) == tagged
    assert not device.holds(module.tagged.as_subclass(torch.Tensor))
    assert device.holds(module.plain)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_casts_that_the_core_does_not_have_are_left_to_torch(dtype: torch.dtype, device: Device) -> None:
    module = Module()
    module.weight = torch.nn.Parameter(torch.randn(9))
    module.register_buffer("ids", torch.arange(4))

    move(module, device, dtype)

    assert not device.holds(module.weight)
    assert device.holds(module.ids)


def test_float8_parameters_widen(device: Device) -> None:
    module = Module()
    module.weight = torch.nn.Parameter(random_tensor(torch.float8_e4m3fn, (33,)), requires_grad=False)

    move(module, device, torch.bfloat16)

    assert device.holds(module.weight)
