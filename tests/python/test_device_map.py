"""``device_map`` as stock takes it, and what only we take: any device, or a device for each component."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DiffusionPipeline

import warpload
from support import models
from support.compare import assert_loaded_natively, assert_same_component, assert_same_pipeline
from support.loading import assert_fails_as_stock, assert_loads_as_stock, load_both
from support.pipelines import DTYPES, FAMILIES, MODELS, Saved


@pytest.mark.parametrize("dtype", ["no-dtype", "bfloat16", "dictionary-without-default"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_cpu_as_a_device_map_equals_stock(family: str, dtype: str, saved: Saved) -> None:
    report = assert_loads_as_stock(saved(family), device_map="cpu", **DTYPES[dtype])

    assert_loaded_natively(report, MODELS[family])
    assert report.placed_by_stock == {}


def test_balanced_fares_as_with_stock(saved: Saved) -> None:
    assert_loaded_natively(assert_loads_as_stock(saved("pixart"), device_map="balanced"), MODELS["pixart"])


@pytest.mark.parametrize("device_map", ["auto", "sequential", "nonsense", "mps"])
def test_other_names_are_refused_with_stocks_error(device_map: str, saved: Saved) -> None:
    assert_fails_as_stock(saved("ddpm"), device_map=device_map)


def test_a_device_map_without_low_cpu_mem_usage_fails_as_stock(saved: Saved) -> None:
    assert_fails_as_stock(saved("ddpm"), device_map="cpu", low_cpu_mem_usage=False)


def devices(pipeline: DiffusionPipeline) -> dict[str, str]:
    modules = {name: value for name, value in pipeline.components.items() if isinstance(value, torch.nn.Module)}
    return {name: next(module.parameters()).device.type for name, module in modules.items()}


@pytest.mark.parametrize("device_map", [torch.device("cpu"), "cpu:0", torch.device("meta"), "meta:0"])
def test_any_one_device_is_taken(device_map: Any, saved: Saved) -> None:
    """The meta device stands for one that is not the CPU: this machine may have no other."""
    pipeline = warpload.DiffusionPipeline.from_pretrained(saved("pixart"), device_map=device_map)

    assert set(devices(pipeline).values()) == {torch.device(device_map).type}
    assert pipeline.hf_device_map == device_map
    assert_loaded_natively(warpload.last_report(), MODELS["pixart"])


def test_a_number_means_that_accelerator(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("accelerate.dispatch_model", lambda model, device_map, **_: asked.append(device_map))
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_, **__: torch.device("xpu"))

    warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), device_map=0)

    assert asked == [{"": 0}]


def test_each_component_may_have_a_device(saved: Saved) -> None:
    device_map = {"transformer": "meta", "vae": torch.device("cpu")}

    pipeline = warpload.DiffusionPipeline.from_pretrained(saved("pixart"), device_map=device_map)

    assert devices(pipeline) == {"transformer": "meta", "vae": "cpu", "text_encoder": "cpu"}
    assert pipeline.hf_device_map == device_map
    assert not hasattr(pipeline.text_encoder, "hf_device_map")


def test_the_components_not_named_take_the_default(saved: Saved) -> None:
    pipeline = warpload.DiffusionPipeline.from_pretrained(
        saved("pixart"), device_map={"vae": "cpu", "default": "meta"}, dtype=torch.float16
    )

    assert devices(pipeline) == {"transformer": "meta", "vae": "cpu", "text_encoder": "meta"}
    stock = diffusers.DiffusionPipeline.from_pretrained(saved("pixart"), device_map="cpu", dtype=torch.float16)
    assert_same_component(pipeline.vae, stock.vae, "vae")


@pytest.mark.parametrize(
    ("device_map", "reason"),
    [
        ({"unet": "nonsense"}, "nonsense"),
        ({"unet": -1}, "-1"),
        (-1, "-1"),
        (True, "True"),
        ({"transformer": "cpu"}, "transformer, which the pipeline does not load; it loads scheduler, unet"),
        ({"unet": {"": "cpu"}}, "no device"),
        (3.5, "3.5"),
    ],
)
def test_what_is_no_device_is_refused_and_named(device_map: Any, reason: str, saved: Saved) -> None:
    with pytest.raises(warpload.InvalidArgumentError) as error:
        warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), device_map=device_map)

    assert reason in str(error.value)


@pytest.mark.parametrize("dtype", [None, torch.float16])
@pytest.mark.parametrize("device_map", ["cpu", {"": "cpu"}, torch.device("cpu"), "auto"])
def test_models_take_device_maps_as_with_stock(device_map: Any, dtype: torch.dtype | None, saved: Saved) -> None:
    folder = saved("wan") / "transformer"
    stock = diffusers.WanTransformer3DModel.from_pretrained(folder, device_map=device_map, dtype=dtype)
    ours = warpload.WanTransformer3DModel.from_pretrained(folder, device_map=device_map, dtype=dtype)

    assert_same_component(ours, stock, "transformer")
    assert_loaded_natively(warpload.last_report(), {"WanTransformer3DModel"})


def test_a_model_offloaded_to_disk_equals_stock(tmp_path: Path) -> None:
    models.unet().save_pretrained(tmp_path / "unet", max_shard_size="4KB")
    names = [name for name, _ in models.unet().named_children()]
    device_map = {name: "disk" if name == "mid_block" else "cpu" for name in names}
    arguments = {"device_map": device_map, "dtype": torch.float16}

    stock = diffusers.UNet2DConditionModel.from_pretrained(
        tmp_path / "unet", offload_folder=tmp_path / "stock", **arguments
    )
    ours = warpload.UNet2DConditionModel.from_pretrained(
        tmp_path / "unet", offload_folder=tmp_path / "ours", **arguments
    )

    assert_same_component(ours, stock, "unet")
    files = {file.name: file.read_bytes() for file in (tmp_path / "stock").iterdir()}
    assert files
    assert {file.name: file.read_bytes() for file in (tmp_path / "ours").iterdir()} == files
    assert_loaded_natively(warpload.last_report(), {"UNet2DConditionModel"})


def test_resetting_the_device_map_works_as_with_stock(saved: Saved) -> None:
    ours, stock = load_both(saved("pixart"), device_map="cpu")

    for pipeline in (ours, stock):
        pipeline.reset_device_map()
        pipeline.to(torch.float16)
    assert_same_pipeline(ours, stock)
