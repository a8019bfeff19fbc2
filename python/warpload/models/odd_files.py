"""Files that are not what writers write: what is told of them, and what stock may make of those that we refuse."""

from __future__ import annotations

from pathlib import Path

from ..errors import FormatError, WarploadError
from .weights import ModelWeights


def told(weights: ModelWeights) -> list[str]:
    """Return what is to be told of a model's files; whether a shard may lie in another folder is stock's own affair."""
    return [text for kind, each in weights.oddities.items() if kind != "path" for text in each]


def told_of_index(path: Path | None) -> list[str]:
    """Return what is odd about an index that stock has read without the core's looking at it.

    What is odd about the shards' headers is told by ``reader``, through which stock reads them.

    Args:
        path: the index; for anything else there is nothing to tell.
    """
    if path is None or path.suffix != ".json":
        return []
    try:
        return told(ModelWeights.open(path))
    except FormatError as fault:
        return [str(fault)]
    except WarploadError:
        return []


def stock_may_take(fault: FormatError, path: Path) -> bool:
    """Tell whether stock may well load a checkpoint that the core refuses.

    An index is Python's to read there, and a shard that is no safetensors file is torch's. Headers are read by the
    safetensors package, which is asked; but what it takes of two tensors of one name is never what was meant.

    Args:
        fault: why the core refuses it.
        path: the file or index.
    """
    if fault.path == str(path) and path.suffix == ".json":
        return True
    if not fault.path.endswith(".safetensors"):
        return True
    if fault.reason.startswith("duplicate key"):
        return False
    import safetensors

    try:
        with safetensors.safe_open(fault.path, framework="pt"):
            return True
    except (safetensors.SafetensorError, OSError):
        return False
