"""What a measurement needs to know of the machine and of the files: sizes, memory, processor, kernel.

Imports only the standard library.
"""

from __future__ import annotations

import json
import mmap
import os
import platform
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

_PAGE = mmap.PAGESIZE
_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16}
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".ckpt")


def available_memory() -> int:
    """Return the bytes that can be allocated without swapping; clean page cache counts as available."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")


def weight_files(folder: Path) -> list[Path]:
    """Return the files with weights in a pipeline's folder, at any depth, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix in _WEIGHT_SUFFIXES and path.is_file())


def result_bytes(files: Iterable[Path], element_size: int | None) -> int:
    """Return the memory that the tensors of these files take when loaded.

    Args:
        files: as weight_files returns them; what is not safetensors counts with its size.
        element_size: bytes of a floating-point element after the cast; None keeps the files' own.
    """
    total = 0
    for path in files:
        if path.suffix != ".safetensors" or element_size is None:
            total += path.stat().st_size
            continue
        for entry in _read_header(path).values():
            size = element_size if "F" in entry["dtype"] else _BITS.get(entry["dtype"], 8) // 8
            total += prod(entry["shape"]) * size
    return total


def bytes_by_dtype(path: Path) -> dict[str, int]:
    """Return the bytes that tensors of each dtype have in a file, by the format's code; empty if not safetensors."""
    sizes: dict[str, int] = {}
    if path.suffix == ".safetensors":
        for entry in _read_header(path).values():
            begin, end = entry["data_offsets"]
            sizes[entry["dtype"]] = sizes.get(entry["dtype"], 0) + end - begin
    return sizes


def total_size(files: Iterable[Path]) -> int:
    """Return the size of the files together, in bytes."""
    return sum(path.stat().st_size for path in files)


def _read_header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header


def machine_description() -> dict[str, Any]:
    """Return what figures depend on: processor, cores, memory, kernel."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * _PAGE,
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "transparent_huge_pages": _read_text("/sys/kernel/mm/transparent_hugepage/enabled"),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    for line in _read_text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return "unknown"
