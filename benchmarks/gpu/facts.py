"""What the machine is and does, noted one fact a line; needs the standard library alone, so that it can come first.

Each fact is asked for by itself: one that cannot be had is noted with the reason and keeps no other back.
"""

from __future__ import annotations

import ctypes
import importlib.util
import mmap
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .journal import Journal

TOUCHED_BYTES = 60 << 30
_LEFT_BYTES = 8 << 30  # of the available memory, for the rest of the machine
_TOUCH_PIECE = 256 << 20
_TOUCH_SECONDS = 8.0  # in a virtual machine the first touch of memory can take most of a second a GiB
_TOUCH_THREADS = 16
_PROBE_BYTES = 64 << 20
_IDLE_SECONDS = 2.5  # some kernels write off pages of the page cache that were not used for two seconds
_MEMORY_KEYS = ("MemTotal", "MemFree", "MemAvailable", "Cached", "AnonHugePages", "Mlocked")
_PACKAGES = ("torch", "transformers", "accelerate", "huggingface_hub", "safetensors", "diffusers", "numpy", "pytest")
COMPILED_PACKAGES = ("torch", "transformers")
_OF_THE_LINE = {"kind", "step", "rehearsal", "at", "name", "seconds"}  # keys that are not the fact's own
_PCI = ("name", "driver_version", "memory.total", "memory.used", "persistence_mode", "pcie.link.gen.current",
        "pcie.link.gen.max", "pcie.link.width.current", "pcie.link.width.max")  # fmt: skip


def note_facts(journal: Journal, folder: Path, touched_bytes: int) -> None:
    """Note everything.

    Args:
        journal: gets the facts.
        folder: where the models will be; the file system is asked there.
        touched_bytes: how much memory to touch, as far as it is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts: tuple[tuple[str, Callable[[], dict[str, Any]]], ...] = (
        ("machine", machine),
        ("gpu", gpu),
        ("packages", packages),
        ("bytecode", bytecode),
        ("file system", lambda: file_system(folder)),
        ("huge pages", huge_pages),
        ("limits", limits),
        ("memory", lambda: memory(touched_bytes)),
        ("O_DIRECT", lambda: direct_reads(folder)),
        ("mincore", lambda: page_cache(folder)),
        ("device", device),
    )
    for name, ask in facts:
        note(journal, name, ask)


def note(journal: Journal, name: str, ask: Callable[[], dict[str, Any]]) -> None:
    """Note one fact, or why it cannot be had."""
    begin = time.monotonic()
    try:
        found = ask()
    except Exception as error:  # whatever it is: the next fact is wanted
        found = {"error": f"{type(error).__name__}: {error}"}
    seconds = round(time.monotonic() - begin, 3)
    if _OF_THE_LINE & found.keys():
        found = {"content": found}
    journal.add("fact", name=name, seconds=seconds, **found)
    print(f"{name}: {found}", flush=True)


def machine() -> dict[str, Any]:
    """Return processor, memory, kernel and toolchain."""
    return {
        "cpu": next(
            (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if "model name" in line), "unknown"
        ),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "kernel": platform.release(),
        "system": next((line[13:-1] for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME=")), ""),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "compilers": {name: _first_line(name, "--version") for name in ("g++", "nvcc", "cmake", "ninja")},
        "memory": _memory(),
    }


def gpu() -> dict[str, Any]:
    """Return the link to the GPU as nvidia-smi tells it; an idle one may have gone to a slower generation."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_PCI)}", "--format=csv,noheader,nounits"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if result.returncode != 0:
        raise OSError(f"nvidia-smi: {(result.stdout + result.stderr).strip()}")
    found = dict(zip(_PCI, (word.strip() for word in result.stdout.splitlines()[0].split(",")), strict=True))
    return {"gpu": found.pop("name"), **found}  # a fact's own name is in its line already


def packages() -> dict[str, Any]:
    """Return the versions of what is installed already."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, Any] = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def bytecode() -> dict[str, Any]:
    """Return whether Python finds compiled code of what is imported most; without, imports take far longer."""
    specs = {name: importlib.util.find_spec(name) for name in COMPILED_PACKAGES}
    cached = {
        name: os.path.exists(importlib.util.cache_from_source(spec.origin)) if spec and spec.origin else None
        for name, spec in specs.items()
    }
    return {"cached": cached, "written": not sys.dont_write_bytecode, "folder": sys.pycache_prefix}


def device() -> dict[str, Any]:
    """Return the GPU's name, as the results' file has it, by torch; last, as torch takes seconds to import."""
    import torch

    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not torch.cuda.is_available():
        return {"gpu": "none (CPU)", "driver": "none", "torch": torch.__version__}
    driver = gpu()["driver_version"]
    properties = torch.cuda.get_device_properties(0)
    return {
        "gpu": torch.cuda.get_device_name(0),
        "driver": driver,
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "device_bytes": properties.total_memory,
    }


def file_system(folder: Path) -> dict[str, Any]:
    """Return what the folder lies on."""
    usage = shutil.disk_usage(folder)
    mounts = [line.split()[:4] for line in _lines("/proc/mounts")]
    inside = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    source, point, kind, options = max(inside, key=lambda mount: len(mount[1]))
    return {
        "source": source, "mounted_at": point, "type": kind, "options": options, "total_bytes": usage.total,
        "free_bytes": usage.free, "read_ahead_kib": _read_ahead(folder),
    }  # fmt: skip


def huge_pages() -> dict[str, Any]:
    """Return how the kernel gives huge pages."""
    root = Path("/sys/kernel/mm/transparent_hugepage")
    return {name: _text(root / name) for name in ("enabled", "defrag", "shmem_enabled")}


def limits() -> dict[str, Any]:
    """Return what this process may lock and open, and what its control group may have."""
    return {
        "locked_memory": resource.getrlimit(resource.RLIMIT_MEMLOCK),
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "cgroup_memory": _text(Path("/sys/fs/cgroup/memory.max")),
        "user": os.getuid(),
    }


def memory(wanted: int) -> dict[str, Any]:
    """Touch memory by many threads, for some seconds at most; return its state before, then and afterwards."""
    before = _memory()
    room = max(0, before.get("MemAvailable", 0) - _LEFT_BYTES)
    piece = min(_TOUCH_PIECE, max(wanted, mmap.PAGESIZE))
    count = min(wanted, room) // piece
    if count == 0:
        return {"before": before, "touched_bytes": 0, "error": f"{room} bytes are free for it"}
    area = mmap.mmap(-1, count * piece, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_HUGEPAGE)
    begin = time.monotonic()

    def touch(number: int) -> int:
        if time.monotonic() - begin > _TOUCH_SECONDS:
            return 0
        address = ctypes.addressof(ctypes.c_char.from_buffer(area, number * piece))
        ctypes.memset(address, 1, piece)  # without the interpreter's lock
        return piece

    with ThreadPoolExecutor(min(_TOUCH_THREADS, len(os.sched_getaffinity(0)))) as executor:
        touched = sum(executor.map(touch, range(count)))
    seconds = time.monotonic() - begin
    held = _memory()
    area.close()
    return {
        "before": before, "touched_bytes": touched, "touch_seconds": seconds, "gbps": touched / seconds / 1e9,
        "touched": held, "after": _memory(),
    }  # fmt: skip


def direct_reads(folder: Path) -> dict[str, Any]:
    """Read a file past the page cache with several alignments, and time pieces of 1 MiB into huge pages."""
    file = folder / "probe"
    _write_probe(file)
    buffer = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    buffer.madvise(mmap.MADV_HUGEPAGE)
    found: dict[str, Any] = {}
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT)
        try:
            with memoryview(buffer) as view:
                for alignment in (512, 4096):
                    for what, offset in (("offset", alignment), ("memory", 0)):
                        begin = alignment if what == "memory" else 0
                        found[f"{what} at {alignment}"] = _read_result(descriptor, view[begin : begin + 4096], offset)
                begin = time.monotonic()
                done = sum(os.preadv(descriptor, [view[: 1 << 20]], at) for at in range(0, _PROBE_BYTES, 1 << 20))
                found["one_thread_gbps"] = done / (time.monotonic() - begin) / 1e9
        finally:
            os.close(descriptor)
    finally:
        file.unlink()
    return found


def page_cache(folder: Path) -> dict[str, Any]:
    """Say by mincore what stays of a file in the page cache: written, evicted, read, and idle for some seconds."""
    file = folder / "probe"
    found = {}
    try:
        _write_probe(file)
        found["written"] = _resident_share(file)
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        found["evicted"] = _resident_share(file)
        os.pread(descriptor, 4096, 0)
        found["one_page_read"] = _resident_share(file)
        os.close(descriptor)
        file.read_bytes()
        found["read"] = _resident_share(file)
        time.sleep(_IDLE_SECONDS)
        found[f"idle_{_IDLE_SECONDS}_s"] = _resident_share(file)
    finally:
        file.unlink(missing_ok=True)
    return found


def _write_probe(file: Path) -> None:
    with file.open("wb") as stream:
        stream.write(os.urandom(1 << 20) * (_PROBE_BYTES >> 20))
        stream.flush()
        os.fsync(stream.fileno())


def _read_result(descriptor: int, view: memoryview, offset: int) -> str:
    try:
        return f"{os.preadv(descriptor, [view], offset)} bytes"
    except OSError as error:
        return os.strerror(error.errno or 0)


def _resident_share(file: Path) -> float:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    size = file.stat().st_size
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), size, flags=mmap.MAP_PRIVATE, prot=3) as mapping:
        states = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        if libc.mincore(address, size, states) != 0:
            raise OSError(ctypes.get_errno(), "mincore")
    return sum(state & 1 for state in states.raw) / len(states.raw)


def _memory() -> dict[str, int]:
    pairs = (line.split(":") for line in _lines("/proc/meminfo"))
    return {key: int(value.split()[0]) * 1024 for key, value in pairs if key in _MEMORY_KEYS}


def _read_ahead(folder: Path) -> str:
    number = folder.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    for place in (device, device / ".."):  # a partition has the queue of its disk
        if (place / "queue/read_ahead_kb").exists():
            return _text(place / "queue/read_ahead_kb")
    return "unknown"


def _first_line(*command: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return "missing"
    lines = result.stdout.strip().splitlines() or ["?"]
    return lines[-1] if command[0] == "nvcc" else lines[0]


def _lines(path: str) -> list[str]:
    return _text(Path(path)).splitlines()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "unknown"
