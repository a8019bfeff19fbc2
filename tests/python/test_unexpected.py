"""What nobody foresaw inside our own placing of a model: stock places it as if nobody had tried, and we say so."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import UNet2DModel
from transformers import CLIPTextModel, T5EncoderModel
from transformers import core_model_loading as transformers_loading

import warpload
from support import models
from support.compare import assert_loaded_natively, assert_same_model, assert_same_pipeline
from support.pipelines import MODELS, Saved
from support.said import warnings_of
from support.traces import assert_same_traces, by_both
from test_no_traces import SpeakingClip, SpeakingUnet
from warpload import errors
from warpload.models.weights import ModelWeights

# Where our own code works on a model of diffusers, and on one of transformers.
IN_DIFFUSERS = [
    "warpload.stock.torch_modes.interposed",
    "warpload.stock.generators.states",
    "warpload.models.odd_files.told",
    "warpload.stock.diffusers.check_own_loading",
    "warpload.stock.module_tree.seats",
    "warpload.stock.diffusers._place",
    "warpload.models.weights.ModelWeights.plan",
    "warpload.models.weights.ModelWeights.require",
    "warpload.models.weights.ModelWeights.tensors",
    "warpload.engine.start",
]
IN_TRANSFORMERS = [
    "warpload.stock.transformers._check_processes",
    "warpload.stock.transformers._wanted_dtypes",
    "warpload.models.weights.ModelWeights.require",
    "warpload.stock.state_dict.state_dict",
    "warpload.stock.state_dict._taken",
    "warpload.stock.transformers._restore_names",
]
ERRORS = [AssertionError, AttributeError, KeyError, RuntimeError, TypeError]


def raising(error: BaseException | type[BaseException]) -> Callable[..., Any]:
    def fail(*arguments: Any, **keywords: Any) -> Any:
        raise error("never heard of") if isinstance(error, type) else error

    return fail


def fails(
    load: Callable[[], Any], place: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> warpload.LoadReport:
    """Fail unless a load where that is raised is stock's in all that it leaves behind; return its report."""
    stock, again = by_both(load, warpload.accelerated)
    assert_same_traces(stock, again)
    with monkeypatch.context() as patch:
        patch.setattr(place, raising(error))
        ours, _ = by_both(load, warpload.accelerated)

    assert_same_traces(ours, stock)
    assert_same_model(ours.result, stock.result)
    assert [each for each in gc.get_objects() if type(each) is ModelWeights] == []
    report = warpload.last_report()
    assert report is not None
    return report


def assert_told(report: warpload.LoadReport, error: type[Exception], log: pytest.LogCaptureFixture) -> None:
    (how,) = (*report.placed_by_stock.values(), *(who for who in report.components.values() if who != "native"))
    assert f"unexpected {error.__name__}: " in how
    (warning,) = warnings_of(log)
    assert f"unexpected {error.__name__}: " in warning


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", IN_DIFFUSERS)
def test_a_model_of_diffusers_is_stocks_then(
    place: str, error: type[Exception], tmp_path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.unconditional_unet().save_pretrained(tmp_path)

    report = fails(lambda: SpeakingUnet.from_pretrained(tmp_path, dtype=torch.float16), place, error, monkeypatch)

    assert_told(report, error, log)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", IN_TRANSFORMERS)
def test_a_model_of_transformers_is_stocks_then(
    place: str, error: type[Exception], tmp_path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.clip_text_model_with_projection().save_pretrained(tmp_path)

    report = fails(lambda: SpeakingClip.from_pretrained(tmp_path, dtype=torch.float16), place, error, monkeypatch)

    assert_told(report, error, log)


def test_a_library_that_asks_more_of_our_tensors_gets_its_own(
    tmp_path: Path, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks in a thread of its own, and says something else of what fails there."""
    models.t5_encoder().save_pretrained(tmp_path)
    stock = T5EncoderModel.from_pretrained(tmp_path, dtype=torch.float16)

    def asks(tensor: Any, device: Any = None, dtype: Any = None) -> Any:
        return (
            tensor[...].narrow_as_never_before()
            if "OnItsWay" in type(tensor).__name__
            else plain(tensor, device, dtype)
        )

    plain = transformers_loading._materialize_copy
    monkeypatch.setattr(transformers_loading, "_materialize_copy", asks)
    with warpload.accelerated():
        ours = T5EncoderModel.from_pretrained(tmp_path, dtype=torch.float16)

    assert_same_model(ours, stock)
    assert "has no narrow_as_never_before" in warpload.last_report().placed_by_stock["T5EncoderModel"]


CALLERS = [
    errors.make("FormatError", "a bad file"),
    errors.make("IoError", "a bad disk"),
    errors.make("OutOfMemoryError", "no room"),
    errors.make("DeviceError", "a bad device"),
    MemoryError("no room"),
    OSError("a bad disk"),
    torch.OutOfMemoryError("no room"),
]


@pytest.mark.parametrize("error", CALLERS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["warpload.stock.diffusers._fill", "warpload.stock.transformers.build"])
def test_errors_of_files_devices_and_memory_are_the_callers(
    place: str, error: Exception, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, raising(error))
    monkeypatch.setattr("warpload.models.stock_load.load_by_stock", raising(AssertionError("stock is asked")))

    with pytest.raises(type(error)) as raised:
        warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))

    assert raised.value is error
    assert warpload.last_report().error == str(error)


class UnetThatRefuses(UNet2DModel):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        raise ValueError("not like this")


class ClipThatRefuses(CLIPTextModel):  # type: ignore[misc]
    def __init__(self, config: Any) -> None:
        raise ValueError("not like this")


@pytest.mark.parametrize(
    ("cls", "model"),
    [(UnetThatRefuses, models.unconditional_unet), (ClipThatRefuses, models.clip_text_model)],
    ids=["diffusers", "transformers"],
)
def test_what_a_class_of_the_users_raises_reaches_him(cls: Any, model: Any, tmp_path: Path) -> None:
    model().save_pretrained(tmp_path)

    ours, stock = by_both(lambda: cls.from_pretrained(tmp_path), warpload.accelerated)

    assert ours.error == stock.error == "ValueError: not like this"
    assert (ours.generators, ours.records, ours.warnings) == (stock.generators, stock.records, stock.warnings)


@pytest.mark.parametrize("place", ["early_start.wanted_models", "early_start.kept_in_float32.foreseen"])
def test_a_pipeline_whose_bytes_cannot_begin_early_is_loaded_all_the_same(
    place: str, saved: Saved, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = diffusers.DiffusionPipeline.from_pretrained(saved("wan"), dtype=torch.float16)
    monkeypatch.setattr(f"warpload.pipelines.{place}", raising(KeyError))

    ours = warpload.DiffusionPipeline.from_pretrained(saved("wan"), dtype=torch.float16)

    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), MODELS["wan"])
    (warning,) = warnings_of(log)
    assert warning == f"nothing of {saved('wan')} is read ahead: unexpected KeyError: 'never heard of'"
