"""Whether the Hub's cache holds all of a model: its configuration, and every shard that stock would take."""

from __future__ import annotations

import os
from pathlib import Path

from . import diffusers, model_files, transformers
from .hub import Snapshot, inside


def has_model(snapshot: Snapshot, subfolder: str | None, variant: str | None) -> bool:
    """Tell whether a model is complete: its configuration, and all shards of the weights that stock would take."""
    if not snapshot.has(inside(subfolder, "config.json")):
        return False
    for name in (
        *diffusers.weight_names(variant),
        *transformers.weight_names(variant),
    ):  # one that the cache lacks may be the one to take
        if name in _listed(snapshot, subfolder) and not snapshot.has(inside(subfolder, name)):
            return False
    folder = snapshot.folder / (subfolder or "")
    for find in (diffusers.weights_file, transformers.weights_file):
        path = find(folder, variant)
        if path is not None:
            return has_weights(snapshot, path)
    return False


def has_weights(snapshot: Snapshot, path: Path) -> bool:
    """Tell whether a weight file of the snapshot's, or an index with every shard that it names, is complete."""
    shards = model_files.shards_of(path)
    return bool(shards) and all(
        snapshot.has(os.path.relpath(shard, snapshot.folder).replace(os.sep, "/")) for shard in {path, *shards}
    )


def _listed(snapshot: Snapshot, subfolder: str | None) -> set[str]:
    prefix = inside(subfolder, "")
    return {name.removeprefix(prefix) for name in snapshot.listing or () if name.startswith(prefix)}
