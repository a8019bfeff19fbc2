"""c_interface_ctypes.py LIBRARY: uses libwarpload.so from Python, as a program in another language would.

Writes a safetensors file, loads it with a cast from BF16 to F32 and compares every byte with its own computation; then
looks at the error of a truncated file and at a load that is cancelled. Needs nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import json
import pathlib
import struct
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

OK, FORMAT, CANCELLED, INVALID_ARGUMENT = 0, 1, 5, 6
BF16, F32, I64 = 15, 18, 21
ABI_VERSION = 1
FOREVER = -1

Filter = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)
Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("ordinal", ctypes.c_int32)]


class ErrorDetails(ctypes.Structure):
    _fields_ = [
        ("message", ctypes.c_char_p),
        ("reason", ctypes.c_char_p),
        ("path", ctypes.c_char_p),
        ("tensor", ctypes.c_char_p),
        ("cure", ctypes.c_char_p),
        ("range_begin", ctypes.c_uint64),
        ("range_end", ctypes.c_uint64),
        ("has_range", ctypes.c_int32),
        ("status", ctypes.c_int32),
        ("system_error", ctypes.c_int32),
        ("driver_error", ctypes.c_int32),
    ]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("name_bytes", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("nbytes", ctypes.c_uint64),
        ("shape", ctypes.POINTER(ctypes.c_uint64)),
        ("ndim", ctypes.c_size_t),
        ("dtype", ctypes.c_int32),
        ("device", Device),
    ]


class Memory(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("release", Release),
        ("release_data", ctypes.c_void_p),
    ]


class LoaderOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("device", Device),
        ("driver_library", ctypes.c_char_p),
        ("threads", ctypes.c_size_t),
        ("pinned_bytes", ctypes.c_uint64),
        ("slot_bytes", ctypes.c_uint64),
        ("direct_io", ctypes.c_int32),
        ("device_casts", ctypes.c_int32),
    ]


class LoadOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("tensor_dtypes", ctypes.c_void_p),
        ("tensor_dtype_count", ctypes.c_size_t),
        ("names", ctypes.POINTER(ctypes.c_char_p)),
        ("name_count", ctypes.c_size_t),
        ("filter", Filter),
        ("filter_data", ctypes.c_void_p),
        ("memory", Memory),
        ("stream", ctypes.c_void_p),
        ("deadline_ms", ctypes.c_uint64),
        ("dtype", ctypes.c_int32),
        ("no_views", ctypes.c_int32),
    ]


def require(condition: bool, message: str) -> None:
    """End the program with the message where the condition is false."""
    if not condition:
        sys.exit(f"c_interface_ctypes.py: {message}")


HANDLE = ctypes.c_void_p
OUT = ctypes.c_void_p  # a pointer to what the function sets
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "warpload_version": (ctypes.c_char_p, []),
    "warpload_abi_version": (ctypes.c_int32, []),
    "warpload_error_get": (ctypes.POINTER(ErrorDetails), [HANDLE]),
    "warpload_error_free": (None, [HANDLE]),
    "warpload_checkpoint_open": (ctypes.c_int32, [ctypes.POINTER(ctypes.c_char_p), ctypes.c_size_t, OUT, OUT]),
    "warpload_checkpoint_free": (None, [HANDLE]),
    "warpload_loader_create": (ctypes.c_int32, [ctypes.POINTER(LoaderOptions), OUT, OUT]),
    "warpload_loader_free": (None, [HANDLE]),
    "warpload_load_start": (ctypes.c_int32, [HANDLE, HANDLE, ctypes.POINTER(LoadOptions), OUT, OUT]),
    "warpload_load_wait": (ctypes.c_int32, [HANDLE, ctypes.c_int64, OUT]),
    "warpload_load_cancel": (ctypes.c_int32, [HANDLE, OUT]),
    "warpload_load_tensor_count": (ctypes.c_size_t, [HANDLE]),
    "warpload_load_tensor": (ctypes.c_int32, [HANDLE, ctypes.c_size_t, OUT, OUT]),
    "warpload_load_read": (ctypes.c_int32, [HANDLE, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_uint64, OUT]),
    "warpload_load_free": (None, [HANDLE]),
}


class Library:
    """The functions of libwarpload.so, each called with a place for its error."""

    def __init__(self, path: str) -> None:
        self.functions = ctypes.CDLL(path)
        for name, (result, parameters) in SIGNATURES.items():
            function = getattr(self.functions, name)
            function.restype = result
            function.argtypes = parameters

    def status_of(self, name: str, *arguments: Any) -> tuple[int, ErrorDetails, ctypes.c_void_p]:
        """Call a function that may fail; the details are valid until the third value is freed."""
        error = ctypes.c_void_p()
        status = getattr(self.functions, name)(*arguments, ctypes.byref(error))
        return status, self.functions.warpload_error_get(error).contents, error

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that has to succeed."""
        status, details, _ = self.status_of(name, *arguments)
        require(status == OK, f"{name}: status {status}: {details.message!r}")

    def get(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Call a function that gives a handle."""
        handle = ctypes.c_void_p()
        self.call(name, *arguments, ctypes.byref(handle))
        return handle

    def free(self, kind: str, handle: ctypes.c_void_p) -> None:
        """End a handle."""
        getattr(self.functions, f"warpload_{kind}_free")(handle)

    def open(self, file: pathlib.Path) -> ctypes.c_void_p:
        """Open a file as a checkpoint."""
        return self.get("warpload_checkpoint_open", c_strings([bytes(file)]), 1)

    def start(self, loader: ctypes.c_void_p, checkpoint: ctypes.c_void_p, **options: Any) -> ctypes.c_void_p:
        """Start a load."""
        given = LoadOptions(struct_size=ctypes.sizeof(LoadOptions), **options)
        return self.get("warpload_load_start", loader, checkpoint, ctypes.byref(given))

    def tensors(self, load: ctypes.c_void_p) -> list[Tensor]:
        """All tensors of a load."""
        result = []
        for index in range(self.functions.warpload_load_tensor_count(load)):
            tensor = ctypes.POINTER(Tensor)()
            self.call("warpload_load_tensor", load, index, ctypes.byref(tensor))
            result.append(tensor.contents)
        return result


def c_strings(texts: Sequence[bytes]) -> ctypes.Array[ctypes.c_char_p]:
    """An array of strings."""
    return (ctypes.c_char_p * len(texts))(*texts)


def write_file(path: pathlib.Path, tensors: dict[str, tuple[str, list[int], bytes]]) -> None:
    """Write a safetensors file."""
    header: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_zeros(path: pathlib.Path, count: int) -> None:
    """Write a safetensors file with a large BF16 tensor, as a hole that takes no space on the disk."""
    text = json.dumps({"zeros": {"dtype": "BF16", "shape": [count], "data_offsets": [0, 2 * count]}}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + 2 * count)


def widened(bf16: bytes) -> bytes:
    """The F32 bytes of BF16 ones: the same sixteen bits, above sixteen zeros."""
    halves = struct.unpack(f"<{len(bf16) // 2}H", bf16)
    return struct.pack(f"<{len(halves)}I", *(half << 16 for half in halves))


def check_load(library: Library, loader: ctypes.c_void_p, path: pathlib.Path, weight: bytes, ids: bytes) -> None:
    checkpoint = library.open(path)
    load = library.start(loader, checkpoint, dtype=F32)
    library.free("checkpoint", checkpoint)
    library.call("warpload_load_wait", load, FOREVER)
    expected = {b"weight": (F32, [3, len(weight) // 6], widened(weight)), b"ids": (I64, [len(ids) // 8], ids)}
    tensors = library.tensors(load)
    require([tensor.name for tensor in tensors] == list(expected), "the tensors are not those of the file")
    for index, tensor in enumerate(tensors):
        dtype, shape, content = expected[tensor.name]
        require(tensor.dtype == dtype, f"{tensor.name!r} has dtype {tensor.dtype}")
        require(tensor.shape[: tensor.ndim] == shape, f"{tensor.name!r} has shape {tensor.shape[: tensor.ndim]}")
        require(ctypes.string_at(tensor.data, tensor.nbytes) == content, f"{tensor.name!r} holds other bytes")
        copy = ctypes.create_string_buffer(tensor.nbytes)
        library.call("warpload_load_read", load, index, copy, tensor.nbytes)
        require(copy.raw == content, f"{tensor.name!r} was copied wrongly")
    library.free("load", load)


def check_choice(library: Library, loader: ctypes.c_void_p, path: pathlib.Path) -> None:
    """Names, a callback in Python, and memory of Python's."""
    checkpoint = library.open(path)
    names = c_strings([b"ids", b"weight"])
    memory = ctypes.create_string_buffer(1 << 16)
    released: list[int] = []
    release = Release(released.append)  # has to live until it is called
    load = library.start(
        loader,
        checkpoint,
        names=names,
        name_count=2,
        filter=Filter(lambda tensor, data: ctypes.cast(tensor, ctypes.POINTER(ctypes.c_char_p))[0] == b"ids"),
        memory=Memory(-(-ctypes.addressof(memory) // 256) * 256, 1 << 15, release, 7),
    )
    library.call("warpload_load_wait", load, FOREVER)
    tensors = library.tensors(load)
    require([tensor.name for tensor in tensors] == [b"ids"], "the filter was not asked")
    begin = ctypes.addressof(memory)
    require(begin <= tensors[0].data < begin + len(memory), "the tensor is not in the memory that was given")
    library.free("checkpoint", checkpoint)
    require(released == [], "the memory was released too early")
    library.free("load", load)
    require(released == [7], "the memory was not released once")


def check_error(library: Library, path: pathlib.Path) -> None:
    size = path.stat().st_size
    cut = path.with_name("cut.safetensors")
    cut.write_bytes(path.read_bytes()[:-3])
    handle = ctypes.c_void_p()
    arguments = (c_strings([bytes(cut)]), 1, ctypes.byref(handle))
    status, details, error = library.status_of("warpload_checkpoint_open", *arguments)
    require(status == FORMAT and details.status == FORMAT, f"a truncated file has status {status}")
    require(not handle, "a checkpoint was opened all the same")
    require(details.path == bytes(cut), f"the path is {details.path!r}")
    require(details.tensor == b"ids", f"the tensor is {details.tensor!r}")
    require(details.has_range == 1, "there is no range")
    require((details.range_begin, details.range_end) == (size - 3, size), "the range is not that of the missing bytes")
    require(b"truncated" in details.reason, f"the reason is {details.reason!r}")
    require(details.cure != b"" and details.message.startswith(bytes(cut)), f"the message is {details.message!r}")
    require(details.system_error == 0 and details.driver_error == 0, "there is an error of the system's")
    library.free("error", error)
    status, details, error = library.status_of("warpload_load_wait", None, 0)
    require(status == INVALID_ARGUMENT, f"a null load has status {status}")
    library.free("error", error)


def check_cancel(library: Library, path: pathlib.Path) -> None:
    """A load that waits behind another on the only thread has not begun when it is cancelled."""
    options = LoaderOptions(struct_size=ctypes.sizeof(LoaderOptions), threads=1)
    loader = library.get("warpload_loader_create", ctypes.byref(options))
    large = path.with_name("large.safetensors")
    write_zeros(large, 64 << 20)
    checkpoint = library.open(large)
    first = library.start(loader, checkpoint, dtype=F32)
    second = library.start(loader, checkpoint, dtype=F32)
    library.call("warpload_load_cancel", second)
    status, details, error = library.status_of("warpload_load_wait", second, FOREVER)
    require(status == CANCELLED, f"a load that was cancelled has status {status}")
    require(b"cancelled" in details.message, f"the message is {details.message!r}")
    library.free("error", error)
    library.call("warpload_load_cancel", first)
    status, _, error = library.status_of("warpload_load_wait", first, 60_000)
    require(status in (OK, CANCELLED), f"the other load has status {status}")
    for kind, handle in (("error", error), ("load", first), ("load", second), ("checkpoint", checkpoint)):
        library.free(kind, handle)
    library.free("loader", loader)


def main(path: str) -> None:
    library = Library(path)
    require(library.functions.warpload_abi_version() == ABI_VERSION, "the library has another ABI")
    weight = struct.pack("<3000H", *(index * 21 % 65536 for index in range(3000)))
    ids = struct.pack("<5q", -1, 0, 1, 1 << 40, -(1 << 63))
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.safetensors"
        write_file(file, {"weight": ("BF16", [3, 1000], weight), "ids": ("I64", [5], ids)})
        loader = library.get("warpload_loader_create", None)
        check_load(library, loader, file, weight, ids)
        check_choice(library, loader, file)
        library.free("loader", loader)
        check_error(library, file)
        check_cancel(library, file)
    print(f"warpload {library.functions.warpload_version().decode()}: the C interface works from Python")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: c_interface_ctypes.py LIBRARY")
    main(sys.argv[1])
