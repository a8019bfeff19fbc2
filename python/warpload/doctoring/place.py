"""A place on a disk: its file system, how much of its weights is in memory already, and what a load from it takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from warpload import mounts, units
from warpload.doctoring.finding import Finding, Section, section
from warpload.doctoring.limits import Limits
from warpload.measuring import page_cache, weights

# Of file systems: reached over a network, or by a process of a user's.
_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "glusterfs", "9p", "virtiofs", "fuse", "fuse.s3fs"}
)
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
# Most of a load without a cast that is not reading: measured with SDXL on two cores.
_BUILDING_SECONDS = 0.3


def weight_files(place: Path) -> list[Path]:
    """Return the safetensors of a file, a model's folder or a pipeline's folder."""
    if place.is_file():
        return [place]
    return sorted({*weights.weight_files(place), *place.glob("*.safetensors")})


def examine(place: Path, files: Sequence[Path], limits: Limits) -> Section:
    """Return what was found of a place.

    Args:
        place: the file or folder.
        files: its weights.
        limits: as measured with these files.
    """
    if not files:
        advice = "name a pipeline's folder, a model's, or a .safetensors file"
        return section(str(place), [Finding("weights", "no safetensors", "bad", advice)])
    return section(str(place), (_weights(files), _file_system(place), _mapping(files), *_times(files, limits)))


def _weights(files: Sequence[Path]) -> Finding:
    return Finding("weights", f"{units.size(weights.total_size(files))} in {units.counted(len(files), 'file')}")


def _file_system(place: Path) -> Finding:
    kind, where = mounts.file_system(place)
    value = f"{kind} at {where}" if kind else "unknown"
    if kind in _REMOTE or kind.startswith("fuse."):
        advice = "pages come one request at a time there: `warpload.prefetch`, or a copy on a local disk"
        return Finding("file system", value, "note", advice)
    if kind in _IN_MEMORY:
        return Finding("file system", value, "note", "its files are memory already: they are not read twice")
    return Finding("file system", value)


def _mapping(files: Sequence[Path]) -> Finding | None:
    if mounts.forbid_mapping(files):
        return Finding(
            "mapping", "not possible there", "note", "tensors are copied out of the files, also without a cast"
        )
    return None


def _times(files: Sequence[Path], limits: Limits) -> list[Finding]:
    state, size = page_cache.cache_state(files), weights.total_size(files)
    missing = size * (1 - state.resident_pages / max(1, state.total_pages))
    findings = [_cache(state, missing)]
    reading = missing / limits.disk if limits.disk else 0.0
    if reading or not missing:
        value = f"about {units.duration(_BUILDING_SECONDS + reading)} and the imports"
        findings.append(Finding("load without a cast", value))
    if limits.first_touch and (reading or not missing):
        casting = _BUILDING_SECONDS + max(reading, size / limits.first_touch)
        value = f"about {units.duration(casting)} and the imports, for a result of {units.size(size)}"
        findings.append(Finding("load with a cast", value))
    return findings


def _cache(state: page_cache.CacheState, missing: float) -> Finding:
    if state.is_warm:
        return Finding("page cache", "all of it is in memory")
    share = f"{state.resident_pages / state.total_pages:.0%} of it is in memory"
    advice = (
        f"the first load reads {units.size(round(missing))} from the disk; `warpload.prefetch` first thing in a script"
    )
    return Finding("page cache", share, "note", f"{advice} does so while it imports")


def rates(limits: Limits) -> Section:
    """Return the limits as findings."""
    copies = f"copies in memory, {units.counted(len(os.sched_getaffinity(0)), 'core')}"
    named = (
        ("new memory", limits.first_touch, "what the result of a cast needs"),
        (copies, limits.copy, "the most that pinned slots pass on"),
        ("disk, past the page cache", limits.disk, "the most that cold files give"),
    )
    told = [Finding(name, f"{units.size(round(rate))}/s: {what}") for name, rate, what in named if rate]
    return section("limits", told)
