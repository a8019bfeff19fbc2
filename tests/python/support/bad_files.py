"""Files that are not what their name says, each with what an error about it has to say."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch

import warpload

from .checkpoints import framed


@dataclass(frozen=True)
class BadFile:
    """Content, a part of the reason, and the byte range that the error has to name.

    The safetensors package refuses them all, but for what it silently takes (of two entries of one name, the last), and
    what only torch refuses.
    """

    content: bytes
    reason: str
    byte_range: tuple[int, int] | None
    stock_takes_it: bool = False
    stock_error: type[Exception] = safetensors.SafetensorError

    @property
    def is_refused_when_opened(self) -> bool:
        """Whether the safetensors package refuses the file as a whole."""
        return not self.stock_takes_it and not self.only_torch_refuses

    @property
    def only_torch_refuses(self) -> bool:
        """Whether stock refuses the file only when the tensor at fault is asked for, by an error of torch's."""
        return self.stock_error is not safetensors.SafetensorError


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _file(header: Any, data: bytes = b"") -> bytes:
    return framed(json.dumps(header).encode()) + data


def _length_of(header: Any) -> int:
    return 8 + len(json.dumps(header))


_GOOD = {"a": entry("F32", [4], 0, 16), "b": entry("U8", [4], 16, 20)}
_DATA = bytes(range(20))
_BEGIN = _length_of(_GOOD)


def good() -> bytes:
    """Return the valid file that most bad ones are made of: 16 bytes of `a` and 4 of `b`."""
    return _file(_GOOD, _DATA)


def _truncated() -> BadFile:
    return BadFile(good()[:-7], "7 bytes are missing", (_BEGIN + 13, _BEGIN + 20))


def _truncated_header() -> BadFile:
    return BadFile(good()[:20], f"{_BEGIN - 20} of the header's", (20, _BEGIN))


def _overlong() -> BadFile:
    return BadFile(good() + b"xyz", "3 bytes follow the last tensor", (_BEGIN + 20, _BEGIN + 23))


def _empty() -> BadFile:
    return BadFile(b"", "empty", (0, 0))


def _short() -> BadFile:
    return BadFile(b"\x02\x00\x00", "3 bytes", (0, 3))


def _no_json() -> BadFile:
    return BadFile(framed(b'{"a": nonsense}'), "not valid JSON", None)


def _no_object() -> BadFile:
    return BadFile(framed(b'["a", "b"]'), "must be an object", None)


def _no_utf8() -> BadFile:
    return BadFile(framed(b'{"\xff": 1}'), "UTF-8", None)


def _huge_header() -> BadFile:
    return BadFile((1 << 40).to_bytes(8, "little") + b"{}", str(1 << 40), (0, 8))


def _git_lfs() -> BadFile:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * "0" + "\nsize 3463726504\n"
    return BadFile(text.encode(), "git-lfs pointer", (0, len(text)))


def _pickle() -> BadFile:
    content = pickle.dumps({"a": [1.0] * 100}, protocol=2)
    return BadFile(content, "pickle", (0, len(content)))


def _torch_zip() -> BadFile:
    saved = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, saved)
    return BadFile(saved.getvalue(), "zip archive", (0, len(saved.getvalue())))


def _plain_zip() -> BadFile:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("readme", "nothing")
    return BadFile(archive.getvalue(), "zip archive", (0, len(archive.getvalue())))


def _web_page() -> BadFile:
    content = b"<!DOCTYPE html><html><body>404: not found</body></html>"
    return BadFile(content, "HTML", (0, len(content)))


def _overlapping() -> BadFile:
    header = {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 3, 7)}
    begin = _length_of(header)
    return BadFile(_file(header, bytes(7)), "overlap", (begin + 3, begin + 4))


def _hole() -> BadFile:
    header = {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 6, 10)}
    begin = _length_of(header)
    return BadFile(_file(header, bytes(10)), "hole of 2 bytes", (begin + 4, begin + 6))


def _wrong_size() -> BadFile:
    return BadFile(_file({"a": entry("F32", [3], 0, 16)}, bytes(16)), "12 bytes", None)


def _backwards() -> BadFile:
    return BadFile(_file({"a": entry("U8", [0], 4, 0)}, bytes(4)), "end before they begin", None)


def _unknown_dtype() -> BadFile:
    return BadFile(_file({"a": entry("F128", [1], 0, 16)}, bytes(16)), "F128", None)


def _negative_shape() -> BadFile:
    return BadFile(_file({"a": entry("U8", [-1], 0, 1)}, bytes(1)), "dimension", None)


def _overflowing_shape() -> BadFile:
    return BadFile(_file({"a": entry("F32", [1 << 40, 1 << 40], 0, 16)}, bytes(16)), "overflow", None)


def _overflowing_strides() -> BadFile:
    content = _file({"a": entry("F32", [0, (1 << 63) - 1, 2], 0, 0)})
    return BadFile(content, "strides", None, stock_error=RuntimeError)


def _overflowing_extent() -> BadFile:
    return BadFile(_file({"a": entry("F32", [0, 1 << 63], 0, 0)}), "extents", None, stock_error=TypeError)


def _duplicate_key() -> BadFile:
    one = json.dumps(entry("U8", [1], 0, 1))
    header = f'{{"a": {one}, "a": {one}}}'.encode()
    second = 8 + header.index(b'"a"', 5)
    return BadFile(framed(header) + b"x", "duplicate", (second, second + 1), stock_takes_it=True)


def _missing_field() -> BadFile:
    return BadFile(_file({"a": {"dtype": "U8", "shape": [1]}}, b"x"), "data_offsets", None)


def _metadata_of_numbers() -> BadFile:
    return BadFile(_file({"__metadata__": {"step": 7}}), "__metadata__", None)


_MAKERS: list[Callable[[], BadFile]] = [
    _truncated,
    _truncated_header,
    _overlong,
    _empty,
    _short,
    _no_json,
    _no_object,
    _no_utf8,
    _huge_header,
    _git_lfs,
    _pickle,
    _torch_zip,
    _plain_zip,
    _web_page,
    _overlapping,
    _hole,
    _wrong_size,
    _backwards,
    _unknown_dtype,
    _negative_shape,
    _overflowing_shape,
    _overflowing_strides,
    _overflowing_extent,
    _duplicate_key,
    _missing_field,
    _metadata_of_numbers,
]

BAD_FILES: dict[str, BadFile] = {maker.__name__.strip("_").replace("_", "-"): maker() for maker in _MAKERS}


def write_index(folder: Path, weight_map: dict[str, Any]) -> Path:
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def fail(kind: type[warpload.WarploadError], load: Callable[[], Any], file: Path) -> warpload.WarploadError:
    """Return the error that a load raises; fail when it is of another kind or does not name the file."""
    with pytest.raises(kind) as caught:
        load()
    error = caught.value
    assert error.path == str(file)
    assert str(file) in str(error)
    assert error.reason
    assert error.reason in str(error)
    return error
