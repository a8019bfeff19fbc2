"""What stock puts together itself is read by the core, with stock's result or error, and is named with the reason."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

import warpload
from support import checkpoints, models
from support.compare import assert_same_tensor
from support.loading import assert_loads_as_stock, load_both
from support.pipelines import Saved


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="warpload")
    return caplog


def assert_read_by_the_core(log: pytest.LogCaptureFixture, names: set[str], reason: str) -> None:
    """Fail unless all components are native, these placed by stock, for the reason, in the report and in the log."""
    report = warpload.last_report()
    assert report is not None
    assert set(report.components.values()) == {"native"}
    assert report.placed_by_stock.keys() == names
    assert report.bytes > 0
    messages = [record.getMessage() for record in log.records if record.name.startswith("warpload")]
    for name, why in report.placed_by_stock.items():
        assert reason in why
        assert any(name in message and why in message for message in messages), name
    assert len(messages) == len(names)  # each is said once, and nothing else


def without_a_key(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
    return dict(sorted(tensors.items())[:-1])


def with_a_key(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
    return tensors | {"unheard_of.weight": torch.zeros(3)}


@pytest.mark.parametrize("name", ["unet", "vae"])
def test_a_diffusers_model_with_missing_keys_is_placed_by_stock(
    name: str, copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    """Stock leaves the parameter on the meta device."""
    folder = copied("stable-diffusion")
    checkpoints.rewrite(checkpoints.weight_file(folder / name), without_a_key)

    ours, stock = load_both(folder)

    assert_read_by_the_core(log, {name}, "missing keys")
    mine = getattr(ours, name).state_dict()
    for key, expected in getattr(stock, name).state_dict().items():
        assert mine[key].device == expected.device, key
        if expected.device.type == "cpu":
            assert_same_tensor(mine[key], expected, key)


def test_a_text_encoder_with_missing_keys_is_placed_by_stock(copied: Saved, log: pytest.LogCaptureFixture) -> None:
    """Stock draws the parameter at random."""
    folder = copied("stable-diffusion")
    file = checkpoints.weight_file(folder / "text_encoder")
    missing = max(checkpoints.load_file(file))
    checkpoints.rewrite(file, without_a_key)

    ours, stock = load_both(folder)

    assert_read_by_the_core(log, {"text_encoder"}, "missing keys")
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

    assert_read_by_the_core(log, {name}, "unexpected keys")


def test_a_float8_dtype_is_cast_by_stock(saved: Saved, log: pytest.LogCaptureFixture) -> None:
    assert_loads_as_stock(saved("ddpm"), dtype=torch.float8_e4m3fn)

    assert_read_by_the_core(log, {"unet"}, "dtype torch.float8_e4m3fn")


@pytest.mark.parametrize("dtype", ["float16", "auto"])
def test_a_dtype_by_its_name_means_float32_as_with_stock(
    dtype: str, saved: Saved, log: pytest.LogCaptureFixture
) -> None:
    assert_loads_as_stock(saved("ddpm"), dtype=dtype)

    assert_read_by_the_core(log, set(), "")


@pytest.mark.parametrize("dtype", [{"default": "float16"}, {"unet": "auto"}])
def test_a_dtype_that_is_none_of_torchs_fares_as_with_stock(
    dtype: Any, saved: Saved, log: pytest.LogCaptureFixture
) -> None:
    assert_loads_as_stock(saved("ddpm"), dtype=dtype)

    assert_read_by_the_core(log, {"unet"}, "is not a torch.dtype")


def test_integers_where_floats_belong_are_placed_by_stock(copied: Saved, log: pytest.LogCaptureFixture) -> None:
    folder = copied("ddpm")
    checkpoints.rewrite(
        checkpoints.weight_file(folder / "unet"),
        lambda tensors: {name: t.int() if name == "conv_in.bias" else t for name, t in tensors.items()},
    )

    assert_loads_as_stock(folder, dtype=torch.float16)

    assert_read_by_the_core(log, {"unet"}, "conv_in.bias")


def test_without_low_cpu_mem_usage_stock_places_diffusers_models(saved: Saved, log: pytest.LogCaptureFixture) -> None:
    assert_loads_as_stock(saved("pixart"), low_cpu_mem_usage=False)

    assert_read_by_the_core(log, {"transformer", "vae"}, "low_cpu_mem_usage=False")


def test_components_of_a_custom_pipeline_are_native(
    copied: Saved, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
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
    assert_read_by_the_core(log, set(), "")


class LoadsItself(type(models.unconditional_unet())):  # type: ignore[misc]
    """A model class with a loader of its own, which the core knows nothing about."""

    @classmethod
    def from_pretrained(cls, *arguments: Any, **keywords: Any) -> Any:
        model = super().from_pretrained(*arguments, **keywords)
        model.loaded_by_itself = True
        return model


def test_a_class_with_its_own_loader_is_native_where_it_calls_the_usual_one(
    copied: Saved, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("ddpm")
    monkeypatch.setattr("diffusers.UNet2DModel", LoadsItself)

    ours, stock = load_both(folder)

    assert ours.unet.loaded_by_itself
    assert stock.unet.loaded_by_itself
    assert_read_by_the_core(log, set(), "")
