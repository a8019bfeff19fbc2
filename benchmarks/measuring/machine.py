"""What a measurement needs to know of the machine: memory, room on the disk, processor, kernel.

Imports only the standard library.
"""

from __future__ import annotations

import mmap
import os
import platform
import shutil
from pathlib import Path
from typing import Any

_PAGE = mmap.PAGESIZE


def available_memory() -> int:
    """Return the bytes that can be allocated without swapping; clean page cache counts as available."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")


def free_disk(folder: Path) -> int:
    """Return the bytes free on the file system that the folder is on or will be on."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


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
