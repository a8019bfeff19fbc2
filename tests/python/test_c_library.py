"""The C++ library in the wheel, used from Python as other frameworks would: its tensors arrive by DLPack."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from support.compare import assert_same_tensor
from support.tensors import FLOATING, OTHERS, random_tensor
from warpload import _core

LIBRARY = Path(_core.__file__).parent / "lib" / "libwarpload.so"
CAPSULE_NAME = b"dltensor_versioned"  # has to outlive every capsule


class Exported:
    """What a framework's `from_dlpack` asks for; the capsule is handed over once."""

    def __init__(self, managed: int) -> None:
        new_capsule = ctypes.pythonapi.PyCapsule_New
        new_capsule.restype = ctypes.py_object
        new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self._capsule = new_capsule(managed, CAPSULE_NAME, None)

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


class Load:
    """A load through the C interface."""

    def __init__(self, library: ctypes.CDLL, file: Path) -> None:
        self._library = library
        self._handles: dict[str, ctypes.c_void_p] = {}
        path = (ctypes.c_char_p * 1)(bytes(file))
        self._make("checkpoint", library.warpload_checkpoint_open, path, ctypes.c_size_t(1))
        self._make("loader", library.warpload_loader_create, None)
        self._make("load", library.warpload_load_start, self._handles["loader"], self._handles["checkpoint"], None)

    def _make(self, kind: str, function: Any, *arguments: Any) -> None:
        handle = ctypes.c_void_p()
        assert function(*arguments, ctypes.byref(handle), None) == 0
        self._handles[kind] = handle

    def export(self, name: str) -> Exported:
        count = self._library.warpload_load_tensor_count(self._handles["load"])
        for index in range(count):
            tensor = ctypes.POINTER(ctypes.c_char_p)()
            found = self._library.warpload_load_tensor(
                self._handles["load"], ctypes.c_size_t(index), ctypes.byref(tensor), None
            )
            assert found == 0
            if tensor[0] == name.encode():  # the first field
                managed = ctypes.c_void_p()
                arguments = (self._handles["load"], ctypes.c_size_t(index), ctypes.byref(managed), None)
                assert self._library.warpload_load_dlpack(*arguments) == 0
                assert managed.value is not None
                return Exported(managed.value)
        raise KeyError(name)

    def free(self) -> None:
        for kind in ("load", "loader", "checkpoint"):
            getattr(self._library, f"warpload_{kind}_free")(self._handles.pop(kind))


@pytest.fixture
def library() -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(LIBRARY))
    loaded.warpload_load_tensor_count.restype = ctypes.c_size_t
    for kind in ("load", "loader", "checkpoint"):
        getattr(loaded, f"warpload_{kind}_free").restype = None
    return loaded


@pytest.mark.parametrize("dtype", FLOATING + OTHERS, ids=str)
def test_torch_takes_every_dtype_and_keeps_it_after_the_load_is_freed(
    dtype: torch.dtype, tmp_path: Path, library: ctypes.CDLL
) -> None:
    file = tmp_path / "model.safetensors"
    expected = {"weight": random_tensor(dtype, (3, 5), 1), "scalar": random_tensor(dtype, (), 2)}
    safetensors.torch.save_file(expected, file)

    load = Load(library, file)
    if not hasattr(torch._C, "_to_dlpack_versioned"):  # before 2.9 torch neither gives nor takes what has a version
        with pytest.raises(RuntimeError, match="invalid capsule"):
            torch.from_dlpack(load.export("weight"))
        load.free()
        return
    loaded = {name: torch.from_dlpack(load.export(name)) for name in expected}
    load.free()

    for name, tensor in expected.items():
        assert_same_tensor(loaded[name], tensor, name)


def test_numpy_takes_a_tensor_without_a_copy(tmp_path: Path, library: ctypes.CDLL) -> None:
    file = tmp_path / "model.safetensors"
    weight = torch.arange(15, dtype=torch.float32).reshape(3, 5)
    safetensors.torch.save_file({"weight": weight}, file)

    load = Load(library, file)
    first, second = (np.from_dlpack(load.export("weight")) for _ in range(2))
    load.free()

    assert np.array_equal(first, weight.numpy())
    assert first.ctypes.data == second.ctypes.data


def test_library_and_package_have_one_version(library: ctypes.CDLL) -> None:
    library.warpload_version.restype = ctypes.c_char_p
    assert library.warpload_version().decode() == _core.__version__
