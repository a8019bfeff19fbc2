"""A pipeline from the core is the pipeline from stock, on every device: classes, settings, bytes, ties."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import warpload
from support import checkpoints, models
from support.compare import assert_loaded_natively, assert_same_model, assert_same_pipeline
from support.devices import Device, parameters_of
from support.loading import assert_loads_as_stock, forbid_stock_readers, load_both
from support.pipelines import DTYPES, FAMILIES, MODELS, Saved, stable_diffusion
from warpload import engine


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_equals_stock_in_every_dtype(family: str, dtype: str, device: Device, saved: Saved) -> None:
    ours, stock = load_both(saved(family), **device.map(), **DTYPES[dtype])

    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), MODELS[family])
    assert warpload.last_report().placed_by_stock == {}
    assert device.holds_all(parameters_of(ours))


@pytest.mark.parametrize("dtype", ["no-dtype", "float32", "bfloat16"])
@pytest.mark.parametrize("family", ["stable-diffusion-xl", "wan", "pixart"])
def test_half_precision_files_equal_stock(
    family: str, dtype: str, device: Device, saved: Saved, tmp_path: Path
) -> None:
    diffusers.DiffusionPipeline.from_pretrained(saved(family), dtype=torch.float16).save_pretrained(tmp_path)

    report = assert_loads_as_stock(tmp_path, **device.map(), **DTYPES[dtype])

    assert_loaded_natively(report, MODELS[family])


@pytest.mark.parametrize("dtype", ["no-dtype", "float32", "float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_stock_reads_none_of_the_weights(
    family: str, dtype: str, device: Device, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {**device.map(), **DTYPES[dtype]}
    stock = diffusers.DiffusionPipeline.from_pretrained(saved(family), **arguments)
    forbid_stock_readers(monkeypatch)

    ours = warpload.DiffusionPipeline.from_pretrained(saved(family), **arguments)

    assert_same_pipeline(ours, stock)


@pytest.mark.parametrize("dtype", ["no-dtype", "float32", "bfloat16"])
def test_each_tensor_has_a_storage_of_exactly_its_size(dtype: str, device: Device, saved: Saved) -> None:
    folder = saved("stable-diffusion-xl")
    pipeline = warpload.DiffusionPipeline.from_pretrained(folder, **device.map(), **DTYPES[dtype])

    for name in MODELS["stable-diffusion-xl"]:
        for key, tensor in getattr(pipeline, name).state_dict().items():
            assert tensor.untyped_storage().nbytes() == tensor.nbytes, f"{name}.{key}"
            assert tensor.storage_offset() == 0, f"{name}.{key}"


@pytest.mark.parametrize("family", ["stable-diffusion", "flux"])
def test_all_bytes_are_there_before_a_pipelines_own_code_sees_its_models(
    family: str, device: Device, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a pipeline makes of its models while it is put together, it may make of their values."""
    folder = saved(family)  # built before pipelines are watched
    waited: list[tuple[int, int]] = []
    by_then: list[set[tuple[int, int]]] = []
    wait, register = engine.wait_arrival, diffusers.DiffusionPipeline.register_modules

    def wait_and_tell(handle: Any, segment: int, place: torch.device | None) -> None:
        wait(handle, segment, place)
        waited.append((id(handle), segment))

    def tell_and_register(self: Any, **modules: Any) -> None:
        by_then.append(set(waited))
        register(self, **modules)

    monkeypatch.setattr(engine, "wait_arrival", wait_and_tell)
    monkeypatch.setattr(diffusers.DiffusionPipeline, "register_modules", tell_and_register)

    warpload.DiffusionPipeline.from_pretrained(folder, **device.map(), dtype=torch.bfloat16)

    assert len(by_then[0]) >= len(MODELS[family])
    assert by_then[0] == set(waited)


def test_parts_that_stay_in_float32_do(saved: Saved) -> None:
    pipeline = warpload.DiffusionPipeline.from_pretrained(saved("wan"), dtype=torch.float16)

    transformer = pipeline.transformer
    assert transformer.condition_embedder.time_embedder.linear_1.weight.dtype == torch.float32
    assert transformer.blocks[0].scale_shift_table.dtype == torch.float32
    assert transformer.blocks[0].attn1.to_q.weight.dtype == torch.float16
    layer = pipeline.text_encoder.encoder.block[0].layer
    assert layer[1].DenseReluDense.wo.weight.dtype == torch.float32
    assert layer[1].DenseReluDense.wi_0.weight.dtype == torch.float16


def test_components_that_the_caller_gives_are_not_read(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    given = {"unet": models.unet(seed=100), "text_encoder": models.clip_text_model(seed=101)}
    for name in given:
        shutil.rmtree(folder / name)

    ours, stock = load_both(folder, **given)

    assert_same_pipeline(ours, stock)
    assert all(getattr(ours, name) is value for name, value in given.items())
    assert_loaded_natively(warpload.last_report(), {"vae", "safety_checker"})


def test_a_component_given_as_none_is_left_out(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    shutil.rmtree(folder / "safety_checker")

    report = assert_loads_as_stock(folder, safety_checker=None)

    assert_loaded_natively(report, {"vae", "unet", "text_encoder"})


def test_components_that_are_null_in_the_index_are_left_out(tmp_path: Path) -> None:
    pipeline = stable_diffusion(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipeline.save_pretrained(tmp_path)

    report = assert_loads_as_stock(tmp_path)

    assert_loaded_natively(report, {"vae", "unet", "text_encoder"})


@pytest.mark.parametrize("pipeline_class", ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"])
def test_a_named_class_gives_that_class(pipeline_class: str, saved: Saved) -> None:
    ours, stock = load_both(saved("stable-diffusion"), pipeline_class, dtype=torch.float16)

    assert type(ours) is getattr(diffusers, pipeline_class)
    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion"])


def test_a_class_with_other_components_loads_those_it_takes(saved: Saved) -> None:
    """DDPM takes the U-Net and the scheduler of a folder that has much more."""
    ours, stock = load_both(saved("stable-diffusion"), "DDPMPipeline")

    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"unet"})


def test_a_hub_id_in_the_cache_equals_stock(saved: Saved, tmp_path: Path) -> None:
    """The Hub's cache as huggingface_hub lays it out: snapshots of links to blobs."""
    repository = tmp_path / "models--tests--tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    for file in saved("stable-diffusion").rglob("*"):
        if file.is_file():
            link = snapshot / file.relative_to(saved("stable-diffusion"))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)

    report = assert_loads_as_stock("tests/tiny", cache_dir=tmp_path, local_files_only=True, dtype=torch.float16)

    assert_loaded_natively(report, MODELS["stable-diffusion"])
    assert report.source == "tests/tiny"


@pytest.mark.filterwarnings("ignore:.torch_dtype. is deprecated:FutureWarning")
def test_the_older_name_of_the_dtype_argument_works(saved: Saved) -> None:
    report = assert_loads_as_stock(saved("ddpm"), torch_dtype=torch.bfloat16)

    assert_loaded_natively(report, MODELS["ddpm"])


def test_a_folder_given_as_a_path_or_with_a_trailing_slash_equals_stock(saved: Saved) -> None:
    for folder in (saved("pixart"), str(saved("pixart")), f"{saved('pixart')}/"):
        assert_loaded_natively(assert_loads_as_stock(folder), MODELS["pixart"])


def test_what_was_loaded_can_be_saved_sharded_and_loaded_again(saved: Saved, tmp_path: Path) -> None:
    folder = saved("stable-diffusion-xl")
    warpload.DiffusionPipeline.from_pretrained(folder).save_pretrained(tmp_path / "ours", max_shard_size="4KB")
    diffusers.DiffusionPipeline.from_pretrained(folder).save_pretrained(tmp_path / "stock", max_shard_size="4KB")

    ours = {path.relative_to(tmp_path / "ours"): path for path in (tmp_path / "ours").rglob("*") if path.is_file()}
    stock = {path.relative_to(tmp_path / "stock"): path for path in (tmp_path / "stock").rglob("*") if path.is_file()}
    assert ours.keys() == stock.keys()
    for name, path in ours.items():
        assert path.read_bytes() == stock[name].read_bytes(), name


def test_it_computes_what_stock_computes(saved: Saved) -> None:
    ours, stock = load_both(saved("stable-diffusion"), safety_checker=None)
    arguments = {"prompt": "a bad cab", "num_inference_steps": 2, "output_type": "pt", "height": 16, "width": 16}

    images = [pipeline(generator=torch.Generator().manual_seed(0), **arguments).images for pipeline in (ours, stock)]

    assert torch.equal(*images)
    assert images[0].isfinite().all()


def test_a_single_changed_bit_is_noticed(copied: Saved) -> None:
    """The comparison itself can fail."""
    folder = copied("ddpm")
    stock = diffusers.DiffusionPipeline.from_pretrained(folder)
    file = checkpoints.weight_file(folder / "unet")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()  # stock's tensors are views of the old file
    file.write_bytes(content)
    ours = warpload.DiffusionPipeline.from_pretrained(folder)

    with pytest.raises(AssertionError, match="other bytes"):
        assert_same_model(ours.unet, stock.unet)
