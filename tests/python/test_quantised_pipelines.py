"""Pipelines with a quantised component: it is planned with the others, and its quantiser gets the plan's tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import PipelineQuantizationConfig, QuantoConfig
from diffusers.quantizers import auto
from diffusers.quantizers.bitsandbytes import BnB4BitDiffusersQuantizer

import warpload
from support.compare import assert_loaded_natively
from support.loading import assert_fails_as_stock, assert_loads_as_stock
from support.pipelines import MODELS, Saved
from warpload import engine


def quantised_pipeline(copied: Saved) -> Path:
    """Return a pipeline whose transformer is saved quantised."""
    folder = copied("pixart")
    transformer = diffusers.PixArtTransformer2DModel.from_pretrained(
        folder / "transformer", quantization_config=QuantoConfig("int8"), dtype=torch.float32
    )
    transformer.save_pretrained(folder / "transformer")
    return folder


def test_a_component_that_is_saved_quantised_loads_as_by_stock(copied: Saved) -> None:
    report = assert_loads_as_stock(quantised_pipeline(copied))

    assert_loaded_natively(report, MODELS["pixart"])
    assert report.placed_by_stock == {"transformer": "quantised checkpoint"}


def test_a_component_that_is_quantised_while_it_is_loaded_is_as_stocks(saved: Saved) -> None:
    config = PipelineQuantizationConfig(quant_mapping={"transformer": QuantoConfig("int8")})

    report = assert_loads_as_stock(saved("pixart"), quantization_config=config)

    assert_loaded_natively(report, MODELS["pixart"])
    assert report.placed_by_stock == {"transformer": "quantization_config"}


@pytest.mark.parametrize("quantises", [False, True], ids=["saved-quantised", "while-loading"])
def test_all_components_are_in_one_plan(
    quantises: bool, saved: Saved, copied: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved("pixart") if quantises else quantised_pipeline(copied)
    config = PipelineQuantizationConfig(quant_mapping={"transformer": QuantoConfig("int8")})
    plans: list[int] = []
    start = engine.start

    def counted(requests: Any, *arguments: Any) -> Any:
        plans.append(len(requests))
        return start(requests, *arguments)

    monkeypatch.setattr(engine, "start", counted)

    warpload.DiffusionPipeline.from_pretrained(folder, **({"quantization_config": config} if quantises else {}))

    assert plans == [len(MODELS["pixart"])]


def test_without_mapping_stock_reads_and_the_report_says_why(copied: Saved) -> None:
    report = assert_loads_as_stock(quantised_pipeline(copied), disable_mmap=True)

    assert report.components["transformer"] == "stock: quantised checkpoint; disable_mmap"
    assert {how for name, how in report.components.items() if name != "transformer"} == {"native"}


@pytest.mark.parametrize("method", ["nunchaku_lite", "sdnq", "modelopt", "auto-round", "unheard-of"])
def test_a_quantiser_that_is_not_here_is_stocks_error(method: str, copied: Saved) -> None:
    folder = quantised_pipeline(copied)
    config = folder / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"quant_method": "quanto"', f'"quant_method": "{method}"'))
    assert f'"{method}"' in config.read_text()

    assert_fails_as_stock(folder)


def test_bitsandbytes_without_a_gpu_is_stocks_error(copied: Saved) -> None:
    assert auto.AUTO_QUANTIZER_MAPPING["bitsandbytes_4bit"] is BnB4BitDiffusersQuantizer
    config = PipelineQuantizationConfig(quant_mapping={"transformer": diffusers.BitsAndBytesConfig(load_in_4bit=True)})

    assert_fails_as_stock(copied("pixart"), quantization_config=config)
