"""What ``warpload.prefetch`` has of quantised models is what their quantisers get, or it is said why not."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers import PipelineQuantizationConfig, QuantoConfig
from gguf import GGMLQuantizationType

import warpload
from support import checkpoints, gguf_files, quantised
from support.compare import assert_same_component
from support.hub_cache import REPOSITORY, write_cache
from support.loading import assert_fails_as_stock
from support.pipelines import MODELS, Saved
from support.prefetches import report
from support.processes import falls_to, mapped_files
from warpload import prefetch_run

FLUX, T5 = "FluxTransformer2DModel", "T5EncoderModel"
# A quantiser of each library for each kind of file.
FLUX_KINDS = ["torchao-int8", "torchao-int4", "bitsandbytes-int8", "bitsandbytes-nf4", "quanto-int8", "quanto-int4"]
T5_KINDS = ["torchao-int8", "bitsandbytes-int8", "bitsandbytes-nf4"]
CASES = [*((FLUX, kind) for kind in FLUX_KINDS), *((T5, kind) for kind in T5_KINDS)]


@pytest.fixture(autouse=True)
def _quantisers_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    quantised.use_on_cpu(monkeypatch)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a model that is not quantised, in bfloat16."""
    folders = {name: tmp_path_factory.mktemp(name) for name in (FLUX, T5)}
    quantised.save(gguf_files.FLUX, folders[FLUX])
    quantised.save(quantised.T5, folders[T5])
    return folders.__getitem__


def by_stock(name: str, folder: Path, **arguments: Any) -> Any:
    return getattr(diffusers if name == FLUX else transformers, name).from_pretrained(folder, **arguments)


def by_us(name: str, folder: Path, **arguments: Any) -> Any:
    with warpload.accelerated():
        return by_stock(name, folder, **arguments)


def config_of(name: str, kind: str) -> Any:
    return (quantised.OF_DIFFUSERS if name == FLUX else quantised.OF_TRANSFORMERS)[kind]()


def assert_taken(handle: warpload.Prefetch, labels: set[str]) -> None:
    """Fail unless a load has taken all that was prefetched, and nothing is left, or told of, besides."""
    assert report().prefetched.keys() == labels
    assert report().passed_over == {}
    assert handle.state == "taken"
    assert prefetch_run.alive == []


def assert_same_parts(ours: Any, stock: Any) -> None:
    """Fail unless two pipelines have the same models, down to what their quantisers know."""
    for name, expected in stock.components.items():
        mine = ours.components[name]
        if getattr(expected, "hf_quantizer", None) is None:
            assert_same_component(mine, expected, name)
        else:
            assert quantised.assert_same_quantised(mine, expected) > 0


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("sharded", [False, True], ids=["one-file", "sharded"])
def test_a_model_that_is_saved_quantised_gets_what_was_prefetched(
    name: str, kind: str, sharded: bool, plain: Callable[[str], Path], tmp_path: Path, starts: list[Any]
) -> None:
    made = by_stock(name, plain(name), quantization_config=config_of(name, kind), dtype=torch.bfloat16)
    size = "100KB" if name == T5 else "2MB" if "bitsandbytes" in kind else "500KB"
    made.save_pretrained(tmp_path, **({"max_shard_size": size} if sharded else {}))
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == sharded
    stock = by_stock(name, tmp_path, dtype=torch.bfloat16)
    handle = warpload.prefetch(tmp_path, torch.bfloat16)
    assert handle.wait(60)

    ours = by_us(name, tmp_path, dtype=torch.bfloat16)

    assert quantised.assert_same_quantised(ours, stock) > 0
    assert_taken(handle, {name})
    assert report().components == {name: "native"}
    assert starts == []


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, "BF16"], ids=str)
def test_a_model_that_is_quantised_while_it_is_loaded_gets_what_was_prefetched_as_it_is(
    name: str, kind: str, dtype: Any, plain: Callable[[str], Path], starts: list[Any]
) -> None:
    arguments = {"dtype": torch.bfloat16}
    stock = by_stock(name, plain(name), quantization_config=config_of(name, kind), **arguments)
    handle = warpload.prefetch(plain(name), dtype)

    ours = by_us(name, plain(name), quantization_config=config_of(name, kind), **arguments)

    assert quantised.assert_same_quantised(ours, stock) > 0
    assert_taken(handle, {name})
    assert starts == []


def test_what_was_prefetched_with_a_cast_is_not_quantised_and_said_so(
    plain: Callable[[str], Path], log: pytest.LogCaptureFixture
) -> None:
    arguments: dict[str, Any] = {"dtype": torch.bfloat16}
    stock = by_stock(FLUX, plain(FLUX), quantization_config=QuantoConfig("int8"), **arguments)
    handle = warpload.prefetch(plain(FLUX), "float32")
    assert handle.wait(60)

    ours = by_us(FLUX, plain(FLUX), quantization_config=QuantoConfig("int8"), **arguments)

    assert quantised.assert_same_quantised(ours, stock) > 0
    assert report().prefetched == {}
    assert report().passed_over == {FLUX: "it was prefetched as F32, and is loaded as it is"}
    assert f"{FLUX} is not taken from the prefetch" in log.text
    assert handle.state == "dropped"
    assert prefetch_run.alive == []


def test_what_is_loaded_without_mapping_is_not_taken_and_said_so(
    plain: Callable[[str], Path], log: pytest.LogCaptureFixture
) -> None:
    handle = warpload.prefetch(plain(FLUX), torch.bfloat16)
    assert handle.wait(60)

    by_us(FLUX, plain(FLUX), quantization_config=QuantoConfig("int8"), dtype=torch.bfloat16, disable_mmap=True)

    (label,) = report().passed_over
    assert report().passed_over[label] == "quantization_config; disable_mmap"
    assert f"{label} is not taken from the prefetch" in log.text
    assert (handle.state, prefetch_run.alive) == ("dropped", [])


def test_what_the_quantiser_refuses_drops_what_was_prefetched(plain: Callable[[str], Path]) -> None:
    handle = warpload.prefetch(plain(FLUX), torch.bfloat16)
    arguments = {"quantization_config": QuantoConfig("int8"), "low_cpu_mem_usage": False}
    with pytest.raises(ValueError, match="low_cpu_mem_usage") as stock:
        by_stock(FLUX, plain(FLUX), **arguments)

    with pytest.raises(ValueError, match="low_cpu_mem_usage") as ours:
        by_us(FLUX, plain(FLUX), **arguments)

    assert str(ours.value) == str(stock.value)
    assert list(report().passed_over.values()) == ["quantization_config"]
    assert (handle.state, prefetch_run.alive) == ("dropped", [])


def test_a_file_that_has_changed_is_read_again(plain: Callable[[str], Path], tmp_path: Path) -> None:
    folder = quantised.save(gguf_files.FLUX, tmp_path)
    handle = warpload.prefetch(folder, torch.bfloat16)
    assert handle.wait(60)
    checkpoints.rewrite(
        checkpoints.weight_file(folder), lambda tensors: {name: tensor + 1 for name, tensor in tensors.items()}
    )
    stock = by_stock(FLUX, folder, quantization_config=QuantoConfig("int8"), dtype=torch.bfloat16)

    ours = by_us(FLUX, folder, quantization_config=QuantoConfig("int8"), dtype=torch.bfloat16)

    assert quantised.assert_same_quantised(ours, stock) > 0
    assert report().passed_over == {FLUX: "its files have changed since"}
    assert handle.state == "dropped"


def test_source_tensors_are_released_with_the_load_that_has_quantised_them(plain: Callable[[str], Path]) -> None:
    file = checkpoints.weight_file(plain(T5))
    config = quantised.OF_TRANSFORMERS["bitsandbytes-nf4"]
    kept = by_stock(T5, plain(T5), quantization_config=config(), dtype=torch.bfloat16)
    names = {name for name, each in kept.named_parameters() if type(each) is torch.nn.Parameter}
    warpload.prefetch(plain(T5), torch.bfloat16)

    ours = by_us(T5, plain(T5), quantization_config=config(), dtype=torch.bfloat16)

    assert {name for name, each in ours.named_parameters() if type(each) is torch.nn.Parameter} == names
    del ours, kept
    gc.collect()
    assert falls_to(lambda: mapped_files().count(str(file)), 0)


# -- of a repository that the Hub's cache holds -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "refused",
    [{"low_cpu_mem_usage": False}, {"low_cpu_mem_usage": False, "quantization_config": QuantoConfig("int8")}],
    ids=["placed by stock", "refused by the quantiser"],
)
def test_what_stock_loads_of_the_hubs_cache_leaves_no_prefetch(
    refused: dict[str, Any], saved: Saved, tmp_path: Path
) -> None:
    write_cache(saved("pixart"), tmp_path)
    handle = warpload.prefetch(REPOSITORY, subfolder="transformer", cache_dir=tmp_path)
    arguments = {"subfolder": "transformer", "cache_dir": tmp_path, "local_files_only": True, **refused}

    if "quantization_config" in refused:
        with pytest.raises(ValueError, match="low_cpu_mem_usage"):
            warpload.PixArtTransformer2DModel.from_pretrained(REPOSITORY, **arguments)
    else:
        warpload.PixArtTransformer2DModel.from_pretrained(REPOSITORY, **arguments)

    assert list(report().passed_over) == ["transformer"]
    assert (handle.state, prefetch_run.alive) == ("dropped", [])


# -- pipelines --------------------------------------------------------------------------------------------------------


def quantised_pipeline(copied: Saved, kind: str) -> Path:
    """Return a pipeline in bfloat16 with a component that is saved quantised: its T5 by bitsandbytes, or its own."""
    folder = copied("pixart")
    diffusers.PixArtAlphaPipeline.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    name, library = ("text_encoder", transformers) if "bitsandbytes" in kind else ("transformer", diffusers)
    cls = library.T5EncoderModel if name == "text_encoder" else library.PixArtTransformer2DModel
    kinds = quantised.OF_TRANSFORMERS if name == "text_encoder" else quantised.OF_DIFFUSERS
    made = cls.from_pretrained(folder / name, quantization_config=kinds[kind](), dtype=torch.bfloat16)
    made.save_pretrained(folder / name)
    return folder


KINDS = ["torchao-int8", "quanto-int8", "bitsandbytes-int8", "bitsandbytes-nf4"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_with_a_component_that_is_saved_quantised_is_prefetched_whole(
    kind: str, copied: Saved, starts: list[Any]
) -> None:
    folder = quantised_pipeline(copied, kind)
    stock = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)
    handle = warpload.prefetch(folder, torch.bfloat16)

    ours = warpload.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)

    assert_same_parts(ours, stock)
    assert_taken(handle, set(MODELS["pixart"]))
    assert report().components == dict.fromkeys(MODELS["pixart"], "native")
    assert starts == []


def quantising(kind: str) -> PipelineQuantizationConfig:
    if "bitsandbytes" in kind:
        return PipelineQuantizationConfig(quant_mapping={"text_encoder": quantised.OF_TRANSFORMERS[kind]()})
    return PipelineQuantizationConfig(quant_mapping={"transformer": quantised.OF_DIFFUSERS[kind]()})


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_that_quantises_while_it_loads_takes_what_was_prefetched_as_it_is(
    kind: str, copied: Saved, starts: list[Any]
) -> None:
    folder = copied("pixart")
    diffusers.PixArtAlphaPipeline.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    arguments = {"dtype": torch.bfloat16}
    stock = diffusers.DiffusionPipeline.from_pretrained(folder, quantization_config=quantising(kind), **arguments)
    handle = warpload.prefetch(folder, torch.bfloat16)

    ours = warpload.DiffusionPipeline.from_pretrained(folder, quantization_config=quantising(kind), **arguments)

    assert_same_parts(ours, stock)
    assert_taken(handle, set(MODELS["pixart"]))
    assert starts == []


def test_of_a_pipeline_only_what_was_cast_and_is_quantised_is_read_again(
    saved: Saved, log: pytest.LogCaptureFixture
) -> None:
    arguments = {"dtype": torch.bfloat16}
    config = quantising("quanto-int8")
    stock = diffusers.DiffusionPipeline.from_pretrained(saved("pixart"), quantization_config=config, **arguments)
    handle = warpload.prefetch(saved("pixart"), torch.bfloat16)

    ours = warpload.DiffusionPipeline.from_pretrained(saved("pixart"), quantization_config=config, **arguments)

    assert_same_parts(ours, stock)
    assert report().prefetched.keys() == {"vae", "text_encoder"}
    assert report().passed_over == {"transformer": "it was prefetched as BF16, and is loaded as it is"}
    assert "transformer is not taken from the prefetch" in log.text
    assert (handle.state, prefetch_run.alive) == ("taken", [])


def test_a_pipeline_without_mapping_says_of_each_component_why_its_prefetch_is_not_taken(copied: Saved) -> None:
    folder = quantised_pipeline(copied, "quanto-int8")
    handle = warpload.prefetch(folder, torch.bfloat16)

    warpload.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16, disable_mmap=True)

    assert report().passed_over.keys() == MODELS["pixart"]
    assert all("disable_mmap" in reason for reason in report().passed_over.values())
    assert (handle.state, prefetch_run.alive) == ("dropped", [])


def test_a_pipeline_whose_quantiser_is_not_here_leaves_no_prefetch(copied: Saved) -> None:
    folder = quantised_pipeline(copied, "quanto-int8")
    config = folder / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"quant_method": "quanto"', '"quant_method": "unheard-of"'))
    handle = warpload.prefetch(folder, torch.bfloat16)

    assert_fails_as_stock(folder, dtype=torch.bfloat16)

    assert handle.state == "taken"
    assert prefetch_run.alive == []


# -- single files -----------------------------------------------------------------------------------------------------


def test_a_single_file_that_is_quantised_while_it_is_loaded_is_read_from_the_prefetch(
    plain: Callable[[str], Path], starts: list[Any]
) -> None:
    file = checkpoints.weight_file(plain(FLUX))
    arguments = {"config": str(plain(FLUX)), "dtype": torch.bfloat16}
    config = quantised.OF_DIFFUSERS["torchao-int8"]
    handle = warpload.prefetch(file)

    warpload.FluxTransformer2DModel.from_single_file(str(file), quantization_config=config(), **arguments)

    assert_taken(handle, {file.name})
    assert starts == []


def test_a_gguf_file_is_read_from_the_prefetch(plain: Callable[[str], Path], tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "flux.gguf", gguf_files.flux(GGMLQuantizationType.Q4_K))
    handle = warpload.prefetch(file)

    warpload.FluxTransformer2DModel.from_single_file(
        str(file),
        config=str(plain(FLUX)),
        quantization_config=diffusers.GGUFQuantizationConfig(torch.bfloat16),
        dtype=torch.bfloat16,
    )

    assert_taken(handle, {file.name})
