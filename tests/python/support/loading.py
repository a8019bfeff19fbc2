"""The same load by the core and by stock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
from diffusers import DiffusionPipeline

import warpload

from .compare import assert_same_pipeline


def load_both(
    folder: Path | str, pipeline_class: str = "DiffusionPipeline", **kwargs: Any
) -> tuple[DiffusionPipeline, DiffusionPipeline]:
    """Return the core's pipeline and stock's."""
    stock = getattr(diffusers, pipeline_class).from_pretrained(folder, **kwargs)
    ours = getattr(warpload, pipeline_class).from_pretrained(folder, **kwargs)
    return ours, stock


def assert_loads_as_stock(
    folder: Path | str, pipeline_class: str = "DiffusionPipeline", **kwargs: Any
) -> warpload.LoadReport:
    """Fail unless both give the same pipeline; return our report."""
    ours, stock = load_both(folder, pipeline_class, **kwargs)
    assert_same_pipeline(ours, stock)
    report = warpload.last_report()
    assert report is not None
    return report


def assert_fails_as_stock(folder: Path | str, **kwargs: Any) -> BaseException:
    """Fail unless both raise the same error with the same message; return ours."""
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever it is, ours is the same
        diffusers.DiffusionPipeline.from_pretrained(folder, **kwargs)
    with pytest.raises(type(theirs.value)) as mine:
        warpload.DiffusionPipeline.from_pretrained(folder, **kwargs)
    assert type(mine.value) is type(theirs.value)
    assert str(mine.value) == str(theirs.value)
    return mine.value


def forbid_stock_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every reader that stock has for weights fail."""

    def refuse(*arguments: object, **_: object) -> None:
        raise AssertionError(f"stock reads {arguments}")

    monkeypatch.setattr("safetensors.torch.load_file", refuse)
    monkeypatch.setattr("safetensors.torch.load", refuse)
    monkeypatch.setattr("transformers.modeling_utils.safe_open", refuse)
    monkeypatch.setattr("torch.load", refuse)
