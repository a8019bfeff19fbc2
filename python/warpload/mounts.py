"""File systems whose files must not be mapped: transformers finds them by itself, and so does the core's caller."""

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


def _unmappable_folders() -> dict[str, bool]:
    """Return every place that something is mounted at, and whether its files must not be mapped; empty for none."""
    try:
        text = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return {}
    if _UNMAPPABLE not in text:
        return {}
    entries = (line.split() for line in text.splitlines())
    return {_unescaped(entry[1]): entry[0] == _UNMAPPABLE for entry in entries if len(entry) > 1}


def _unescaped(place: str) -> str:
    for code in ("\\040", "\\011", "\\012", "\\134"):
        place = place.replace(code, chr(int(code[1:], 8)))
    return place


def _is_below(file: str, folders: dict[str, bool]) -> bool:
    """Tell what holds for the innermost place that a file is below."""
    places = [place for place in folders if file.startswith(place.rstrip("/") + "/")]
    return bool(places) and folders[max(places, key=len)]
