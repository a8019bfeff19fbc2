"""Whatever way the files are written, the pipeline is the one that stock makes of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import warpload
from support import checkpoints, models
from support.compare import assert_loaded_natively, assert_same_pipeline
from support.devices import Device, models_of
from support.loading import assert_loads_as_stock, load_both
from support.pipelines import DTYPES, FAMILIES, MODELS, Saved
from warpload.models.joint_load import WantedModel
from warpload.pipelines import early_start


@pytest.mark.parametrize("dtype", ["no-dtype", "float16", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_sharded_pipelines_equal_stock(family: str, dtype: str, device: Device, tmp_path: Path) -> None:
    FAMILIES[family]().save_pretrained(tmp_path, max_shard_size="4KB")
    assert list(tmp_path.glob("*/*.index.json"))

    report = assert_loads_as_stock(tmp_path, **device.map(), **DTYPES[dtype])

    assert_loaded_natively(report, MODELS[family])
    assert (device.allocations > 0) == device.has_slots


@pytest.mark.parametrize("dtype", ["no-dtype", "float32", "bfloat16"])
def test_a_variant_is_taken_where_there_is_one(dtype: str, copied: Saved) -> None:
    folder = copied("stable-diffusion-xl")
    half = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float16)
    for name in ("unet", "text_encoder", "text_encoder_2"):
        getattr(half, name).save_pretrained(folder / name, variant="fp16")
    assert not list((folder / "vae").glob("*.fp16.*"))

    report = assert_loads_as_stock(folder, variant="fp16", **DTYPES[dtype])

    assert_loaded_natively(report, MODELS["stable-diffusion-xl"])


def test_files_of_the_variant_are_those_that_begin_before_the_classes_are_known(
    copied: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("stable-diffusion-xl")
    half = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float16)
    half.unet.save_pretrained(folder / "unet", variant="fp16")
    half.text_encoder.save_pretrained(folder / "text_encoder", variant="fp16")
    begun: dict[str, str] = {}
    find = early_start.wanted_models

    def find_and_note(*arguments: Any) -> list[WantedModel]:
        found = find(*arguments)
        begun.update({model.label: Path(model.path).name for model in found})
        return found

    monkeypatch.setattr(early_start, "wanted_models", find_and_note)

    assert_loads_as_stock(folder, variant="fp16")

    assert begun == {
        "unet": "diffusion_pytorch_model.fp16.safetensors",
        "text_encoder": "model.fp16.safetensors",
        "text_encoder_2": "model.safetensors",
        "vae": "diffusion_pytorch_model.safetensors",
    }


@pytest.mark.parametrize("shard_size", ["4KB", "1GB"])
@pytest.mark.parametrize("dtype", ["no-dtype", "float16"])
@pytest.mark.parametrize("family", ["stable-diffusion", "stable-diffusion-xl", "wan"])
def test_variants_equal_stock(family: str, dtype: str, shard_size: str, device: Device, tmp_path: Path) -> None:
    pipeline = FAMILIES[family]()
    for model in models_of(pipeline).values():
        model.to(torch.float16)
    pipeline.save_pretrained(tmp_path, variant="fp16", max_shard_size=shard_size)
    assert bool(list(tmp_path.glob("vae/*.index.fp16.json"))) == (shard_size == "4KB")

    report = assert_loads_as_stock(tmp_path, variant="fp16", **device.map(), **DTYPES[dtype])

    assert_loaded_natively(report, MODELS[family])


@pytest.mark.parametrize("dtype", ["no-dtype", "float16"])
def test_text_encoders_with_the_hubs_keys_equal_stock(dtype: str, copied: Saved) -> None:
    folder = copied("stable-diffusion")

    def hub_style(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        renamed = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in tensors.items()}
        return renamed | {"text_model.embeddings.position_ids": torch.arange(77)[None]}

    checkpoints.rewrite(checkpoints.weight_file(folder / "text_encoder"), hub_style)

    report = assert_loads_as_stock(folder, **DTYPES[dtype])

    assert_loaded_natively(report, MODELS["stable-diffusion"])


@pytest.mark.parametrize("shift", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["no-dtype", "float16", "bfloat16"])
def test_files_that_are_misaligned_equal_stock(dtype: str, shift: int, copied: Saved) -> None:
    folder = copied("wan")
    for name in MODELS["wan"]:
        file = checkpoints.weight_file(folder / name)
        checkpoints.save_raw(checkpoints.load_file(file), file, shift=shift)

    report = assert_loads_as_stock(folder, **DTYPES[dtype])

    assert_loaded_natively(report, MODELS["wan"])


@pytest.mark.parametrize("dtype", ["no-dtype", "float16", "bfloat16"])
def test_tensors_behind_one_of_odd_size_equal_stock(dtype: str, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    file = checkpoints.weight_file(folder / "vae")
    tensors = checkpoints.load_file(file)
    tensors["decoder.conv_out.bias"] = tensors["decoder.conv_out.bias"].to(torch.float8_e4m3fn)
    assert tensors["decoder.conv_out.bias"].nbytes == 3
    checkpoints.save_raw(tensors, file, order=sorted(tensors))

    report = assert_loads_as_stock(folder, **DTYPES[dtype])

    assert_loaded_natively(report, MODELS["stable-diffusion"])


@pytest.mark.parametrize("dtype", ["no-dtype", "float16"])
def test_without_mapping_it_equals_stock_and_holds_no_file(dtype: str, copied: Saved) -> None:
    folder = copied("stable-diffusion-xl")

    ours, stock = load_both(folder, disable_mmap=True, **DTYPES[dtype])

    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion-xl"])
    del stock
    maps = Path("/proc/self/maps").read_text()
    assert str(folder) not in maps
    assert ours.unet.conv_in.weight.isfinite().all()


def test_deprecated_attention_keys_equal_stock(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def deprecated(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        renamed = {}
        for name, tensor in tensors.items():
            for new, before in old.items():
                name = name.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
            renamed[name] = tensor
        return renamed

    file = checkpoints.weight_file(folder / "vae")
    checkpoints.rewrite(file, deprecated)
    assert any(".proj_attn." in name for name in checkpoints.load_file(file))

    report = assert_loads_as_stock(folder)

    assert_loaded_natively(report, MODELS["stable-diffusion"])


def replace_component(folder: Path, name: str, library: str, model: Any) -> None:
    """Put another model into a saved pipeline; stock says that the type is unexpected, and takes it."""
    shutil.rmtree(folder / name)
    model.save_pretrained(folder / name)
    index = json.loads((folder / "model_index.json").read_text())
    index[name] = [library, type(model).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("dtype", ["no-dtype", "float16", "bfloat16"])
@pytest.mark.parametrize("has_file", [True, False])
def test_tied_weights_and_generation_settings_equal_stock(dtype: str, has_file: bool, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    replace_component(folder, "text_encoder", "transformers", models.causal_language_model())
    if not has_file:
        (folder / "text_encoder" / "generation_config.json").unlink()

    ours, stock = load_both(folder, **DTYPES[dtype])

    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion"])
    assert ours.text_encoder.lm_head.weight is ours.text_encoder.transformer.wte.weight
    assert (ours.text_encoder.generation_config.max_new_tokens == 17) == has_file


@pytest.mark.parametrize("dtype", ["no-dtype", "float32", "float16", "bfloat16"])
def test_buffers_with_values_in_the_file_equal_stock(dtype: str, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    replace_component(folder, "vae", "diffusers", models.vae_with_statistics())

    ours, stock = load_both(folder, **DTYPES[dtype])

    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion"])
    assert ours.vae.bn.num_batches_tracked.item() == 123_456_789
    assert ours.vae.bn.running_mean[1].isclose(torch.tensor(1 / 7).to(ours.vae.bn.running_mean.dtype))


def edit_config(component: Path, **changes: Any) -> None:
    """Change entries of a model's configuration; None removes one."""
    file = component / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


@pytest.mark.parametrize("config", [{"dtype": None}, {"dtype": None, "torch_dtype": "float16"}, {"dtype": "bfloat16"}])
@pytest.mark.parametrize("dtype", ["no-dtype", "float32"])
def test_text_encoders_whose_configuration_says_another_dtype_equal_stock(
    config: dict[str, Any], dtype: str, saved: Saved, tmp_path: Path
) -> None:
    """Without a dtype in the call, transformers asks the configuration, and then the file."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), dtype=torch.float16)
    pipeline.save_pretrained(tmp_path)
    edit_config(tmp_path / "text_encoder", **config)

    report = assert_loads_as_stock(tmp_path, **DTYPES[dtype])

    assert_loaded_natively(report, MODELS["stable-diffusion"])


@pytest.mark.parametrize("dtype", ["no-dtype", "float16", "bfloat16"])
@pytest.mark.parametrize("other", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_files_of_mixed_dtypes_equal_stock(other: torch.dtype, dtype: str, copied: Saved) -> None:
    folder = copied("wan")

    def every_other(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        return {
            name: tensor.to(other) if number % 2 else tensor for number, (name, tensor) in enumerate(tensors.items())
        }

    for name in MODELS["wan"]:
        checkpoints.rewrite(checkpoints.weight_file(folder / name), every_other)

    report = assert_loads_as_stock(folder, **DTYPES[dtype])

    assert_loaded_natively(report, MODELS["wan"])


def test_of_a_sharded_and_a_single_checkpoint_stocks_choice_is_taken(copied: Saved) -> None:
    """diffusers prefers the index, transformers the single file."""
    folder = copied("stable-diffusion")
    others = {"unet": models.unet(seed=50), "text_encoder": models.clip_text_model(seed=51)}
    for name, other in others.items():
        file = checkpoints.weight_file(folder / name)
        single = file.read_bytes()
        file.unlink()
        other.save_pretrained(folder / name, max_shard_size="4KB")
        file.write_bytes(single)

    report = assert_loads_as_stock(folder)

    assert_loaded_natively(report, MODELS["stable-diffusion"])


@pytest.mark.parametrize("metadata", [None, {"format": "tf"}])
def test_metadata_make_no_difference(metadata: dict[str, str] | None, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    for name in MODELS["stable-diffusion"]:
        file = checkpoints.weight_file(folder / name)
        tensors = {key: tensor.clone() for key, tensor in checkpoints.load_file(file).items()}
        checkpoints.save_file(tensors, file, metadata=metadata)

    assert_loads_as_stock(folder)


def test_an_optional_component_given_as_an_argument_is_taken(saved: Saved) -> None:
    # Called on DiffusionPipeline, stock loads Wan's transformer from the folder all the same; called on WanPipeline it
    # takes the one that is given, as its documentation says. We take it in both.
    folder = saved("wan")
    transformer = diffusers.WanTransformer3DModel.from_pretrained(folder / "transformer")

    for pipeline_class in (warpload.DiffusionPipeline, warpload.WanPipeline):
        assert pipeline_class.from_pretrained(folder, transformer=transformer).transformer is transformer


def test_an_optional_component_given_as_none_fares_as_with_stock(saved: Saved) -> None:
    """Called on DiffusionPipeline, stock loads it all the same."""
    for pipeline_class in ("DiffusionPipeline", "WanPipeline"):
        ours, stock = load_both(saved("wan"), pipeline_class, transformer=None)

        assert_same_pipeline(ours, stock)
