"""The bars that diffusers and transformers show of loads: not beside the one that a load may show of its own.

    Loading pipeline components...    diffusers, of a pipeline's folder and of a single file
    Loading checkpoint shards         diffusers, of a model's files
    Loading weights                   transformers, of a model's tensors

Where no bar of ours is to be shown (nobody watches, it is switched off) the libraries' are as ever; so are those of
what a library loads without the core, and all that count something else, such as downloads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import context, progress_bar

_OF_PIPELINES = "Loading pipeline components..."
_OF_LOADS = frozenset({_OF_PIPELINES, "Loading checkpoint shards", "Loading weights"})


def make(stock: Callable[..., Any], self: Any, *arguments: Any, **keywords: Any) -> Any:
    """Replace what diffusers and transformers make their bars with."""
    description = keywords.get("desc")
    if description in _OF_LOADS and progress_bar.current() is not None and not _is_stocks(description, arguments):
        keywords["disable"] = True
    return stock(self, *arguments, **keywords)


def _is_stocks(description: str, counted: Sequence[Any]) -> bool:
    """Tell whether the core has no part in what a bar counts."""
    if (load := context.current()) is None:
        return True
    if description == _OF_PIPELINES and load.pipeline is not None and load.joint is not None:
        return load.pipeline.folder is not None and not load.joint.has_begun()
    readers = load.reading.readers.values()
    if load.unread or (readers and "native" not in readers):
        return True
    files = counted[0] if counted and isinstance(counted[0], list) else []
    return any(isinstance(file, str) and not file.endswith(".safetensors") for file in files)
