"""The Hub's cache on this machine, looked at without asking the Hub.

Stock asks the Hub at every load whether there is something newer. Where the cache holds all that a load needs, we
don't: the load is done as with ``local_files_only=True``, and only if that fails is the Hub asked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import WarploadError
from .models import files


def is_repository(source: Any) -> bool:
    """Tell whether a source is meant as a repository's id: it looks like one and is no folder here."""
    return isinstance(source, str) and len(source) > 0 and source.count("/") <= 1 and not os.path.exists(source)


def cached_snapshot(source: Any, options: Mapping[str, Any]) -> Path | None:
    """Return the folder in which the cache keeps a repository's revision, or None where it has none.

    The folder may hold only some of the repository's files. A branch or tag means the commit that it pointed to when
    it was last fetched.

    Args:
        source: as given to ``from_pretrained``.
        options: its keyword arguments; ``revision``, ``cache_dir``, ``force_download`` and a ``local_files_only=False``
            that asks for the Hub count.
    """
    if not is_repository(source) or options.get("force_download") or options.get("local_files_only") is False:
        return None
    cache = options.get("cache_dir")
    if cache is None:
        from huggingface_hub import constants

        cache = constants.HF_HUB_CACHE
    root = Path(cache).expanduser() / f"models--{source.replace('/', '--')}"
    commit = str(options.get("revision") or "main")
    with contextlib.suppress(OSError):  # a commit's hash names the snapshot itself
        commit = (root / "refs" / commit).read_text(encoding="utf-8").strip()
    folder = root / "snapshots" / commit
    return folder if folder.is_dir() else None


def has_model(folder: Path, variant: str | None) -> bool:
    """Tell whether a model's folder is complete: its configuration, and all shards of its weights."""
    if not (folder / "config.json").is_file():
        return False
    for find in (files.find_diffusers_weights, files.find_transformers_weights):
        path = find(folder, variant)
        if path is not None:
            return files.shards_are_there(path)
    return False


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
