"""Paths and names that can be none: refused by errors of ours that are also what stock raises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch

import warpload
from warpload import engine


class PathObject:
    """What ``os.fspath`` asks for a path."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __fspath__(self) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


PATHS: dict[str, Any] = {
    "empty": "",
    "a NUL": "/tmp/a\0b",
    "a NUL in a path object": Path("/tmp/a\0b"),
    "a lone surrogate": "/tmp/\ud800",
    "a lone surrogate in a path object": PathObject("/tmp/\udfff"),
    "a name that is no UTF-8": "/tmp/\udcff",
    "bytes": b"/tmp/a",
    "bytes in a path object": PathObject(b"/tmp/a"),
    "a path object that returns a number": PathObject(3),
    "a number": 3,
    "None": None,
    "a float": 1.5,
}
OPENERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "load_file": (warpload.load_file, safetensors.torch.load_file),
    "safe_open": (lambda path: warpload.safe_open(path, "pt"), lambda path: safetensors.safe_open(path, "pt")),
}


def error_of(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the question
        call()
    return caught.value


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("case", PATHS)
def test_an_odd_path_is_refused_by_an_error_of_ours_that_is_also_stocks(case: str, opener: str) -> None:
    ours, stock = OPENERS[opener]
    path = PATHS[case]

    error, expected = error_of(lambda: ours(path)), error_of(lambda: stock(path))

    assert isinstance(error, warpload.WarploadError)
    assert isinstance(error, type(expected))
    assert str(error)


@pytest.mark.parametrize("opener", OPENERS)
def test_what_a_path_object_raises_passes_through(opener: str) -> None:
    ours, stock = OPENERS[opener]
    path = PathObject(KeyError("mine"))

    assert repr(error_of(lambda: ours(path))) == repr(error_of(lambda: stock(path))) == "KeyError('mine')"


def test_one_odd_path_among_several_is_refused(mixed: Path) -> None:
    for path in PATHS.values():
        assert isinstance(error_of(lambda path=path: warpload.load_file([mixed, path])), warpload.WarploadError)


def test_a_missing_file_is_named_as_it_was_given() -> None:
    error = error_of(lambda: warpload.load_file("/tmp/a\0b"))

    assert isinstance(error, warpload.IoError)
    assert error.filename == error.path == "/tmp/a\0b"
    assert "NUL" in error.reason


def test_a_file_whose_name_is_no_utf8_loads(mixed: Path) -> None:
    odd = mixed.with_name("odd-\udcff.safetensors")
    odd.write_bytes(mixed.read_bytes())

    assert list(warpload.load_file(odd)) == list(warpload.load_file(mixed))


NAMES: dict[str, Any] = {"a lone surrogate": "\ud800", "a number": 3, "None": None, "bytes": b"a", "a list": ["a"]}


@pytest.mark.parametrize("method", ["get_tensor", "get_slice"])
@pytest.mark.parametrize("case", NAMES)
def test_an_odd_tensor_name_is_refused_by_an_error_of_ours_that_is_also_stocks(
    case: str, method: str, mixed: Path
) -> None:
    name = NAMES[case]
    with warpload.safe_open(mixed, "pt") as ours, safetensors.safe_open(mixed, "pt") as stock:
        error = error_of(lambda: getattr(ours, method)(name))
        expected = error_of(lambda: getattr(stock, method)(name))

    assert isinstance(error, warpload.InvalidArgumentError)
    assert isinstance(error, type(expected))


@pytest.mark.parametrize("argument", ["only", "tensor_dtypes"])
def test_a_request_for_a_tensor_that_cannot_be_is_refused(argument: str, mixed: Path) -> None:
    checkpoint = engine.open_checkpoint(mixed)

    with pytest.raises(warpload.InvalidArgumentError, match="no tensor can be called"):
        engine.request(checkpoint, **{argument: {"\ud800": "F32"}})
