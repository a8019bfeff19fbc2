"""The machine: processors, memory, what a container or a limit leaves of them, huge pages."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from warpload import _core, units
from warpload.doctoring.finding import Finding, Section, section
from warpload.measuring import machine

_FEW_FILES = 1024
_CONTROL_GROUP = Path("/sys/fs/cgroup")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def examine() -> Section:
    """Return what was found of the machine."""
    findings = (_processor(), _cores(), _memory(), _swap(), _huge_pages(), _locked(), _open_files(), _load())
    return section("machine", findings)


def _processor() -> Finding:
    return Finding("processor", str(machine.machine_description()["cpu"]))


def _cores() -> Finding:
    allowed, present = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    quota = _quota()
    if quota is not None and quota < allowed:
        advice = f"more threads than that hold one another up: WARPLOAD_THREADS={max(1, round(quota))}"
        return Finding("cores", f"{allowed}, of which a quota allows {quota:g}", "note", advice)
    if allowed < present:
        return Finding("cores", f"{allowed} of {present}", "note", "this process is bound to some of the cores")
    return Finding("cores", str(allowed))


def _quota() -> float | None:
    """Return the processors that the control group allows, or None where it sets no limit."""
    text = _read(_CONTROL_GROUP / "cpu.max").split()
    return int(text[0]) / int(text[1]) if len(text) == 2 and text[0].isdigit() else None


def _memory() -> Finding:
    free, total = _core.available_memory(), int(machine.machine_description()["memory_bytes"])
    limit = _read(_CONTROL_GROUP / "memory.max").strip()
    held = f", the container's limit is {units.size(int(limit))}" if limit.isdigit() else ""
    value = f"{units.size(free)} can be allocated, of {units.size(total)}{held}"
    if free < total / 10:
        advice = "memory is short: a load in another dtype needs as much as its weights, one without a cast hardly any"
        return Finding("memory", value, "bad", advice)
    return Finding("memory", value)


def _swap() -> Finding | None:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("SwapTotal:") and int(line.split()[1]):
            return Finding(
                "swap", units.size(int(line.split()[1]) * 1024), "note", "weights that are swapped out are slow"
            )
    return None


def _huge_pages() -> Finding:
    text = _read(_HUGE_PAGES)
    chosen = text.partition("[")[2].partition("]")[0] or "unknown"
    if chosen == "never":
        advice = f"casts touch their memory in small pages: `echo madvise > {_HUGE_PAGES}` as root makes them faster"
        return Finding("huge pages", chosen, "bad", advice)
    return Finding("huge pages", chosen)


def _locked() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return Finding("memory that may be locked", "without limit")
    return Finding("memory that may be locked", units.size(soft))


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft <= _FEW_FILES:
        advice = f"a model of many shards, loaded twice, comes near it: `ulimit -n {hard}`"
        return Finding("files that may be open", str(soft), "note", advice)
    return Finding("files that may be open", str(soft))


def _load() -> Finding:
    busy, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if busy > cores / 2:
        return Finding(
            "load average", f"{busy:.1f}", "note", "other processes are busy: what is measured here is too slow"
        )
    return Finding("load average", f"{busy:.1f}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
