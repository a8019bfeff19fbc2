"""Converts one file of pickled weights: read as stock reads it, written, and compared before it gets its name."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warpload.converting.plan import Conversion, NothingToConvertError, named
from warpload.stock.model_files import read_json, weight_map_of

if TYPE_CHECKING:
    import torch

# Told of the bytes of each tensor that has been compared.
Advance = Callable[[int], Any]

# An IP adapter's parts, which stock takes apart again by the names before the first dot.
_PARTS_OF_AN_IP_ADAPTER = frozenset({"image_proj", "ip_adapter"})


class ConversionError(Exception):
    """A file cannot be converted; names it, the reason and the cure."""


def convert(conversion: Conversion, advance: Advance = lambda _: None) -> int:
    """Write a file's tensors as safetensors; nothing has the target's name before all of it is right.

    Args:
        conversion: what to read and to write.
        advance: told of bytes that are done.

    Returns:
        Bytes of tensors.

    Raises:
        ConversionError: stock's reader does not take the file, it holds other things than tensors, or what was written
            is not what was read.
        OSError: the result cannot be written.
    """
    from safetensors.torch import save_file

    tensors = _read(conversion.source)
    conversion.target.parent.mkdir(parents=True, exist_ok=True)
    with _placed(conversion.target) as unfinished:
        save_file(_as_written(tensors), unfinished, metadata={"format": "pt"})
        _verify(conversion.source, tensors, unfinished, advance)
    return sum(tensor.nbytes for tensor in tensors.values())


def convert_index(conversion: Conversion) -> None:
    """Write an index of the converted shards: what it says of tensors stays as it is.

    Raises:
        NothingToConvertError: it is no index.
        OSError: the result cannot be written.
    """
    index = read_json(conversion.source)
    shards = weight_map_of(index)
    if index is None or shards is None:
        raise NothingToConvertError(f"{conversion.source} is no index of shards")
    index["weight_map"] = {tensor: named(shard) for tensor, shard in shards.items()}
    conversion.target.parent.mkdir(parents=True, exist_ok=True)
    with _placed(conversion.target) as unfinished:
        unfinished.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _placed(target: Path) -> Iterator[Path]:
    """Yield the name of a file beside the target that takes its place once it is whole, and is deleted if it isn't."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        yield unfinished
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        # As diffusers and transformers do: mapped where it is a zip file, and nothing but tensors.
        held: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:
        first = str(error).strip().split("\n")[0]
        raise ConversionError(
            f"{file}: torch's weights-only reader refuses it ({type(error).__name__}: {first}); a file that needs more"
            " can run any program: convert it where you trust it, with torch.load(weights_only=False)"
        ) from error
    while isinstance(held, Mapping) and isinstance(held.get("state_dict"), Mapping):
        held = held["state_dict"]
    if isinstance(held, Mapping) and held and held.keys() <= _PARTS_OF_AN_IP_ADAPTER:
        held = {f"{part}.{name}": each for part, inner in held.items() for name, each in inner.items()}
    return _only_tensors(file, held)


def _only_tensors(file: Path, held: Any) -> dict[str, torch.Tensor]:
    import torch

    if not isinstance(held, Mapping) or not held:
        raise ConversionError(f"{file} holds no tensors by name, but a {type(held).__name__}")
    for name, value in held.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            what = type(value).__name__ if isinstance(name, str) else f"name of type {type(name).__name__}"
            raise ConversionError(f"{file}: {name!r} is a {what}, and safetensors hold nothing but tensors by name")
        if value.layout is not torch.strided or value.is_quantized:
            raise ConversionError(f"{file}: {name!r} is a sparse or quantised tensor, which safetensors cannot hold")
    return {name: value.detach() for name, value in held.items()}


def _as_written(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors one after the other in memory, each with bytes of its own.

    What shares memory in a pickle keeps all of its names. Whether tensors of a model are one is for its class to say,
    and it says so again when it is loaded.
    """
    seen: set[int] = set()
    written: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != tensor.nbytes or tensor.is_conj() or tensor.is_neg():
            tensor = tensor.resolve_conj().resolve_neg().clone()
        seen.add(storage.data_ptr())
        written[name] = tensor.contiguous()
    return written


def _verify(source: Path, tensors: Mapping[str, torch.Tensor], file: Path, advance: Advance) -> None:
    """Compare what was written with what was read: names, dtypes, shapes, every byte."""
    import torch

    import warpload

    written = warpload.load_file(file)
    if written.keys() != tensors.keys():
        raise ConversionError(f"{source}: other names were written than read; nothing was kept")
    for name, tensor in tensors.items():
        other = written[name]
        same = (tensor.dtype, tensor.shape) == (other.dtype, other.shape)
        if not same or not torch.equal(_bytes(tensor), _bytes(other)):
            raise ConversionError(f"{source}: {name!r} was written otherwise than it was read; nothing was kept")
        advance(tensor.nbytes)


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
