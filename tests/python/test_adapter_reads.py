"""What adapters cost: the core reads each file once, and what needs no cast takes no memory but the file's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model

import warpload
from support import checkpoints, loras, models
from support.compare import assert_same_model
from support.loading import forbid_stock_readers
from support.pipelines import Saved
from support.prefetches import report
from support.processes import memory_taken
from warpload import engine

MEGABYTE = 1 << 20


# -- how often files are read -----------------------------------------------------------------------------------------


class Reads:
    """The files that the core has opened, and how many loads of tensors it has begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[str] = []
        self.started = 0
        open_checkpoint, start = engine.open_checkpoint, engine.start

        def opens(paths: Any, **keywords: Any) -> Any:
            self.opened.append(Path(paths).name)
            return open_checkpoint(paths, **keywords)

        def starts(requests: Any, *arguments: Any) -> Any:
            self.started += len(requests)
            return start(requests, *arguments)

        monkeypatch.setattr(engine, "open_checkpoint", opens)
        monkeypatch.setattr(engine, "start", starts)


def text_encoder(saved: Saved) -> Any:
    return transformers.CLIPTextModel.from_pretrained(saved("stable-diffusion") / "text_encoder")


def pipeline(saved: Saved) -> Any:
    return diffusers.StableDiffusionPipeline.from_pretrained(saved("stable-diffusion"))


def image_encoder(folder: Path) -> None:
    torch.manual_seed(5)
    config = transformers.CLIPVisionConfig(
        **{**models.SMALL, "image_size": 8, "patch_size": 4, "projection_dim": 8}, dtype="float32"
    )
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")


def write_ip_adapter(saved: Saved, file: Path, seed: int = 0) -> None:
    """Write an IP-Adapter for the tiny U-Net, whose image encoder gives eight numbers."""
    unet = pipeline(saved).unet
    generator = torch.Generator().manual_seed(seed)
    width = unet.config.cross_attention_dim
    shapes = {"proj.weight": (4 * width, 8), "proj.bias": (4 * width,), "norm.weight": (width,), "norm.bias": (width,)}
    tensors = {f"image_proj.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    crossing = [name for name in unet.attn_processors if not name.endswith("attn1.processor")]
    for number, name in enumerate(crossing):
        shape = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * number + 1}.{part}.weight"] = torch.randn(shape, generator=generator)
    safetensors.torch.save_file(tensors, file)


def ip_adapter(saved: Saved, folder: Path) -> Callable[[], Any]:
    write_ip_adapter(saved, folder / "ip.safetensors")

    def load() -> Any:
        loaded = pipeline(saved)
        loaded.load_ip_adapter(str(folder), subfolder="", weight_name="ip.safetensors", image_encoder_folder=None)
        return loaded

    return load


def ip_adapters(saved: Saved, folder: Path) -> Callable[[], Any]:
    """Two at once, with the encoder of the images."""
    names = ["one.safetensors", "other.safetensors"]
    for seed, name in enumerate(names):
        write_ip_adapter(saved, folder / name, seed)
    image_encoder(folder)

    def load() -> Any:
        loaded = pipeline(saved)
        loaded.load_ip_adapter(
            [str(folder)] * 2, subfolder=["", ""], weight_name=names, image_encoder_folder="image_encoder"
        )
        return loaded

    return load


def textual_inversions(saved: Saved, folder: Path) -> Callable[[], Any]:
    width = json.loads((saved("stable-diffusion") / "text_encoder" / "config.json").read_text())["hidden_size"]
    files = [folder / "first.safetensors", folder / "second.safetensors"]
    for number, file in enumerate(files):
        generator = torch.Generator().manual_seed(number)
        safetensors.torch.save_file({f"<learned{number}>": torch.randn(2, width, generator=generator)}, file)

    def load() -> Any:
        loaded = pipeline(saved)
        loaded.load_textual_inversion([str(file) for file in files])
        return loaded

    return load


def lora(saved: Saved, folder: Path) -> Callable[[], Any]:
    loras.save(loras.peft(pipeline(saved)), folder / "lora.safetensors")

    def load() -> Any:
        loaded = pipeline(saved)
        loaded.load_lora_weights(folder, weight_name="lora.safetensors")
        return loaded

    return load


def saved_by_peft(saved: Saved, folder: Path) -> Path:
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(text_encoder(saved), config).save_pretrained(folder / "adapter")
    return folder / "adapter"


def of_peft(saved: Saved, folder: Path) -> Callable[[], Any]:
    adapter = saved_by_peft(saved, folder)
    return lambda: PeftModel.from_pretrained(text_encoder(saved), adapter)


def second_of_peft(saved: Saved, folder: Path) -> Callable[[], Any]:
    adapter = saved_by_peft(saved, folder)

    def load() -> Any:
        model = get_peft_model(text_encoder(saved), LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
        model.load_adapter(adapter, adapter_name="second")
        return model

    return load


def of_transformers(saved: Saved, folder: Path) -> Callable[[], Any]:
    adapter = saved_by_peft(saved, folder)

    def load() -> Any:
        model = text_encoder(saved)
        model.load_adapter(str(adapter))
        return model

    return load


# Kind -> what makes its files and returns what loads them, and the names of the files.
KINDS: dict[str, tuple[Callable[[Saved, Path], Callable[[], Any]], list[str]]] = {
    "LoRA": (lora, ["lora.safetensors"]),
    "IP-Adapter": (ip_adapter, ["ip.safetensors"]),
    "IP-Adapters with an image encoder": (
        ip_adapters,
        ["one.safetensors", "other.safetensors", "model.safetensors"],
    ),
    "textual inversions": (textual_inversions, ["first.safetensors", "second.safetensors"]),
    "peft's from_pretrained": (of_peft, ["adapter_model.safetensors"]),
    "peft's load_adapter": (second_of_peft, ["adapter_model.safetensors"]),
    "transformers' load_adapter": (of_transformers, ["adapter_model.safetensors"]),
}


def assert_same(ours: Any, stock: Any) -> None:
    if isinstance(stock, torch.nn.Module):
        assert_same_model(ours, stock)
        return
    for name, expected in stock.components.items():
        if isinstance(expected, torch.nn.Module):
            assert_same_model(ours.components[name], expected, name)


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_of_an_adapter_is_read_once_by_the_core(
    kind: str, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, names = KINDS[kind]
    load = make(saved, tmp_path)
    torch.manual_seed(0)
    stock = load()
    forbid_stock_readers(monkeypatch)
    with warpload.accelerated():
        torch.manual_seed(0)
        before = Reads(monkeypatch)
        bare = text_encoder(saved) if isinstance(stock, torch.nn.Module) else pipeline(saved)
        of_models = (sorted(before.opened), before.started)
        del bare
        reads = Reads(monkeypatch)
        torch.manual_seed(0)

        ours = load()

    assert_same(ours, stock)
    assert sorted(reads.opened) == sorted([*of_models[0], *names])
    assert reads.started == of_models[1] + len(names)
    assert (report().kind, set(report().components.values())) == ("adapter", {"native"})
    files = [file for name in names for file in tmp_path.rglob(name)]
    assert report().bytes == sum(each.nbytes for file in files for each in checkpoints.load_file(file).values())


# -- how much memory they take ----------------------------------------------------------------------------------------


_LORA = """
import sys
import torch, diffusers, warpload
folder, small, large, dtype = sys.argv[1:]
torch.set_num_threads(1)
pipeline = warpload.StableDiffusionPipeline.from_pretrained(folder, dtype=getattr(torch, dtype))
pipeline.load_lora_weights(small, adapter_name="small")  # imports, threads
pipeline.delete_adapters("small")
print("ready", flush=True); sys.stdin.readline()
pipeline.load_lora_weights(large, adapter_name="large")
tensors = [each for module in (pipeline.unet, pipeline.text_encoder)
           for name, each in module.named_parameters() if ".large." in name]
print(sum(each.nbytes for each in tensors), flush=True); sys.stdin.readline()
"""
_PEFT = """
import sys
import torch, transformers, warpload
from peft import PeftModel
folder, small, large, way = sys.argv[1:]
torch.set_num_threads(1)
warpload.install()
settings = {"low_cpu_mem_usage": True}
model = transformers.CLIPTextModel.from_pretrained(folder)
if way == "transformers":
    load = lambda file, name: model.load_adapter(file, name)
else:
    model = PeftModel.from_pretrained(model, small, "first", **settings)
    load = lambda file, name: model.load_adapter(file, name, **settings)
load(small, "small")
print("ready", flush=True); sys.stdin.readline()
load(large, "large")
print(sum(each.nbytes for name, each in model.named_parameters() if ".large." in name), flush=True)
sys.stdin.readline()
"""
# Beside the tensors: the layers' own objects, and what the process takes anyway.
_ALLOWED = 24 * MEGABYTE
_LARGE = 96 * MEGABYTE
_SPELLINGS: dict[str, Callable[..., dict[str, torch.Tensor]]] = {
    "peft": loras.peft,
    "diffusers": loras.diffusers,
    "kohya": loras.kohya,
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("spelling", _SPELLINGS)
def test_a_lora_that_needs_no_cast_takes_no_memory_but_its_files(
    spelling: str, dtype: str, saved: Saved, tmp_path: Path
) -> None:
    """Of the U-Net: a text encoder's layers transformers draws before it has their values."""
    own, spelled = getattr(torch, dtype), _SPELLINGS[spelling]
    loaded = pipeline(saved)
    size = sum(each.nbytes for each in loras.peft(loaded, only="unet", dtype=own).values())
    rank = loras.RANK * _LARGE // size
    small = loras.save(spelled(loaded, only="unet", dtype=own), tmp_path / "small.safetensors")
    large = loras.save(spelled(loaded, only="unet", dtype=own, rank=rank), tmp_path / "large.safetensors")

    peak, said = memory_taken(_LORA, saved("stable-diffusion"), small, large, dtype)

    assert int(said) > _LARGE * 0.9
    assert peak < _ALLOWED


# What the library draws for the layers, in float32, before it puts the file's tensors in their place.
_DRAWN = {"peft": 0, "transformers": _LARGE}


@pytest.mark.parametrize("way", _DRAWN)
def test_an_adapter_of_pefts_takes_no_second_copy_of_its_bytes(way: str, saved: Saved, tmp_path: Path) -> None:
    base = text_encoder(saved)
    per_rank = 4 * 4 * base.config.hidden_size * base.config.num_hidden_layers  # two matrices for each of two layers
    for name, rank in (("small", 2), ("large", _LARGE // per_rank)):
        config = LoraConfig(r=rank, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        get_peft_model(text_encoder(saved), config).save_pretrained(tmp_path / name)

    peak, said = memory_taken(
        _PEFT, saved("stable-diffusion") / "text_encoder", tmp_path / "small", tmp_path / "large", way
    )

    assert int(said) > _LARGE * 0.9
    assert peak < _DRAWN[way] + _ALLOWED
