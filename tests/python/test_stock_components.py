"""What the core does not load goes through stock, with its result or its error, and is named with the reason."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import GGUFQuantizationConfig, PipelineQuantizationConfig
from diffusers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from diffusers.quantizers.base import DiffusersQuantizer

import warpload
from support import checkpoints, models
from support.compare import assert_loaded_natively, assert_same_tensor
from support.loading import assert_loads_as_stock, load_both
from support.pipelines import FAMILIES, MODELS, Saved


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, logger="warpload")
    return caplog


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


def without_a_key(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
    return dict(sorted(tensors.items())[:-1])


def with_a_key(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
    return tensors | {"unheard_of.weight": torch.zeros(3)}


@pytest.mark.parametrize("name", ["unet", "vae"])
def test_a_diffusers_model_with_missing_keys_is_stocks(name: str, copied: Saved, log: pytest.LogCaptureFixture) -> None:
    """Stock leaves the parameter on the meta device."""
    folder = copied("stable-diffusion")
    checkpoints.rewrite(checkpoints.weight_file(folder / name), without_a_key)

    ours, stock = load_both(folder)

    assert_left_to_stock(log, {name}, "missing keys")
    mine = getattr(ours, name).state_dict()
    for key, expected in getattr(stock, name).state_dict().items():
        assert mine[key].device == expected.device, key
        if expected.device.type == "cpu":
            assert_same_tensor(mine[key], expected, key)


def test_a_text_encoder_with_missing_keys_is_stocks(copied: Saved, log: pytest.LogCaptureFixture) -> None:
    """Stock draws the parameter at random."""
    folder = copied("stable-diffusion")
    file = checkpoints.weight_file(folder / "text_encoder")
    missing = max(checkpoints.load_file(file))
    checkpoints.rewrite(file, without_a_key)

    ours, stock = load_both(folder)

    assert_left_to_stock(log, {"text_encoder"}, "missing keys")
    mine = ours.text_encoder.state_dict()
    for key, expected in stock.text_encoder.state_dict().items():
        assert mine[key].shape == expected.shape, key
        if not missing.endswith(key):
            assert_same_tensor(mine[key], expected, key)


@pytest.mark.parametrize("name", ["unet", "text_encoder"])
def test_unexpected_keys_fare_as_with_stock(name: str, copied: Saved, log: pytest.LogCaptureFixture) -> None:
    folder = copied("stable-diffusion")
    checkpoints.rewrite(checkpoints.weight_file(folder / name), with_a_key)

    assert_loads_as_stock(folder)

    assert_left_to_stock(log, {name}, "unexpected keys")


def test_a_float8_dtype_is_stocks(saved: Saved, log: pytest.LogCaptureFixture) -> None:
    assert_loads_as_stock(saved("ddpm"), dtype=torch.float8_e4m3fn)

    assert_left_to_stock(log, {"unet"}, "dtype torch.float8_e4m3fn")


@pytest.mark.parametrize("dtype", ["float16", "auto", {"default": "float16"}])
def test_a_dtype_that_is_none_of_torchs_is_stocks(dtype: Any, saved: Saved, log: pytest.LogCaptureFixture) -> None:
    assert_loads_as_stock(saved("ddpm"), dtype=dtype)

    assert_left_to_stock(log, {"unet"}, "is not a torch.dtype")


@pytest.mark.parametrize("dtype", [torch.float64, None, {}, {"unet": None}, {"default": None}])
def test_unusual_dtypes_are_native(dtype: Any, saved: Saved) -> None:
    assert_loaded_natively(assert_loads_as_stock(saved("ddpm"), dtype=dtype), {"unet"})


def test_integers_where_floats_belong_are_stocks(copied: Saved, log: pytest.LogCaptureFixture) -> None:
    folder = copied("ddpm")
    checkpoints.rewrite(
        checkpoints.weight_file(folder / "unet"),
        lambda tensors: {name: t.int() if name == "conv_in.bias" else t for name, t in tensors.items()},
    )

    assert_loads_as_stock(folder, dtype=torch.float16)

    assert_left_to_stock(log, {"unet"}, "conv_in.bias")


OPTIONS: dict[str, dict[str, Any]] = {
    "low_cpu_mem_usage=False": {"low_cpu_mem_usage": False},
    "device_map='cpu'": {"device_map": "cpu"},
    "device_map='balanced'": {"device_map": "balanced"},
}


@pytest.mark.parametrize("reason", OPTIONS)
def test_options_that_only_stock_knows_are_stocks(reason: str, saved: Saved, log: pytest.LogCaptureFixture) -> None:
    assert_loads_as_stock(saved("pixart"), **OPTIONS[reason])

    assert_left_to_stock(log, set(MODELS["pixart"]), reason)


def test_a_quantiser_is_stocks_and_the_other_components_are_not(
    saved: Saved, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No quantiser is installed here: this one changes nothing, and tells that stock has called it."""
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
    assert_left_to_stock(log, {"transformer"}, "quantization_config")
    assert report.components.keys() == MODELS["pixart"]


def test_a_custom_pipeline_is_stocks(copied: Saved, tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    code = tmp_path / "custom" / "pipeline.py"
    code.parent.mkdir()
    code.write_text(
        "from diffusers import DDPMPipeline\n\n\nclass CustomPipeline(DDPMPipeline):\n    flavour = 'own'\n"
    )
    folder = copied("ddpm")

    ours, stock = load_both(folder, custom_pipeline=str(code.parent), trust_remote_code=True)

    assert type(ours).__name__ == type(stock).__name__ == "CustomPipeline"
    assert ours.flavour == "own"
    assert ours.unet.conv_in.weight.equal(stock.unet.conv_in.weight)
    assert_left_to_stock(log, {"unet"}, "custom pipeline")


class LoadsItself(type(models.unconditional_unet())):  # type: ignore[misc]
    """A model class with a loader of its own, which the core knows nothing about."""

    @classmethod
    def from_pretrained(cls, *arguments: Any, **keywords: Any) -> Any:
        model = super().from_pretrained(*arguments, **keywords)
        model.loaded_by_itself = True
        return model


def test_a_class_with_its_own_loader_is_stocks(
    copied: Saved, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("ddpm")
    monkeypatch.setattr("diffusers.UNet2DModel", LoadsItself)

    ours, stock = load_both(folder)

    assert ours.unet.loaded_by_itself
    assert stock.unet.loaded_by_itself
    assert_left_to_stock(log, {"unet"}, "its own from_pretrained")


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
