"""Stock's own loading code with the core as its reader.

Where stock has to put the tensors into a model itself (a device map over several devices, keys that don't match, a
class with a loader of its own, a single file to be converted), its code runs unchanged and asks the core for the
tensors of a safetensors or GGUF file. What the core cannot read, and a file that is not valid, goes to stock's reader,
which says what is wrong in its own words.

Which load a file is read for is the context's to say: that of the thread, or the one among whose files it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import context, engine
from ..context import LoadContext
from ..errors import WarploadError
from ..open_file import Began, TorchFile
from ..stock import torch_modes, unexpected
from ..whole_file import load_checkpoint, paths_of
from . import gguf_arrays, gguf_parameters

if TYPE_CHECKING:
    import torch

    from .conversion import Conversion
    from .file_tensors import FileTensor

Function = Callable[..., Any]


def load_file(stock: Function, filename: Any, device: Any = "cpu", **keywords: Any) -> Any:
    """Replace ``safetensors.torch.load_file``."""

    def read(load: LoadContext) -> tuple[dict[str, torch.Tensor], int, list[str]]:
        if (began := _planned(load, filename)) is not None:
            opened = TorchFile(filename, began=began)
            return opened.get_tensors(), opened.nbytes, opened.oddities
        checkpoint = engine.open_checkpoint(filename)
        tensors = load_checkpoint(checkpoint, files=paths_of(filename))
        return tensors, checkpoint.nbytes, [text for _, text in checkpoint.oddities]

    tensors = None if keywords else _for_its_load(filename, device, read)
    return stock(filename, device=device, **keywords) if tensors is None else tensors


def safe_open(stock: Function, filename: Any, framework: Any = None, device: Any = "cpu", **keywords: Any) -> Any:
    """Replace ``safetensors.safe_open`` in a module of transformers or diffusers."""

    def read(load: LoadContext) -> tuple[TorchFile, int, list[str]]:
        opened = TorchFile(filename, device, began=_planned(load, filename), **keywords)
        return opened, opened.nbytes, opened.oddities

    opened = _for_its_load(filename, device, read) if framework == "pt" else None
    return stock(filename, framework=framework, device=device, **keywords) if opened is None else opened


def load_for_conversion(conversion: Conversion, file: Any) -> dict[str, FileTensor] | None:
    """Return the tensors of a safetensors file for stock to convert, or None where stock is to read it.

    Args:
        conversion: that they are for.
        file: as stock's code names it.
    """

    def read(_: LoadContext) -> tuple[dict[str, FileTensor], int, list[str]]:
        opened = conversion.open(os.fspath(file))
        return opened.tensors(), opened.checkpoint.nbytes, [text for _, text in opened.checkpoint.oddities]

    tensors: dict[str, FileTensor] | None = _for_its_load(file, "cpu", read)
    return tensors


def load_gguf_checkpoint(stock: Function, gguf_checkpoint_path: Any, *args: Any, **keywords: Any) -> Any:
    """Replace ``load_gguf_checkpoint`` of diffusers."""

    def read(load: LoadContext) -> tuple[dict[str, torch.Tensor], int, list[str]]:
        checkpoint = gguf_parameters.open_for_diffusers(gguf_checkpoint_path)
        copies = load.joint is not None and not load.joint.zero_copy
        tensors = load_checkpoint(checkpoint, copies=copies, files=paths_of(gguf_checkpoint_path))
        return gguf_parameters.as_parameters(tensors, checkpoint.blocks), checkpoint.nbytes, []

    tensors = None if args or keywords else _for_its_load(gguf_checkpoint_path, "cpu", read, ".gguf")
    return stock(gguf_checkpoint_path, *args, **keywords) if tensors is None else tensors


def load_gguf_by_transformers(stock: Function, *args: Any, **keywords: Any) -> Any:
    """Replace ``load_gguf_checkpoint`` of transformers, which reads by itself, and dequantises by the core."""
    try:
        dequantised = gguf_arrays.dequantised_by_core()
    except ImportError:  # stock says so
        dequantised = contextlib.nullcontext()
    with dequantised:
        return stock(*args, **keywords)


def _planned(load: LoadContext, file: Any) -> Began | None:
    return None if load.planned is None else load.planned.has(file)


def _for_its_load(
    file: Any, device: Any, read: Callable[[LoadContext], tuple[Any, int, list[str]]], suffix: str = ".safetensors"
) -> Any:
    """Return what was read, counted where it belongs, or None where stock is to read, and to say what is wrong.

    Args:
        file: as stock's code names it.
        device: where it wants the tensors.
        read: returns the tensors or the open file, the bytes of tensor data, and what is odd about the file.
        suffix: of the files that it reads.
    """
    load = context.serving(os.fspath(file)) if isinstance(file, str | os.PathLike) else None
    if load is None:
        return None
    reason = load.unread
    if not reason:
        try:
            reason = _why_not(file, device, suffix)
            what, nbytes, oddities = (None, 0, []) if reason else read(load)
        except WarploadError as error:
            reason = error.reason or str(error)
        except Exception as error:
            if unexpected.is_the_callers(error):
                raise
            reason = unexpected.told(error)
        if not reason:
            _count(load, file, nbytes, oddities)
            return what
    load.reading.readers[os.path.basename(file)] = f"stock: {reason}"
    return None


def _why_not(file: Any, device: Any, suffix: str) -> str:
    """Say why the core does not read a file for stock's code, or the empty string if it does."""
    if not str(file).endswith(suffix):
        return f"no {suffix.removeprefix('.')}"
    if (mode := torch_modes.interposed()) is not None:
        return mode
    return "" if str(device) == "cpu" else f"device {device}"


def _count(load: LoadContext, file: Any, nbytes: int, oddities: list[str]) -> None:
    load.reading.sizes.append(nbytes)
    load.reading.readers[os.path.basename(file)] = "native"
    load.reading.oddities += oddities
