"""A tensor's memory goes exactly once, whatever becomes of the capsule that it travels in.

Each test is a process of its own, which freeing twice would end.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.processes import run_python

# What a consumer sees, by the standard's layout, and how to tell that the file is no longer mapped.
PRELUDE = """
import ctypes, gc, sys
import torch
from torch.utils.dlpack import from_dlpack
from warpload import _core, engine
from support.processes import mapped_files

class Managed(ctypes.Structure):
    pass

Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(Managed))
Managed._fields_ = [
    ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
    ("ndim", ctypes.c_int32), ("dtype", ctypes.c_uint32), ("shape", ctypes.POINTER(ctypes.c_int64)),
    ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64),
    ("context", ctypes.c_void_p), ("deleter", Deleter),
]
address_of = ctypes.pythonapi.PyCapsule_GetPointer
address_of.restype, address_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
name_of = ctypes.pythonapi.PyCapsule_GetName
name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]

def capsules():
    checkpoint = engine.open_checkpoint(sys.argv[1])
    handle = engine.start([engine.request(checkpoint)])
    handle.wait()
    return [capsule for _, _, _, capsule, _ in handle.tensors(0)]

def managed(capsule):
    return Managed.from_address(address_of(capsule, b"dltensor"))

def mapped():
    gc.collect()
    return sys.argv[1] in mapped_files()
"""


def run(code: str, file: Path) -> None:
    run_python(PRELUDE + code, file)


def test_a_capsule_that_nobody_takes_gives_the_memory_back(mixed: Path) -> None:
    run("kept = capsules()\nassert mapped()\ndel kept\nassert not mapped()", mixed)


def test_a_tensor_outlives_its_capsule(mixed: Path) -> None:
    run(
        """
tensors = [from_dlpack(capsule) for capsule in capsules()]
assert mapped()
del tensors
assert not mapped()
""",
        mixed,
    )


def test_a_capsule_outlives_its_tensor(mixed: Path) -> None:
    run(
        """
kept = capsules()
tensors = [from_dlpack(capsule) for capsule in kept]
del tensors
assert not mapped()
assert {name_of(capsule) for capsule in kept} == {b"used_dltensor"}
del kept
""",
        mixed,
    )


def test_torch_may_throw_after_it_has_run_the_deleter(mixed: Path) -> None:
    """Its from_dlpack does so where it cannot make strides, and leaves the capsule's name as it was."""
    run(
        """
kept = capsules()
shape = (ctypes.c_int64 * 3)(0, (1 << 63) - 1, 2)
for capsule in kept:
    tensor = managed(capsule)
    tensor.ndim, tensor.shape, tensor.strides = 3, shape, None
    try:
        from_dlpack(capsule)
    except RuntimeError as error:
        assert "Stride calculation overflowed" in str(error), error
    else:
        raise AssertionError("taken")
    assert name_of(capsule) == b"dltensor"
assert not mapped()
del kept, capsule, tensor
again = [from_dlpack(capsule) for capsule in capsules()]
assert mapped()
""",
        mixed,
    )


def test_torch_may_throw_before_it_takes_anything(mixed: Path) -> None:
    run(
        """
kept = capsules()
for capsule in kept:
    managed(capsule).dtype = 0x000120FF  # no code of the standard
    try:
        from_dlpack(capsule)
    except (RuntimeError, BufferError):
        continue
    raise AssertionError("taken")
assert mapped()
del kept, capsule
assert not mapped()
""",
        mixed,
    )


def test_a_consumer_may_run_the_deleter_more_than_once_while_the_capsule_lives(mixed: Path) -> None:
    run(
        """
kept = capsules()
for capsule in kept:
    tensor = managed(capsule)
    for _ in range(3):
        tensor.deleter(ctypes.byref(tensor))
assert not mapped()
del kept, capsule, tensor
""",
        mixed,
    )


def test_a_lack_of_memory_at_any_step_of_making_capsules_leaves_nothing_behind(mixed: Path) -> None:
    """Every allocation of Python's in turn fails, until none is left that could."""
    pytest.importorskip("_testcapi", reason="this Python comes without its test module")
    run(
        """
import _testcapi
checkpoint = engine.open_checkpoint(sys.argv[1])
handle = engine.start([engine.request(checkpoint)])
handle.wait()
failures = 0
while True:
    described = None
    try:
        _testcapi.set_nomemory(failures)
        described = handle.tensors(0)
    except MemoryError:
        failures += 1
        continue
    finally:
        _testcapi.remove_mem_hooks()
    break
assert failures > len(described) > 0, failures
del described, handle, checkpoint
assert not mapped()
""",
        mixed,
    )
