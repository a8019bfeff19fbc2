"""Stock's own loading code with the core as its reader.

Where stock has to put the tensors into a model itself (a device map over several devices, keys that don't match, a
class with a loader of its own, a single file to be converted), its code runs unchanged and asks the core for the
tensors of a safetensors file. What the core cannot read, and a file that is not valid, goes to stock's reader, which
says what is wrong in its own words.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from .. import engine, hooks
from ..errors import WarploadError


@dataclass
class Reading:
    """What was read during one call of stock's code."""

    files: int = 0
    bytes: int = 0
    oddities: list[str] = field(default_factory=list)


_reading: ContextVar[Reading | None] = ContextVar("warpload_reading", default=None)
_paused: ContextVar[bool] = ContextVar("warpload_reading_paused", default=False)


@contextlib.contextmanager
def reading() -> Iterator[Reading]:
    """Count what the core reads for stock inside the block."""
    seen = Reading()
    token = _reading.set(seen)
    try:
        yield seen
    finally:
        _reading.reset(token)


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Leave all reading inside the block to stock."""
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)


def _count(nbytes: int, oddities: list[str]) -> None:
    if (seen := _reading.get()) is not None:
        seen.files += 1
        seen.bytes += nbytes
        seen.oddities += oddities


def _serves() -> bool:
    return hooks.active() and not _paused.get()


def _is_safetensors_on_cpu(file: Any, device: Any) -> bool:
    return isinstance(file, str | os.PathLike) and str(file).endswith(".safetensors") and str(device) == "cpu"


def load_state_dict(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``diffusers.models.model_loading_utils.load_state_dict``."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def read(*arguments: Any, **keywords: Any) -> Any:
        if not _serves():
            return original(*arguments, **keywords)
        bound = signature.bind(*arguments, **keywords)
        bound.apply_defaults()
        file = bound.arguments["checkpoint_file"]
        if not _is_safetensors_on_cpu(file, bound.arguments.get("map_location", "cpu")):
            return original(*arguments, **keywords)
        from ..files import load_checkpoint

        try:
            checkpoint = engine.open_checkpoint(file)
            tensors = load_checkpoint(checkpoint, disable_mmap=bool(bound.arguments.get("disable_mmap", False)))
        except WarploadError:
            return original(*arguments, **keywords)
        _count(sum(tensor.nbytes for tensor in tensors.values()), [text for _, text in checkpoint.oddities])
        return tensors

    return read


def safe_open(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``transformers.modeling_utils.safe_open``."""

    @functools.wraps(original, updated=())
    def read(filename: Any, framework: Any = None, device: Any = "cpu", **keywords: Any) -> Any:
        def stock() -> Any:
            return original(filename, framework=framework, device=device, **keywords)

        if not _serves() or framework != "pt" or not _is_safetensors_on_cpu(filename, device):
            return stock()
        from ..files import TorchFile

        try:
            opened = TorchFile(filename, device)
        except WarploadError:
            return stock()
        _count(opened.nbytes, opened.oddities)
        return opened

    return read


def thread_pool(original: type) -> type:
    """Make the threads with which stock reads shards belong to the load that started them."""

    class ThreadPoolExecutor(original):  # type: ignore[misc]
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
            return super().submit(contextvars.copy_context().run, function, *arguments, **keywords)

    return ThreadPoolExecutor
