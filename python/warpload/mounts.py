"""Mounted file systems: which one a file lies on, and those whose files must not be mapped.

transformers finds the latter by itself, and so does the core's caller.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_MOUNTS = Path("/proc/mounts")
# hf-mount's readahead deadlocks where several threads touch pages of a mapping at once.
_UNMAPPABLE = "hf-mount"


def forbid_mapping(files: Iterable[Path]) -> bool:
    """Tell whether one of the files, wherever links lead, lies on such a file system."""
    folders = _unmappable_folders()
    return bool(folders) and any(_is_below(os.path.realpath(file), folders) for file in files)


def file_system(place: Path) -> tuple[str, str]:
    """Return the kind of file system that a file or folder lies on, and its mount point; empty where unknown."""
    try:
        text = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return "", ""
    entries = [line.split() for line in text.splitlines()]
    kinds = {_unescaped(entry[1]): entry[2] for entry in entries if len(entry) > 2}
    inside = os.path.join(os.path.realpath(place), "")
    found = [point for point in kinds if inside.startswith(point.rstrip("/") + "/")]
    innermost = max(found, key=len, default="")
    return kinds.get(innermost, ""), innermost


def _unmappable_folders() -> dict[str, bool]:
    """Return every mount point, and whether the files below it must not be mapped; empty where all may be."""
    try:
        text = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return {}
    if _UNMAPPABLE not in text:
        return {}
    entries = (line.split() for line in text.splitlines())
    return {_unescaped(entry[1]): entry[0] == _UNMAPPABLE for entry in entries if len(entry) > 1}


def _unescaped(mount_point: str) -> str:
    for code in ("\\040", "\\011", "\\012", "\\134"):
        mount_point = mount_point.replace(code, chr(int(code[1:], 8)))
    return mount_point


def _is_below(file: str, folders: dict[str, bool]) -> bool:
    """Tell whether the innermost mount point that a file lies below is one of those whose files must not be mapped."""
    mount_points = [each for each in folders if file.startswith(each.rstrip("/") + "/")]
    return bool(mount_points) and folders[max(mount_points, key=len)]
