"""What ``warpload.prefetch`` has put on its way is taken by whatever loads it: once, and as stock would load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch
import transformers

import warpload
from support import checkpoints
from support.compare import assert_same_model, assert_same_pipeline, assert_same_tensor
from support.devices import Device
from support.hub_cache import REPOSITORY, break_file, write_cache
from support.pipelines import MODELS, Saved
from support.prefetches import report
from support.sharded import shard

DTYPES: dict[str, Any] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "by component": {"vae": torch.float32, "unet": "float16", "transformer": "F16", "default": torch.bfloat16},
}


def plain(dtype: Any) -> Any:
    """Return a dtype as ``from_pretrained`` takes it."""
    if isinstance(dtype, dict):
        return {name: plain(each) for name, each in dtype.items()}
    return {"float16": torch.float16, "F16": torch.float16}.get(dtype, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["stable-diffusion-xl", "stable-diffusion-3", "wan"])
def test_a_pipeline_of_prefetched_bytes_equals_stocks(family: str, dtype: str, saved: Saved, device: Device) -> None:
    folder, given = saved(family), {"dtype": plain(DTYPES[dtype]), **device.map()}
    stock = diffusers.DiffusionPipeline.from_pretrained(folder, **given)
    handle = warpload.prefetch(folder, DTYPES[dtype], device.name)

    ours = warpload.DiffusionPipeline.from_pretrained(folder, **given)

    assert_same_pipeline(ours, stock)
    assert report().prefetched.keys() == MODELS[family]
    assert report().passed_over == {}
    assert report().components == dict.fromkeys(MODELS[family], "native")
    assert handle.state == "taken"


def test_what_was_prefetched_is_read_by_nobody_else(saved: Saved, device: Device, starts: list[Any]) -> None:
    handle = warpload.prefetch(saved("stable-diffusion-xl"), "bfloat16", device.name)
    assert handle.wait(60)

    warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion-xl"), dtype=torch.bfloat16, **device.map())

    assert starts == []


def test_bytes_are_taken_once(saved: Saved) -> None:
    warpload.prefetch(saved("ddpm"), "float16")
    first = warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16)

    second = warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16)

    assert (report().prefetched, report().passed_over) == ({}, {})
    assert_same_pipeline(second, first)
    pointers = {tensor.data_ptr() for tensor in first.unet.parameters()}
    assert pointers.isdisjoint(tensor.data_ptr() for tensor in second.unet.parameters())


def test_memory_goes_with_the_model_that_took_it(saved: Saved, device: Device) -> None:
    warpload.prefetch(saved("ddpm"), "float16", device.name)
    pipeline = warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16, **device.map())
    assert device.holds_all(pipeline.unet.parameters())

    del pipeline

    assert device.segment_bytes() == 0


def _pipeline(folder: Path) -> Any:
    return warpload.DDPMPipeline.from_pretrained(folder, dtype=torch.float16).unet


def _stocks_own_class(folder: Path) -> Any:
    warpload.install()
    try:
        return diffusers.DDPMPipeline.from_pretrained(folder, dtype=torch.float16).unet
    finally:
        warpload.uninstall()


def _inside_accelerated(folder: Path) -> Any:
    with warpload.accelerated():
        return diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float16).unet


def _model(folder: Path) -> Any:
    return warpload.UNet2DModel.from_pretrained(folder, subfolder="unet", dtype=torch.float16)


def _model_of_any_class(folder: Path) -> Any:
    return warpload.AutoModel.from_pretrained(str(folder / "unet"), dtype=torch.float16)


LOADS = [_pipeline, _stocks_own_class, _inside_accelerated, _model, _model_of_any_class]


@pytest.mark.parametrize("load", LOADS)
def test_whatever_loads_those_files_takes_them(load: Any, saved: Saved) -> None:
    expected = diffusers.UNet2DModel.from_pretrained(saved("ddpm") / "unet", dtype=torch.float16)
    handle = warpload.prefetch(saved("ddpm"), "float16")

    ours = load(saved("ddpm"))

    for name, tensor in expected.state_dict().items():
        assert_same_tensor(ours.state_dict()[name], tensor, name)
    assert len(report().prefetched) == 1
    assert handle.state == "taken"


def test_a_pipeline_that_is_picked_for_a_task_takes_it(saved: Saved) -> None:
    warpload.prefetch(saved("stable-diffusion"), "float16")

    warpload.AutoPipelineForText2Image.from_pretrained(saved("stable-diffusion"), dtype=torch.float16)

    assert report().prefetched.keys() == MODELS["stable-diffusion"]


@pytest.mark.parametrize("spelled", ["subfolder", "the folder itself"])
@pytest.mark.parametrize("name", ["unet", "text_encoder"])
def test_a_model_is_prefetched_by_itself(name: str, spelled: str, saved: Saved, device: Device) -> None:
    folder = saved("stable-diffusion")
    cls: Any = diffusers.UNet2DConditionModel if name == "unet" else transformers.CLIPTextModel
    source, more = (folder, {"subfolder": name}) if spelled == "subfolder" else (folder / name, {})
    expected = cls.from_pretrained(source, dtype=torch.bfloat16, **more, **device.map())
    warpload.prefetch(source, torch.bfloat16, device.name, **more)

    with warpload.accelerated():
        ours = cls.from_pretrained(source, dtype=torch.bfloat16, **more, **device.map())

    assert_same_model(ours, expected)
    assert len(report().prefetched) == 1


@pytest.mark.parametrize("dtype", [None, "float16", "F64"])
@pytest.mark.parametrize("kind", ["a file", "several files", "an index"])
def test_load_file_takes_what_it_would_read(
    kind: str, dtype: str | None, copied: Saved, device: Device, starts: list[Any]
) -> None:
    component = copied("ddpm") / "unet"
    expected = safetensors.torch.load_file(checkpoints.weight_file(component))
    source: Any = checkpoints.weight_file(component) if kind == "a file" else shard(component)
    if kind == "several files":
        source = sorted(component.glob("*.safetensors"))
    wanted = {None: None, "float16": torch.float16, "F64": torch.float64}[dtype]
    warpload.prefetch(source, dtype, device.name)

    ours = warpload.load_file(source, device.name, wanted)

    assert starts == []
    assert len(report().prefetched) == 1
    assert ours.keys() == expected.keys()
    for name, tensor in expected.items():
        assert_same_tensor(ours[name].cpu(), tensor if wanted is None else tensor.to(wanted), name)


def test_casts_that_are_torchs_are_torchs_for_prefetched_files(mixed: Path) -> None:
    expected = warpload.load_file(mixed, dtype=torch.float16)
    warpload.prefetch(mixed, "float16")

    ours = warpload.load_file(mixed, dtype=torch.float16)

    assert report().prefetched.keys() == {mixed.name}
    assert list(ours) == list(expected)
    for name, tensor in expected.items():
        assert_same_tensor(ours[name], tensor, name)


def test_a_single_file_that_stock_converts_is_read_from_the_prefetch(saved: Saved) -> None:
    file = checkpoints.weight_file(saved("stable-diffusion") / "vae")
    handle = warpload.prefetch(file)

    warpload.AutoencoderKL.from_single_file(str(file), config=str(saved("stable-diffusion") / "vae"))

    assert report().prefetched.keys() == {file.name}
    assert handle.state == "taken"


def test_a_pipeline_takes_what_a_model_of_it_has_left(saved: Saved) -> None:
    folder = saved("stable-diffusion")
    handle = warpload.prefetch(folder, {"vae": torch.float32, "default": torch.float16}, without=["safety_checker"])
    vae = warpload.AutoencoderKL.from_pretrained(folder, subfolder="vae")
    assert report().prefetched.keys() == {"vae"}

    warpload.DiffusionPipeline.from_pretrained(folder, vae=vae, safety_checker=None, dtype=torch.float16)

    assert report().prefetched.keys() == {"unet", "text_encoder"}
    assert handle.state == "taken"


def test_what_a_pipeline_leaves_of_its_prefetch_is_dropped(saved: Saved, device: Device) -> None:
    handle = warpload.prefetch(saved("stable-diffusion"), "float16", device.name)

    pipeline = warpload.DiffusionPipeline.from_pretrained(
        saved("stable-diffusion"), safety_checker=None, dtype=torch.float16, **device.map()
    )

    assert handle.state == "taken"
    assert handle.reason
    assert device.holds_all(pipeline.unet.parameters())
    del pipeline
    assert device.segment_bytes() == 0


def test_the_source_may_be_spelled_otherwise(saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved("ddpm")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder.parent)
    warpload.prefetch(folder.name)
    monkeypatch.chdir(tmp_path)

    warpload.DiffusionPipeline.from_pretrained(tmp_path / "link")

    assert report().prefetched.keys() == {"unet"}


def test_a_complete_repository_of_the_hubs_cache_is_prefetched(saved: Saved, tmp_path: Path) -> None:
    write_cache(saved("stable-diffusion"), tmp_path)
    warpload.prefetch(REPOSITORY, "float16", cache_dir=tmp_path)

    warpload.DiffusionPipeline.from_pretrained(
        REPOSITORY, dtype=torch.float16, cache_dir=tmp_path, local_files_only=True
    )

    assert report().prefetched.keys() == MODELS["stable-diffusion"]


@pytest.mark.parametrize("hole", ["no such repository", "a file is missing"])
def test_of_the_hub_nothing_is_asked_for_a_prefetch(
    hole: str, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = write_cache(saved("stable-diffusion"), tmp_path)
    break_file(checkpoints.weight_file(snapshot / "unet"), "missing")
    asked: list[Any] = []
    monkeypatch.setattr("socket.socket.connect", lambda *given: asked.append(given))
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)

    handle = warpload.prefetch("warpload-tests/none" if "no" in hole.split() else REPOSITORY, cache_dir=tmp_path)

    assert not handle.wait(60)
    assert handle.state == "failed"
    assert "the Hub's cache" in handle.reason
    assert asked == []
