"""The Hub's cache on this machine, looked at without asking the Hub.

Stock asks the Hub at every load whether there is something newer. Where the cache holds all that a load needs, we
don't: the load is done as with ``local_files_only=True``, and only if that fails is the Hub asked.

    models--OWNER--NAME/
      refs/main                   the commit that a branch pointed to when it was last fetched
      snapshots/COMMIT/...        links into blobs/
      trees/COMMIT.json           the repository's files with their sizes, where a whole snapshot was fetched
      .no_exist/COMMIT/...        files that were asked for and are not in the repository
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import WarploadError
from . import model_files, seam_check
from .refusal import NotNativeError

# Why a model is left to stock, which asks the Hub.
NOT_CACHED = "not in the cache yet"
# Of huggingface_hub's listings; of another format we know nothing.
_LISTING_FORMAT = 1
_CONSTANTS = "huggingface_hub.constants"


class Snapshot:
    """One commit of a repository, as far as the cache has it.

    Attributes:
        folder: where its files are. It may hold only some of them, and links that lead nowhere.
    """

    def __init__(self, repository: Path, commit: str) -> None:
        self.folder = repository / "snapshots" / commit
        self._repository, self._commit = repository, commit

    @functools.cached_property
    def listing(self) -> dict[str, int] | None:
        """The repository's files at this commit with their sizes, or None where the cache does not know them all."""
        kept = model_files.read_json(self._repository / "trees" / f"{self._commit}.json") or {}
        listed = kept.get("files")
        if kept.get("format_version") != _LISTING_FORMAT or not isinstance(listed, dict):
            return None
        sizes: dict[str, Any] = {name: isinstance(it, dict) and it.get("size") for name, it in listed.items()}
        return sizes if all(type(size) is int for size in sizes.values()) else None

    def has(self, name: str) -> bool:
        """Tell whether a file is here, all of it: of the listed size, or else not empty."""
        path = self.folder / name
        try:
            status = path.stat()
            blob = os.readlink(path) if path.is_symlink() else ""
        except (OSError, ValueError):  # a NUL in a name
            return False
        if not stat.S_ISREG(status.st_mode) or blob.endswith(".incomplete"):
            return False
        listed = None if self.listing is None else self.listing.get(name)
        return status.st_size > 0 if listed is None else status.st_size == listed

    def lacks(self, name: str) -> bool:
        """Tell whether it is known that the repository has no such file."""
        if self.listing is not None:
            return name not in self.listing
        return (self._repository / ".no_exist" / self._commit / name).is_file()

    def has_or_lacks(self, name: str) -> bool:
        """Tell whether nobody need ask for a file that may be in the repository or not."""
        return self.has(name) or (not os.path.lexists(self.folder / name) and self.lacks(name))


def is_offline() -> bool:
    """Tell whether the Hub is not to be asked at all (``HF_HUB_OFFLINE``)."""
    return _knows_the_cache() and bool(seam_check.read(_CONSTANTS, "is_offline_mode")())


def _knows_the_cache() -> bool:
    """Tell whether this huggingface_hub keeps its cache as we know it."""
    try:
        seam_check.read(_CONSTANTS, "HF_HUB_CACHE")
    except NotNativeError:
        return False
    return seam_check.is_whole("cache")


def is_repository(source: Any) -> bool:
    """Tell whether a source is meant as a repository's id: it looks like one and is no folder here."""
    return isinstance(source, str) and len(source) > 0 and source.count("/") <= 1 and not os.path.exists(source)


def cached_snapshot(source: Any, options: Mapping[str, Any]) -> Snapshot | None:
    """Return what the cache has of a repository's revision, or None where that is nothing.

    A branch or tag means the commit that it pointed to when it was last fetched.

    Args:
        source: as given to ``from_pretrained``.
        options: its keyword arguments; ``revision``, ``cache_dir``, ``force_download`` and a ``local_files_only=False``
            that asks for the Hub count.
    """
    if options.get("force_download") or options.get("local_files_only") is False:
        return None
    root = cached_repository(source, options)
    if root is None:
        return None
    commit = str(options.get("revision") or "main")
    with contextlib.suppress(OSError, ValueError):  # a commit's hash names the snapshot itself
        commit = (root / "refs" / commit).read_text(encoding="utf-8").strip()
    if not commit:
        return None
    snapshot = Snapshot(root, commit)
    return snapshot if snapshot.folder.is_dir() else None


def cached_repository(source: Any, options: Mapping[str, Any]) -> Path | None:
    """Return where the cache keeps, or would keep, a repository; None where the source is none.

    Args:
        source: as given to ``from_pretrained``.
        options: its keyword arguments, of which ``cache_dir`` counts.
    """
    if not is_repository(source) or not _knows_the_cache():
        return None
    cache = options.get("cache_dir")
    if cache is None:
        cache = seam_check.read(_CONSTANTS, "HF_HUB_CACHE")
    return Path(cache).expanduser() / f"models--{source.replace('/', '--')}"


def inside(subfolder: str | None, name: str) -> str:
    """Return a file's name as the listing has it."""
    return f"{subfolder.strip('/')}/{name}" if subfolder else name


def from_cache_first(load: Callable[..., Any], complete: bool, options: Mapping[str, Any]) -> Any:
    """Call ``load`` with ``local_files_only=True`` where the cache is complete; let it ask the Hub if that fails."""
    if not complete or options.get("local_files_only"):
        return load(**options)
    try:
        return load(**{**options, "local_files_only": True})
    except WarploadError:
        raise
    except OSError:
        return load(**options)  # a file was missing that nobody could know of
