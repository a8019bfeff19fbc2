"""`to_device` of modules: what `module.to` gives, through the core where it can, whatever the module's tensors are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import warpload
from support.compare import bytes_of
from support.devices import Device, refusing_segments, tensors_of
from support.moving import Module, move, parameter
from support.patterns import TARGETS
from support.tensors import OTHERS, random_tensor
from warpload import engine

pytestmark = pytest.mark.slots


class Mixed(Module):
    """Tensors of several dtypes and shapes, as parameters and buffers, in nested modules."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.BatchNorm1d(5))
        self.short = parameter(3, 3, dtype=torch.float16)
        self.scalar = torch.nn.Parameter(torch.tensor(2.5, dtype=torch.bfloat16))
        self.frozen = torch.nn.Parameter(torch.randn(4), requires_grad=False)
        self.empty = torch.nn.Parameter(torch.empty(0, 4))
        self.missing = None
        self.register_buffer("ids", torch.arange(11))
        self.register_buffer("mask", torch.tensor([True, False, True]), persistent=False)
        self.register_buffer("table", torch.randn(6, 2, dtype=torch.float64), persistent=False)
        self.register_buffer("nothing", None)
        self.register_parameter("no_parameter", None)


@pytest.mark.parametrize("dtype", [None, *TARGETS], ids=str)
def test_a_module_of_all_sorts_moves_as_in_torch(dtype: torch.dtype | None, device: Device) -> None:
    module = Mixed()
    before = {name: value for name, value in module.named_parameters()}  # noqa: C416

    move(module, device, dtype)

    assert all(before[name] is value for name, value in module.named_parameters())
    assert device.holds_all(tensors_of(module))
    assert module.mask.dtype == torch.bool
    assert module._non_persistent_buffers_set == {"mask", "table"}
    assert (module.frozen.requires_grad, module.short.requires_grad) == (False, True)


@pytest.mark.parametrize("side", ["host", "device"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_casts_are_the_same_on_either_side(dtype: torch.dtype, side: str, device: Device) -> None:
    with device.options(device_casts=side):
        move(Mixed(), device, dtype)


@pytest.mark.parametrize("spelling", ["name", "object", "keyword"])
def test_devices_and_dtypes_may_be_spelt_as_for_torch(spelling: str, device: Device) -> None:
    module = torch.nn.Linear(3, 4)
    if spelling == "keyword":
        warpload.to_device(module, device=torch.device(device.name), dtype=torch.float16)
    else:
        warpload.to_device(module, device.kind if spelling == "name" else torch.device(device.name), torch.float16)

    assert {tensor.dtype for tensor in module.parameters()} == {torch.float16}
    assert device.holds_all(module.parameters())


@pytest.mark.parametrize("dtype", [*OTHERS, torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_every_dtype_of_a_file_moves_as_it_is(dtype: torch.dtype, device: Device) -> None:
    module = Module()
    module.register_buffer("b", random_tensor(dtype, (3, 5)))
    module.p = torch.nn.Parameter(random_tensor(dtype, (7,)), requires_grad=False)

    move(module, device)

    assert device.holds_all(tensors_of(module))


def test_changed_weights_arrive_changed(device: Device) -> None:
    module = torch.nn.Linear(8, 8)
    with torch.no_grad():
        module.weight.mul_(3)
        module.bias[2:4] = 7

    move(module, device)

    assert module.bias[2:4].tolist() == [7, 7]
    assert device.holds_all(module.parameters())


def test_gradients_stay(device: Device) -> None:
    module = torch.nn.Linear(3, 3)
    module(torch.ones(2, 3)).sum().backward()
    assert module.weight.grad is not None

    move(module, device)

    assert module.weight.grad is not None
    assert module.weight.grad.device == torch.device(device.name)


def test_what_is_trained_afterwards_changes(device: Device) -> None:
    module = warpload.to_device(torch.nn.Linear(3, 3), device.name)
    before = bytes_of(module.weight)

    module(torch.ones(2, 3, device=device.name)).sum().backward()
    torch.optim.SGD(module.parameters(), lr=0.5).step()

    assert bytes_of(module.weight) != before


def test_an_optimizer_made_before_still_has_the_parameters(device: Device) -> None:
    module = torch.nn.Linear(3, 3)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)

    warpload.to_device(module, device.name)

    assert optimizer.param_groups[0]["params"][0] is module.weight


def test_each_tensor_has_a_storage_of_its_own(device: Device) -> None:
    module = warpload.to_device(Mixed(), device.name)

    for tensor in tensors_of(module):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
        assert tensor.storage_offset() == 0


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_dtypes_that_torch_refuses_are_refused_in_its_words(dtype: torch.dtype, device: Device) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever it is, ours is the same
        torch.nn.Linear(2, 2).to(device.name, torch.int64)
    if dtype is torch.int64:
        with pytest.raises(type(theirs.value)) as mine:
            warpload.to_device(torch.nn.Linear(2, 2), device.name, dtype)
        assert str(mine.value) == str(theirs.value)
    else:  # torch takes it, with a warning
        with pytest.warns(UserWarning, match="Complex modules"):
            moved = warpload.to_device(torch.nn.Linear(2, 2), device.name, dtype)
        assert moved.weight.dtype == dtype


def test_tensors_without_memory_raise_torchs_error(device: Device) -> None:
    with pytest.raises(NotImplementedError) as theirs:
        torch.nn.Linear(2, 2, device="meta").to(device.name)
    with pytest.raises(NotImplementedError) as mine:
        warpload.to_device(torch.nn.Linear(2, 2, device="meta"), device.name)

    assert str(mine.value) == str(theirs.value)
    assert device.allocations == 0


@pytest.mark.parametrize("name", ["nonsense", "cuda:x"])
def test_a_device_that_is_none_raises_torchs_error(name: str, device: Device) -> None:
    with pytest.raises(RuntimeError) as theirs:
        torch.nn.Linear(2, 2).to(name)
    with pytest.raises(RuntimeError) as mine:
        warpload.to_device(torch.nn.Linear(2, 2), name)

    assert str(mine.value) == str(theirs.value)


def test_other_devices_are_torchs_affair(device: Device) -> None:
    module = warpload.to_device(torch.nn.Linear(2, 2), "meta")

    assert module.weight.is_meta
    assert device.allocations == 0


@pytest.mark.parametrize("what", [torch.zeros(3), {"a": 1}, None, "module"])
def test_what_is_neither_a_module_nor_a_pipeline_is_refused(what: Any, device: Device) -> None:
    with pytest.raises(warpload.InvalidArgumentError, match=type(what).__name__):
        warpload.to_device(what, device.name)


def test_a_module_without_tensors_moves_nothing(device: Device) -> None:
    module = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Identity())

    assert warpload.to_device(module, device.name) is module
    assert device.allocations == 0


def test_on_the_host_a_module_that_is_there_stays(device: Device) -> None:
    module = torch.nn.Linear(3, 3)
    address = module.weight.data_ptr()

    with device.on_host():
        warpload.to_device(module, "cpu")
        assert module.weight.data_ptr() == address
        warpload.to_device(module, "cpu", torch.float16)

    assert module.weight.dtype == torch.float16
    assert device.allocations == 0


@pytest.mark.parametrize("switch", ["overwrite", "swap"])
def test_torchs_switches_for_new_parameters_are_heeded(switch: str, device: Device) -> None:
    name = {"overwrite": "overwrite_module_params_on_conversion", "swap": "swap_module_params_on_conversion"}[switch]
    getattr(torch.__future__, f"set_{name}")(True)
    try:
        move(torch.nn.Linear(3, 3), device, torch.float16)
    finally:
        getattr(torch.__future__, f"set_{name}")(False)

    assert device.allocations == 0


# -- failures ---------------------------------------------------------------------------------------------------------


def snapshot(module: Module) -> list[tuple[int, torch.dtype, torch.device, bytes]]:
    return [(tensor.data_ptr(), tensor.dtype, tensor.device, bytes_of(tensor)) for tensor in tensors_of(module)]


def assert_untouched(module: Module, device: Device, fail: Callable[[], Any]) -> None:
    before = snapshot(module)

    fail()

    assert snapshot(module) == before
    assert device.allocated() == 0


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_a_module_that_does_not_fit_is_as_it_was(
    dtype: torch.dtype | None, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Mixed()

    def fail() -> None:
        with refusing_segments(monkeypatch), pytest.raises(warpload.OutOfMemoryError) as caught:
            warpload.to_device(module, device.name, dtype)
        assert isinstance(caught.value, torch.OutOfMemoryError)

    assert_untouched(module, device, fail)
    move(module, device, dtype)


def test_a_module_whose_copies_fail_is_as_it_was(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Mixed()

    def refuse(*_: Any) -> None:
        raise warpload.DeviceError("the device is gone")

    def fail() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(engine, "wait_arrival", refuse)
            with pytest.raises(warpload.DeviceError, match="gone"):
                warpload.to_device(module, device.name)

    assert_untouched(module, device, fail)
