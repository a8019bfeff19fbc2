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
import importlib
import inspect
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .. import engine, hooks, modes
from ..errors import WarploadError

if TYPE_CHECKING:
    import torch


@dataclass
class Reading:
    """What was read during one call of stock's code.

    Attributes:
        files: how many the core read.
        bytes: of tensor data in them.
        readers: who read each file, by its name, in the words of ``LoadReport.components``.
    """

    files: int = 0
    bytes: int = 0
    oddities: list[str] = field(default_factory=list)
    readers: dict[str, str] = field(default_factory=dict)


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


def _count(file: Any, nbytes: int, oddities: list[str]) -> None:
    if (seen := _reading.get()) is not None:
        seen.files += 1
        seen.bytes += nbytes
        seen.readers[os.path.basename(file)] = "native"
        seen.oddities += oddities


def _leave_to_stock(file: Any, reason: str) -> None:
    if (seen := _reading.get()) is not None and isinstance(file, str | os.PathLike):
        seen.readers[os.path.basename(file)] = f"stock: {reason}"


def _serves() -> bool:
    return hooks.active() and not _paused.get() and modes.interposed() is None


def _why_not(file: Any, device: Any) -> str:
    """Say why the core does not read a file for stock's code, or the empty string if it does."""
    if not (isinstance(file, str | os.PathLike) and str(file).endswith(".safetensors")):
        return "no safetensors"
    return "" if str(device) == "cpu" else f"device {device}"


def load_state_dict(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``diffusers.models.model_loading_utils.load_state_dict``."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def read(*arguments: Any, **keywords: Any) -> Any:
        if not _serves():
            return original(*arguments, **keywords)
        bound = signature.bind(*arguments, **keywords)
        bound.apply_defaults()
        arguments_given = bound.arguments
        tensors = _read(
            arguments_given["checkpoint_file"],
            arguments_given.get("map_location", "cpu"),
            disable_mmap=bool(arguments_given.get("disable_mmap", False)),
        )
        return original(*arguments, **keywords) if tensors is None else tensors

    return read


def _read(file: Any, device: Any, *, disable_mmap: bool = False) -> dict[str, torch.Tensor] | None:
    """Return a file's tensors, or None where stock is to read it, and to say what is wrong with it."""
    reason = _why_not(file, device)
    if not reason:
        from ..files import load_checkpoint

        try:
            checkpoint = engine.open_checkpoint(file)
            tensors = load_checkpoint(checkpoint, copies=disable_mmap)
        except WarploadError as error:
            reason = error.reason or str(error)
        else:
            oddities = [text for _, text in checkpoint.oddities]
            _count(file, sum(tensor.nbytes for tensor in tensors.values()), oddities)
            return tensors
    _leave_to_stock(file, reason)
    return None


class _Substitute(ModuleType):
    """A module with some names replaced, for one module that uses it."""

    def __init__(self, genuine: Any, **replaced: Any) -> None:
        super().__init__(genuine.__name__)
        self._genuine = genuine
        vars(self).update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._genuine, name)


def safetensors(original: Any) -> ModuleType:
    """Stand for the module ``safetensors`` in a module of diffusers that calls ``safetensors.torch.load_file``."""
    genuine = importlib.import_module("safetensors.torch")

    def load_file(filename: Any, device: Any = "cpu", **keywords: Any) -> Any:
        tensors = None if keywords or not _serves() else _read(filename, device)
        return genuine.load_file(filename, device=device, **keywords) if tensors is None else tensors

    return _Substitute(original, torch=_Substitute(genuine, load_file=load_file))


def safe_open(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``safe_open`` in a module of transformers or diffusers."""

    @functools.wraps(original, updated=())
    def read(filename: Any, framework: Any = None, device: Any = "cpu", **keywords: Any) -> Any:
        def stock() -> Any:
            return original(filename, framework=framework, device=device, **keywords)

        if not _serves():
            return stock()
        reason = _why_not(filename, device) if framework == "pt" else f"framework {framework!r}"
        if not reason:
            from ..open_file import TorchFile

            try:
                opened = TorchFile(filename, device, **keywords)
            except WarploadError as error:
                reason = error.reason or str(error)
            else:
                _count(filename, opened.nbytes, opened.oddities)
                return opened
        _leave_to_stock(filename, reason)
        return stock()

    return read


def thread_pool(original: type) -> type:
    """Make the threads with which stock reads shards belong to the load that started them."""

    class ThreadPoolExecutor(original):  # type: ignore[misc]
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
            return super().submit(contextvars.copy_context().run, function, *arguments, **keywords)

    return ThreadPoolExecutor
