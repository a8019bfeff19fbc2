"""What the core does not load goes through stock, with its result or its error, and is named with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import GGUFQuantizationConfig, PipelineQuantizationConfig
from diffusers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from diffusers.quantizers.base import DiffusersQuantizer

import warpload
from support import checkpoints
from support.compare import assert_loaded_natively
from support.loading import assert_loads_as_stock
from support.pipelines import FAMILIES, MODELS, Saved


def assert_left_to_stock(log: pytest.LogCaptureFixture, names: set[str], reason: str) -> None:
    """Fail unless exactly these components are stock's, for the reason, in the report and in the log."""
    report = warpload.last_report()
    assert report is not None
    left = {name: how for name, how in report.components.items() if how != "native"}
    assert left.keys() == names
    messages = [record.getMessage() for record in log.records if record.name.startswith("warpload")]
    for name, how in left.items():
        assert how.startswith("stock: ")
        assert reason in how
        assert any(name in message and how.removeprefix("stock: ") in message for message in messages), name
    assert len(messages) == len(names)  # each is said once, and nothing else


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_pickles_are_stocks_and_the_rest_is_not(
    dtype: torch.dtype | None, copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    folder = copied("stable-diffusion")
    checkpoints.as_pickles(folder, "unet", "text_encoder")

    report = assert_loads_as_stock(folder, **({} if dtype is None else {"dtype": dtype}))

    assert_left_to_stock(log, {"unet", "text_encoder"}, "no safetensors")
    assert report.components["vae"] == report.components["safety_checker"] == "native"
    assert report.bytes > 0


def test_use_safetensors_false_is_stocks(copied: Saved, log: pytest.LogCaptureFixture) -> None:
    folder = copied("ddpm")
    checkpoints.as_pickles(folder, "unet")

    report = assert_loads_as_stock(folder, use_safetensors=False)

    assert_left_to_stock(log, {"unet"}, "use_safetensors=False")
    assert report.bytes == 0


def test_use_safetensors_true_is_native(saved: Saved) -> None:
    report = assert_loads_as_stock(saved("stable-diffusion"), use_safetensors=True)

    assert_loaded_natively(report, MODELS["stable-diffusion"])


@pytest.mark.parametrize("dtype", [torch.float64, None, {}, {"unet": None}, {"default": None}])
def test_unusual_dtypes_are_native(dtype: Any, saved: Saved) -> None:
    assert_loaded_natively(assert_loads_as_stock(saved("ddpm"), dtype=dtype), {"unet"})


def test_a_quantiser_places_what_the_core_reads_and_nothing_of_the_other_components(
    saved: Saved, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This quantiser changes nothing, and tells that stock has called it."""
    seen: list[str] = []

    class Seen(DiffusersQuantizer):
        requires_calibration = False

        def _process_model_before_weight_loading(self, model: torch.nn.Module, **_: Any) -> None:
            seen.append(type(model).__name__)

        def _process_model_after_weight_loading(self, model: torch.nn.Module, **_: Any) -> torch.nn.Module:
            return model

        @property
        def is_serializable(self) -> bool:
            return False

        @property
        def is_trainable(self) -> bool:
            return False

    class PlainConfig(GGUFQuantizationConfig):
        def to_dict(self) -> dict[str, Any]:
            return {"quant_method": self.quant_method}

    monkeypatch.setitem(AUTO_QUANTIZER_MAPPING, "gguf", Seen)
    config = PipelineQuantizationConfig(quant_mapping={"transformer": PlainConfig()})

    report = assert_loads_as_stock(saved("pixart"), quantization_config=config)

    assert seen == ["PixArtTransformer2DModel"] * 2
    assert_left_to_stock(log, set(), "")
    assert_loaded_natively(report, MODELS["pixart"])
    assert report.placed_by_stock == {"transformer": "quantization_config"}


def test_an_unknown_argument_is_ignored_as_by_stock(saved: Saved) -> None:
    assert_loads_as_stock(saved("ddpm"), no_such_argument=3)


def test_nothing_is_logged_when_all_is_native(saved: Saved, log: pytest.LogCaptureFixture) -> None:
    warpload.DiffusionPipeline.from_pretrained(saved("wan"))

    assert [record.getMessage() for record in log.records if record.name.startswith("warpload")] == []


def test_all_families_can_be_pickles(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    FAMILIES["flux"]().save_pretrained(tmp_path)
    checkpoints.as_pickles(tmp_path, *MODELS["flux"])

    report = assert_loads_as_stock(tmp_path, dtype=torch.float16)

    assert_left_to_stock(log, set(MODELS["flux"]), "no safetensors")
    assert report.bytes == 0
