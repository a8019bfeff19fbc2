"""The GPU: its driver, asked as the core asks it, without torch and without a context on any device."""

from __future__ import annotations

import ctypes
import importlib.metadata

from warpload import units
from warpload.doctoring import libraries
from warpload.doctoring.finding import Finding, Section, section

_LIBRARY = "libcuda.so.1"


def examine() -> Section:
    """Return what was found of the driver and its devices."""
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return section("GPU", [_no_driver()])
    if (code := driver.cuInit(0)) != 0:
        advice = "the driver is installed and does not work: see `nvidia-smi`, or how the container is given its GPUs"
        return section("GPU", [Finding("driver", f"cuInit fails with {code}", "bad", advice)])
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    driver.cuDeviceGetCount(ctypes.byref(count))
    known = Finding("driver", f"for CUDA {version.value // 1000}.{version.value % 1000 // 10}")
    return section("GPU", [known, *(_device(driver, ordinal) for ordinal in range(count.value))])


def _no_driver() -> Finding:
    if _torch_is_for_cuda():
        advice = "torch is built for CUDA: install NVIDIA's driver, or give the container its GPUs (`--gpus all`)"
        return Finding("driver", f"none ({_LIBRARY} is not found)", "note", advice)
    return Finding("driver", "none: models load to the CPU")


def _torch_is_for_cuda() -> bool:
    try:
        importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return False
    return "CUDA" in libraries.torch_build()


def _device(driver: ctypes.CDLL, ordinal: int) -> Finding:
    device, size = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGet(ctypes.byref(device), ordinal)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    return Finding(f"cuda:{ordinal}", f"{name.value.decode(errors='replace')}, {units.size(size.value)}")
