"""One case, loaded in every way by both."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

import warpload

from . import differences, gguf_compare

# What stock raises for bad files, torch's own words included.
STOCK_ERRORS = (safetensors.SafetensorError, RuntimeError, TypeError, ValueError, OSError, KeyError, AttributeError)


@dataclass(frozen=True)
class Refused:
    """An error, in words."""

    message: str


Result = dict[str, Any] | Refused


def findings(file: Path) -> list[str]:
    """Load a file or an index in every way; return what should not be."""
    if file.suffix == ".gguf":
        return gguf_compare.findings(file)
    if file.suffix == ".json":
        return _judge("index", file, _stock(lambda: _stock_index(file)), lambda: _described(warpload.load_file(file)))
    stock = _stock(lambda: _described(safetensors.torch.load_file(file)))
    found = _judge("load_file", file, stock, lambda: _described(warpload.load_file(file)))
    found += _judge("copied", file, stock, lambda: _described(warpload.load_file(file, disable_mmap=True)))
    if isinstance(stock, Refused) and not _package_opens(file):
        return found + _judge("safe_open", file, stock, lambda: _opened(warpload.safe_open, file))
    if isinstance(stock, dict):
        stock = _stock(lambda: _opened(safetensors.safe_open, file))
        found += _judge("safe_open", file, stock, lambda: _opened(warpload.safe_open, file))
        found += _casts(file)
    return found


def _judge(way: str, file: Path, stock: Result, load: Callable[[], dict[str, Any]]) -> list[str]:
    try:
        ours: Result = load()
    except warpload.WarploadError as error:
        if not error.path or not str(error):
            return [f"{way}: an error that does not say what is wrong where: {error!r}"]
        ours = Refused(str(error))
    except Exception as error:
        return [f"{way}: {type(error).__name__} is none of our errors: {error}"]
    if isinstance(ours, Refused):
        known = isinstance(stock, Refused) or _is_known(ours.message, file)
        return [] if known else [f"{way}: only we refuse: {ours.message}"]
    if isinstance(stock, Refused):
        known = differences.reason(differences.PACKAGE_REFUSES, stock.message) is not None
        return [] if known else [f"{way}: only stock refuses: {stock.message}"]
    return [] if ours == stock else [f"{way}: loaded differently:\n  ours:  {ours}\n  stock: {stock}"]


def _is_known(refusal: str, file: Path) -> bool:
    """Tell whether we may refuse what stock loads."""
    if differences.reason(differences.CORE_REFUSES, refusal) is not None:
        return True
    return file.suffix != ".json" and differences.repeats_a_name(file)


def _stock(load: Callable[[], dict[str, Any]]) -> Result:
    try:
        return load()
    except STOCK_ERRORS as error:
        return Refused(f"{type(error).__name__}: {error}")


def _package_opens(file: Path) -> bool:
    """Tell whether only torch refuses: the core then refuses when it opens the file, the package when asked for it."""
    try:
        with safetensors.safe_open(file, "pt"):
            return True
    except safetensors.SafetensorError:
        return False


def _stock_index(file: Path) -> dict[str, Any]:
    """Load what an index lists, as diffusers and transformers do."""
    with open(file, encoding="utf-8") as opened:
        weight_map = json.loads(opened.read())["weight_map"]
    tensors: dict[str, torch.Tensor] = {}
    for name in sorted(set(weight_map.values())):
        tensors.update(safetensors.torch.load_file(file.parent / name))
    return _described(tensors)


def _opened(open_file: Any, file: Path) -> dict[str, Any]:
    with open_file(file, "pt") as opened:
        names = opened.offset_keys()
        found = {"keys": sorted(opened.keys()), "metadata": opened.metadata()}
        found["tensors"] = _described({name: opened.get_tensor(name) for name in names})
        # The package's order of tensors that begin and end at the same offset is that of a hash table, new each time.
        found["order"] = [name for name in names if found["tensors"][name][-1]]
        slices = {name: opened.get_slice(name) for name in names}
        found["slices"] = {name: (each.get_shape(), each.get_dtype()) for name, each in slices.items()}
    return found


def _described(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Return everything that two tensors can differ in, down to the bits."""
    return {name: (tensor.dtype, tensor.shape, tensor.stride(), _bits(tensor)) for name, tensor in tensors.items()}


def _bits(tensor: torch.Tensor) -> bytes:
    assert tensor.is_contiguous()
    return ctypes.string_at(tensor.data_ptr(), tensor.nbytes) if tensor.nbytes else b""


def _casts(file: Path) -> list[str]:
    """Cast to bfloat16 while loading; torch's NaNs are its own."""
    stock = safetensors.torch.load_file(file)
    try:
        ours = warpload.load_file(file, dtype=torch.bfloat16)
    except warpload.WarploadError as error:
        known = "neither the core nor torch casts" in error.reason or _is_known(str(error), file)
        return [] if known else [f"cast: only we refuse: {error}"]
    except Exception as error:
        return [f"cast: {type(error).__name__} is none of our errors: {error}"]
    differing = [name for name, tensor in stock.items() if not _is_cast_of(ours[name], tensor)]
    return [f"cast: {name!r} differs: {ours[name]} is no cast of {stock[name]}" for name in differing]


def _is_cast_of(ours: torch.Tensor, stock: torch.Tensor) -> bool:
    dtype = torch.bfloat16 if stock.dtype.is_floating_point else stock.dtype
    if ours.dtype != dtype or ours.shape != stock.shape:
        return False
    if stock.numel() == 0 or dtype == stock.dtype:  # torch's arithmetic need not like the shape of an empty one
        return _bits(ours) == _bits(stock)
    expected = stock.to(dtype)
    same_nans = torch.equal(ours.isnan(), expected.isnan())
    return same_nans and torch.equal(ours.nan_to_num(7.0), expected.nan_to_num(7.0))
