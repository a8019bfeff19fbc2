"""Single files that others write to, or put other files in the place of, while they are loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders import single_file_model
from safetensors.torch import load_file, save_file

import warpload
from support import single_files
from support.compare import assert_loaded_natively, assert_same_model
from warpload import IoError, engine

CLASS = "SD3Transformer2DModel"


def _replace(file: Path) -> None:
    """Put another checkpoint of the same layout in its place: the same header, other bytes."""
    tensors = {key: each + 1 for key, each in load_file(file).items()}
    save_file(tensors, file.with_suffix(".new"))
    file.with_suffix(".new").replace(file)


def _rewrite(file: Path) -> None:
    """Write other bytes into it."""
    content = bytearray(file.read_bytes())
    content[-64:] = bytes(64)
    file.write_bytes(content)


def _shrink(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 4096)


def _grow(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(bytes(8192))


def _remove(file: Path) -> None:
    file.unlink()


Outcome = tuple[Any, type[Exception] | None]


def outcome(cls: Any, file: Path, dtype: torch.dtype | None) -> Outcome:
    """Return the model, or the class of the error."""
    try:
        return cls.from_single_file(str(file), config=str(file.parents[1]), dtype=dtype), None
    except Exception as error:
        return None, type(error)


@pytest.fixture
def once_opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Return what has something done, once, when the next file's header has been read."""
    genuine = engine.open_checkpoint

    def arrange(change: Callable[[], None]) -> None:
        def open_and_change(source: Any, **arguments: Any) -> Any:
            opened = genuine(source, **arguments)
            monkeypatch.setattr(engine, "open_checkpoint", genuine)
            change()
            return opened

        monkeypatch.setattr(engine, "open_checkpoint", open_and_change)

    return arrange


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("change", [_replace, _rewrite, _shrink, _grow], ids=lambda each: each.__name__)
def test_a_file_that_changes_once_its_header_is_read_is_loaded_as_it_is_then_or_fails_as_with_stock(
    change: Callable[[Path], None],
    dtype: torch.dtype | None,
    once_opened: Callable[[Callable[[], None]], None],
    tmp_path: Path,
) -> None:
    file = single_files.write("sd3", tmp_path / "model")
    before = file.read_bytes()
    once_opened(lambda: change(file))

    ours, error = outcome(warpload.SD3Transformer2DModel, file, dtype)

    assert file.read_bytes() != before
    stock, expected = outcome(diffusers.SD3Transformer2DModel, file, dtype)
    assert error is expected
    if stock is not None:
        assert_same_model(ours, stock)
        assert_loaded_natively(warpload.last_report(), {CLASS})


def test_a_file_that_goes_once_its_header_is_read_is_missed(
    once_opened: Callable[[Callable[[], None]], None], tmp_path: Path
) -> None:
    file = single_files.write("sd3", tmp_path / "model")
    once_opened(lambda: _remove(file))

    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        warpload.SD3Transformer2DModel.from_single_file(str(file), config=str(file.parents[1]))


def loaded_while(change: Callable[[Path], None], file: Path, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Any:
    """Load a file that changes after stock has converted its tensors, and before they are placed."""
    known = single_file_model.SINGLE_FILE_LOADABLE_CLASSES[CLASS]
    usual = known["checkpoint_mapping_fn"]

    def convert(checkpoint: Any, **settings: Any) -> Any:
        converted = usual(checkpoint, **settings)
        change(file)
        return converted

    monkeypatch.setitem(known, "checkpoint_mapping_fn", convert)
    config = str(file.parents[1])
    return warpload.SD3Transformer2DModel.from_single_file(str(file), config=config, **arguments)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("change", [_shrink, _grow], ids=lambda each: each.__name__)
def test_a_file_that_grows_or_shrinks_while_it_is_converted_is_refused(
    change: Callable[[Path], None], dtype: torch.dtype | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = single_files.write("sd3", tmp_path / "model")

    with pytest.raises(IoError, match=r"model\.safetensors: the file grew or shrank while it was converted"):
        loaded_while(change, file, monkeypatch, dtype=dtype)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("change", [_replace, _remove], ids=lambda each: each.__name__)
def test_another_file_under_the_name_of_one_that_is_converted_does_no_harm(
    change: Callable[[Path], None], dtype: torch.dtype | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = single_files.write("sd3", tmp_path / "model")
    config = str(file.parents[1])
    stock = diffusers.SD3Transformer2DModel.from_single_file(str(file), config=config, dtype=dtype)

    ours = loaded_while(change, file, monkeypatch, dtype=dtype)

    assert_same_model(ours, stock)
