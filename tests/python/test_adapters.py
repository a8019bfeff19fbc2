"""Adapters: stock puts them in place, the core reads their safetensors, and one report tells of the whole call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

import warpload
from support import checkpoints
from support.compare import assert_same_model
from support.loading import forbid_stock_readers
from support.pipelines import Saved


@pytest.fixture(params=["lora", "lora of a model", "attention processors", "textual inversion", "ip adapter"])
def adapter(request: pytest.FixtureRequest, saved: Saved, tmp_path: Path) -> Adapter:
    """Return an adapter of each sort, in a file of its own."""
    return ADAPTERS[request.param](saved("stable-diffusion"), tmp_path)


class Adapter:
    """A file, and the call that loads it into a pipeline.

    Attributes:
        call: takes the pipeline and the file's folder and name.
    """

    def __init__(self, pipeline: Path, file: Path, call: Callable[[Any, Path, str], None]) -> None:
        self.pipeline, self.file, self.call = pipeline, file, call

    def load(self, name: str | None = None) -> Any:
        """Return a pipeline of stock's with the adapter in it."""
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(self.pipeline)
        self.call(pipeline, self.file.parent, name or self.file.name)
        return pipeline


def lora(pipeline: Path, folder: Path) -> Adapter:
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(pipeline)
    torch.manual_seed(0)
    loaded.unet.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_k"]))
    layers = get_peft_model_state_dict(loaded.unet)
    settings = {"r": 2, "lora_alpha": 8, "target_modules": ["to_k", "to_q"]}
    loaded.save_lora_weights(folder / "adapter", unet_lora_layers=layers, unet_lora_adapter_metadata=settings)
    (file,) = (folder / "adapter").iterdir()
    return Adapter(pipeline, file, lambda into, place, name: into.load_lora_weights(place, weight_name=name))


def lora_of_a_model(pipeline: Path, folder: Path) -> Adapter:
    found = lora(pipeline, folder)
    found.call = lambda into, place, name: into.unet.load_lora_adapter(place, weight_name=name, prefix="unet")
    return found


def attention_processors(pipeline: Path, folder: Path) -> Adapter:
    """Return new keys and values for the U-Net's layers of cross attention, as custom diffusion trains them."""
    unet = diffusers.UNet2DConditionModel.from_pretrained(pipeline / "unet")
    tensors = {}
    for name in unet.attn_processors:
        layer = unet.get_submodule(name.removesuffix(".processor"))
        for part in ("to_k", "to_v") if "attn2" in name else ():
            shape = getattr(layer, part).weight.shape
            tensors[f"{name}.{part}_custom_diffusion.weight"] = torch.randn(shape)
    file = folder / "custom.safetensors"
    safetensors.torch.save_file(tensors, file)
    return Adapter(pipeline, file, lambda into, place, name: into.unet.load_attn_procs(place, weight_name=name))


def textual_inversion(pipeline: Path, folder: Path) -> Adapter:
    file = folder / "learned.safetensors"
    width = json.loads((pipeline / "text_encoder" / "config.json").read_text())["hidden_size"]
    safetensors.torch.save_file({"<learned>": torch.randn(2, width)}, file)
    return Adapter(pipeline, file, lambda into, place, name: into.load_textual_inversion(place, weight_name=name))


def ip_adapter(pipeline: Path, folder: Path) -> Adapter:
    unet = diffusers.UNet2DConditionModel.from_pretrained(pipeline / "unet")
    width = unet.config.cross_attention_dim
    names = ("proj.weight", "proj.bias", "norm.weight", "norm.bias")
    shapes = ((4 * width, 8), (4 * width,), (width,), (width,))
    tensors = {f"image_proj.{name}": torch.randn(shape) for name, shape in zip(names, shapes, strict=True)}
    crossing = [name for name in unet.attn_processors if not name.endswith("attn1.processor")]
    for number, name in enumerate(crossing):
        layer = unet.get_submodule(name.removesuffix(".processor"))
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * number + 1}.{part}.weight"] = torch.randn(layer.to_k.weight.shape)
    file = folder / "ip.safetensors"
    safetensors.torch.save_file(tensors, file)

    def call(into: Any, place: Path, name: str) -> None:
        into.load_ip_adapter(str(place), subfolder="", weight_name=name, image_encoder_folder=None)

    return Adapter(pipeline, file, call)


ADAPTERS = {
    "lora": lora,
    "lora of a model": lora_of_a_model,
    "attention processors": attention_processors,
    "textual inversion": textual_inversion,
    "ip adapter": ip_adapter,
}


def test_an_adapter_is_read_by_the_core_and_equals_stock(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = adapter.load()
    forbid_stock_readers(monkeypatch)

    with warpload.accelerated():
        ours = adapter.load()

    assert_same_model(ours.unet, stock.unet)
    assert_same_model(ours.text_encoder, stock.text_encoder)
    report = warpload.last_report()
    assert report is not None
    assert report.kind == "adapter"
    assert report.source == str(adapter.file.parent)
    assert report.components == {adapter.file.name: "native"}
    assert report.placed_by_stock == {adapter.file.name: "an adapter"}
    assert report.bytes == sum(tensor.nbytes for tensor in checkpoints.load_file(adapter.file).values())


def test_a_pickled_adapter_is_loaded_by_stock_and_said_so(adapter: Adapter, saved: Saved) -> None:
    if adapter.file.name == "ip.safetensors":
        tensors: dict[str, Any] = {}
        for name, tensor in checkpoints.load_file(adapter.file).items():
            part, _, rest = name.partition(".")
            tensors.setdefault(part, {})[rest] = tensor
    else:
        tensors = checkpoints.load_file(adapter.file)
    torch.save(tensors, adapter.file.with_suffix(".bin"))
    adapter.file = adapter.file.rename(adapter.file.parent / "unused").with_name(f"{adapter.file.stem}.bin")
    stock = adapter.load()

    with warpload.accelerated():
        ours = adapter.load()

    assert_same_model(ours.unet, stock.unet)
    report = warpload.last_report()
    assert report is not None
    assert report.components == {adapter.file.name: "stock: no safetensors"}
    assert report.bytes == 0


@pytest.mark.parametrize("content", [b"", b"\x10\0\0\0\0\0\0\0{no header at all"])
def test_a_broken_adapter_fails_as_stock_and_the_report_says_so(adapter: Adapter, content: bytes) -> None:
    adapter.file.write_bytes(content)
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever it is, ours is the same
        adapter.load()

    with warpload.accelerated(), pytest.raises(type(theirs.value)) as ours:
        adapter.load()

    assert str(ours.value) == str(theirs.value)
    report = warpload.last_report()
    assert report is not None
    assert (report.kind, report.error) == ("adapter", str(ours.value))


def test_an_adapter_of_tensors_in_memory_is_reported_without_files(saved: Saved, tmp_path: Path) -> None:
    found = lora(saved("stable-diffusion"), tmp_path)
    tensors = checkpoints.load_file(found.file)

    with warpload.accelerated():
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(found.pipeline)
        pipeline.load_lora_weights(tensors)

    report = warpload.last_report()
    assert report is not None
    assert (report.kind, report.source, report.components) == ("adapter", "a dictionary of tensors", {})


def test_what_a_lora_file_says_of_itself_is_read_as_stock_reads_it(saved: Saved, tmp_path: Path) -> None:
    found = lora(saved("stable-diffusion"), tmp_path)
    arguments = {"weight_name": found.file.name, "return_lora_metadata": True}
    stock = diffusers.StableDiffusionPipeline.lora_state_dict(found.file.parent, **arguments)

    with warpload.accelerated():
        ours = diffusers.StableDiffusionPipeline.lora_state_dict(found.file.parent, **arguments)

    assert list(ours[0]) == list(stock[0])
    assert all(torch.equal(ours[0][name], tensor) for name, tensor in stock[0].items())
    assert ours[1:] == stock[1:]
    assert ours[2]
