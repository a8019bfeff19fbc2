"""The small print of `safe_open`: parameters, errors and ownership are those of safetensors, and the rest is listed."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

import warpload
from support.checkpoints import save_raw
from support.compare import assert_same_tensor, assert_same_tensors
from support.versions import TORCHS_DEVICE_ERROR
from warpload import engine, open_file
from warpload.context import began
from warpload.models import reader

# Of safetensors 0.9.0rc1, by its stub and its signatures (0.8 is what is installed). Its rc0 had `prefetch` and
# `tensor_stream` in another form, so that `prefetch` may change again, and it is for CUDA alone: load_file is ours.
NEW_IN_0_9 = {
    "get_tensor_meta": ["name"],
    "prefetch": ["plan", "device", "threads"],
}
NOT_OURS = {"prefetch"}
OURS_ALONE = {"nbytes", "oddities", "get_tensor_meta"}
TENSOR_META_0_9 = {"dtype", "shape", "data_offsets"}
SLICE_METHODS = {"get_shape", "get_dtype"}

TENSORS = {
    "weight": torch.arange(60.0).reshape(3, 4, 5),
    "vector": torch.arange(7),
    "scalar": torch.tensor(12),
    "empty": torch.empty(0, 3),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(TENSORS, path, metadata={"format": "pt"})
    return path


def parameters(function: Any) -> dict[str, Any]:
    """Return a function's parameters but for `self`: each one's kind, and whether it may be left out."""
    found = inspect.signature(function).parameters.values()
    return {
        each.name: (each.kind, each.default is not inspect.Parameter.empty) for each in found if each.name != "self"
    }


def public(cls: Any) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def outcome(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or the error."""
    try:
        return call()
    except Exception as error:  # compared with stock's
        return error


def assert_same_kind(ours: Any, stock: Any) -> None:
    """Fail unless both calls succeeded, or ours raised what is caught as stock's error."""
    assert isinstance(ours, Exception) == isinstance(stock, Exception), (ours, stock)
    if isinstance(stock, Exception):
        assert isinstance(ours, type(stock)), (ours, stock)


# -- names and parameters ----------------------------------------------------------------------------------------------


def test_the_function_has_safetensors_parameters_and_no_others() -> None:
    assert parameters(warpload.safe_open) == parameters(safetensors.safe_open)


def test_load_file_has_safetensors_parameters_and_those_that_are_listed() -> None:
    ours, stock = parameters(warpload.load_file), parameters(safetensors.torch.load_file)

    assert {name: ours[name] for name in stock} == stock
    assert ours.keys() - stock.keys() == {"dtype", "disable_mmap", "options"}


def test_the_object_has_all_that_safetensors_has_and_what_is_listed() -> None:
    stock, ours = public(safetensors.safe_open), public(open_file.TorchFile)

    assert stock - ours == (stock & NOT_OURS)
    assert ours - stock == OURS_ALONE - stock
    for name in stock & ours:
        mine, theirs = (parameters(getattr(cls, name)) for cls in (open_file.TorchFile, safetensors.safe_open))
        assert list(mine) == list(theirs), name
    for name, expected in NEW_IN_0_9.items():
        if name not in NOT_OURS:
            assert list(parameters(getattr(open_file.TorchFile, name))) == expected
    for name in ("__len__", "__iter__", "__contains__", "__getitem__"):
        assert hasattr(open_file.TorchFile, name) == hasattr(safetensors.safe_open, name), name


def test_a_slice_has_what_safetensors_has(file: Path) -> None:
    stock = type(safetensors.safe_open(file, "pt").get_slice("weight"))

    assert public(open_file.TensorSlice) == public(stock) == SLICE_METHODS


def test_an_entry_of_the_header_is_told_without_its_data(file: Path) -> None:
    with warpload.safe_open(file, "pt") as opened:
        entries = {name: opened.get_tensor_meta(name) for name in opened.offset_keys()}

    position = 0
    for name, meta in entries.items():
        assert public(meta) == TENSOR_META_0_9
        assert (meta.dtype, meta.shape) == (
            {"vector": "I64", "scalar": "I64"}.get(name, "F32"),
            list(TENSORS[name].shape),
        )
        assert meta.data_offsets == (position, position + TENSORS[name].nbytes)
        position = meta.data_offsets[1]


ARGUMENTS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "unknown": (("pt",), {"foo": 1}),
    "no-framework": ((), {}),
    "positional-backend": (("pt", "cpu", "mmap"), {}),
    "mmap": (("pt",), {"backend": "mmap"}),
    "pread": (("pt",), {"backend": "pread"}),
    "wrong-backend": (("pt",), {"backend": "quark"}),
    "no-backend": (("pt",), {"backend": None}),
    "wrong-backend-for-numpy": (("np",), {"backend": "quark"}),
    **{
        f"framework-{name}": ((name,), {})
        for name in ("pt", "torch", "pytorch", "np", "numpy", "PT", "nonsense", "", None, 3)
    },
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_are_taken_and_refused_as_by_safetensors(case: str, file: Path) -> None:
    arguments, keywords = ARGUMENTS[case]

    stock = outcome(lambda: safetensors.safe_open(file, *arguments, **keywords))
    ours = outcome(lambda: warpload.safe_open(file, *arguments, **keywords))

    assert_same_kind(ours, stock)


@pytest.mark.parametrize("backend", ["mmap", "pread", "quark", None])
def test_load_file_takes_and_refuses_a_backend_as_safetensors(backend: Any, file: Path) -> None:
    stock = outcome(lambda: safetensors.torch.load_file(file, backend=backend))
    ours = outcome(lambda: warpload.load_file(file, backend=backend))

    assert_same_kind(ours, stock)
    if not isinstance(stock, Exception):
        assert_same_tensors(ours, stock)


@pytest.mark.parametrize("name", ["", b"model.safetensors", 3, None, ["model.safetensors"]], ids=repr)
def test_what_is_no_name_of_a_file_is_refused_as_by_safetensors(name: Any) -> None:
    assert_same_kind(
        outcome(lambda: warpload.safe_open(name, "pt")), outcome(lambda: safetensors.safe_open(name, "pt"))
    )


LOADS: dict[str, Callable[[Any, Any, Path, Any], Any]] = {
    "open": lambda library, _, file, device: library.safe_open(file, "pt", device),
    "get_tensor": lambda library, _, file, device: library.safe_open(file, "pt", device).get_tensor("weight"),
    "load_file": lambda _, load_file, file, device: load_file(file, device),
}


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize(
    "device", ["cpu", None, "nonsense", "CPU", "0", "cuda:x", "cuda:-1", "", -1, 3.5, object], ids=str
)
def test_devices_are_taken_and_refused_as_by_safetensors(device: Any, load: str, file: Path) -> None:
    assert_same_kind(
        outcome(lambda: LOADS[load](warpload, warpload.load_file, file, device)),
        outcome(lambda: LOADS[load](safetensors, safetensors.torch.load_file, file, device)),
    )


@pytest.mark.parametrize("device", [torch.device("cpu"), "cpu:0", "meta", torch.device("meta")], ids=str)
def test_devices_that_only_torch_names_are_taken_as_well(device: Any, file: Path) -> None:
    expected = {name: tensor.to(device) for name, tensor in TENSORS.items()}
    with warpload.safe_open(file, "pt", device) as opened:
        assert opened.get_tensor("weight").device == expected["weight"].device
        assert opened.get_slice("weight")[:1].device == expected["weight"].device
        assert {name: tensor.shape for name, tensor in opened.get_tensors().items()} == {
            name: tensor.shape for name, tensor in expected.items()
        }


@pytest.mark.parametrize("device", ["mps", "xla"])
def test_a_device_that_is_not_there_is_an_error_of_both(device: str, file: Path) -> None:
    stock = outcome(lambda: safetensors.torch.load_file(file, device))
    assert isinstance(stock, RuntimeError)
    with warpload.safe_open(file, "pt", device) as opened:
        for ask in (
            lambda: opened.get_tensor("weight"),
            lambda: opened.get_slice("weight")[:1],
            lambda: warpload.load_file(file, device),
        ):
            with pytest.raises(warpload.DeviceError, match=device) as caught:
                ask()
            assert isinstance(caught.value, TORCHS_DEVICE_ERROR)


# -- opened, not entered, closed ---------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Any], Any]] = {
    "keys": lambda opened: opened.keys(),
    "offset_keys": lambda opened: opened.offset_keys(),
    "metadata": lambda opened: opened.metadata(),
    "get_tensor": lambda opened: opened.get_tensor("weight"),
    "get_tensors": lambda opened: opened.get_tensors(),
    "get_slice": lambda opened: opened.get_slice("weight"),
    "enter": lambda opened: opened.__enter__(),
    "exit": lambda opened: opened.__exit__(None, None, None),
    "unknown-tensor": lambda opened: opened.get_tensor("no-such-tensor"),
    "unknown-slice": lambda opened: opened.get_slice("no-such-tensor"),
    "number-for-a-name": lambda opened: opened.get_tensor(3),
    "bytes-for-a-name": lambda opened: opened.get_slice(b"weight"),
    "len": len,
    "iter": iter,
    "in": lambda opened: "weight" in opened,
    "item": lambda opened: opened["weight"],
}


@pytest.mark.parametrize("state", ["opened", "entered", "entered-twice", "closed", "closed-twice"])
@pytest.mark.parametrize("call", CALLS)
def test_each_call_does_in_each_state_what_safetensors_does(call: str, state: str, file: Path) -> None:
    results = []
    for library in (warpload, safetensors):
        opened = library.safe_open(file, "pt")
        for _ in range({"opened": 0, "entered-twice": 2}.get(state, 1)):
            assert opened.__enter__() is opened
        for _ in range({"closed": 1, "closed-twice": 2}.get(state, 0)):
            assert opened.__exit__(None, None, None) is None
        results.append(outcome(lambda opened=opened: CALLS[call](opened)))

    ours, stock = results
    assert_same_kind(ours, stock)
    if isinstance(stock, safetensors.SafetensorError):
        assert isinstance(ours, warpload.InvalidArgumentError)
        assert ours.path == str(file)
    if isinstance(stock, list | str | None):
        assert ours == stock
        assert type(ours) is type(stock)


def test_an_unknown_tensor_is_named(file: Path) -> None:
    with warpload.safe_open(file, "pt") as opened:
        for ask in (opened.get_tensor, opened.get_slice, opened.get_tensor_meta):
            with pytest.raises(safetensors.SafetensorError) as caught:
                ask("no-such-tensor")
            assert caught.value.tensor == "no-such-tensor"


# -- who sees what is written ------------------------------------------------------------------------------------------


def _writes(opened: Any, again: Any) -> dict[str, Any]:
    """Write through one tensor, and tell who sees it."""
    first, second = opened.get_tensor("weight"), opened.get_tensor("weight")
    seen: dict[str, Any] = {"same object": first is second}
    first.t_() if first.dim() == 2 else first.transpose_(0, 1)
    seen["shape of the second"] = tuple(second.shape)
    first[0, 0, 0] = -5
    seen["second"] = second[0, 0, 0].item()
    seen["next"] = opened.get_tensor("weight")[0, 0, 0].item()
    seen["all"] = opened.get_tensors()["weight"][0, 0, 0].item()
    seen["whole slice"] = opened.get_slice("weight")[:][0, 0, 0].item()
    seen["opened again"] = again.get_tensor("weight")[0, 0, 0].item()
    return seen


@pytest.mark.parametrize("backend", ["mmap", "pread"])
def test_tensors_share_memory_where_those_of_safetensors_do(backend: str, file: Path) -> None:
    seen = []
    for library in (warpload, safetensors):
        opened, again = (library.safe_open(file, "pt", backend=backend) for _ in range(2))
        seen.append(_writes(opened, again))
        assert_same_tensors(safetensors.torch.load_file(file), TENSORS)

    assert seen[0] == seen[1]
    assert seen[0]["same object"] is False


@pytest.mark.parametrize("backend", ["mmap", "pread"])
@pytest.mark.parametrize("shift", [0, 1])
def test_each_tensor_owns_exactly_its_memory(shift: int, backend: str, tmp_path: Path) -> None:
    file = tmp_path / "shifted.safetensors"
    save_raw({"a": torch.arange(3.0), "b": torch.arange(5)}, file, shift=shift)
    with warpload.safe_open(file, "pt", backend=backend) as opened:
        tensors = [opened.get_tensor(name) for name in ("a", "b", "a")]
    file.unlink()

    for tensor, expected in zip(tensors, (torch.arange(3.0), torch.arange(5), torch.arange(3.0)), strict=True):
        assert_same_tensor(tensor, expected)
        assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_nobody_sees_tensors_before_their_bytes_are_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads ask an open file first: transformers does so with its own."""
    entered, release = threading.Event(), threading.Event()
    started, waited_before_use = [], []
    start = engine.start

    class Handle:
        def __init__(self, handle: Any) -> None:
            self.handle, self.waited = handle, False

        def wait(self) -> None:
            entered.set()
            assert release.wait(60)
            self.handle.wait()
            self.waited = True

        def __getattr__(self, name: str) -> Any:
            waited_before_use.append(self.waited)
            return getattr(self.handle, name)

    def record(*arguments: Any) -> Any:
        started.append(Handle(start(*arguments)))
        return started[-1]

    monkeypatch.setattr(engine, "start", record)
    opened = warpload.safe_open(file, "pt")
    threads = [threading.Thread(target=opened.get_tensor, args=("weight",)) for _ in range(2)]
    threads[0].start()
    assert entered.wait(60)
    threads[1].start()
    release.set()
    for thread in threads:
        thread.join()

    assert len(started) == 1
    assert waited_before_use
    assert all(waited_before_use)


# -- slices ------------------------------------------------------------------------------------------------------------


class Index:
    """A number by ``__index__``."""

    def __index__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "Index()"  # in the tests' names: without an address, which would differ between processes


s_ = np.s_
INDEXES: list[Any] = [
    *(0, 1, -1, 2, 3, -3, -4, 10**30, Index(), np.int64(1), 1.0, "a", b"a", True, False, None, ...),
    *(s_[:], s_[1:3], s_[0:0], s_[2:1], s_[::2], s_[::1], s_[::-1], s_[::0], s_[5:10], s_[-2:], s_[:-1], s_[-100:100]),
    *(s_[3:3], s_[4:4], s_[0 : 10**30], s_["a":], s_[Index() :], s_[np.int64(1) :]),
    *((), (0,), (0, 1, 2), (0, 1, 2, 3), s_[:, :, :], s_[:, :, :, :], s_[..., 0], s_[0, ...], s_[0, ..., 0]),
    *(s_[..., ...], s_[..., :, :, :, :], s_[None, 0], s_[0, None], s_[0, None, 1], s_[..., None], s_[1:2, 0, :3]),
    *(s_[0, :, -1], s_[:, 10], s_[0, -5], s_[0:0, 0], s_[:, ::2], s_[:, :, -3:-1], s_[True, 0]),
    *([0, 1], [0], [], [True, False, True], [5], ([0, 1], 0), (0, [0, 1]), ([0, 1], [0, 1]), s_[:, [1, 3]]),
    *(torch.tensor(1), torch.tensor([0, 1]), torch.tensor([True, False, True]), np.array([0, 1]), np.array(1)),
    *(s_[:, torch.tensor([0])], range(2), {0}, {}, ((0, 1),), ((0,), 0)),
]


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("index", INDEXES, ids=repr)
def test_every_index_gives_what_it_gives_with_safetensors(index: Any, name: str, file: Path) -> None:
    with warpload.safe_open(file, "pt") as ours, safetensors.safe_open(file, "pt") as stock:
        mine, theirs = (outcome(lambda opened=opened: opened.get_slice(name)[index]) for opened in (ours, stock))

    if isinstance(theirs, Exception):
        assert type(mine) is type(theirs)
        assert str(mine) == str(theirs)
    else:
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        assert torch.equal(mine, theirs)
        assert mine.untyped_storage().nbytes() == mine.nbytes  # ours own what they have, and no more


def test_a_slice_outlives_the_file_as_that_of_safetensors(file: Path) -> None:
    for library in (safetensors, warpload):
        with library.safe_open(file, "pt") as opened:
            part = opened.get_slice("weight")
        assert part.get_shape() == [3, 4, 5]
        assert_same_tensor(part[1:2].clone(), TENSORS["weight"][1:2].clone())


def test_a_backend_that_transformers_would_ask_for_reaches_the_core(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    request = engine.request

    def record(*arguments: Any, **wanted: Any) -> Any:
        asked.append(wanted.get("zero_copy", True))
        return request(*arguments, **wanted)

    monkeypatch.setattr(engine, "request", record)
    with began(warpload.LoadReport("a load")):
        opened = reader.safe_open(safetensors.safe_open, str(file), framework="pt", device="cpu", backend="pread")
        assert isinstance(opened, open_file.TorchFile)
        assert_same_tensor(opened.get_tensor("vector"), TENSORS["vector"])

    assert asked == [False]
