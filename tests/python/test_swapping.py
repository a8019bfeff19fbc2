"""Twenty LoRAs in turn: nothing is left behind of those that are gone, and each is what stock makes of it."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import warpload
from support import loras
from support.compare import assert_same_model
from support.pipelines import Saved

TURNS = 20


def mappings_of(folder: Path) -> int:
    """Return how many mappings this process has of files in a folder."""
    return Path("/proc/self/maps").read_text().count(f"{folder}{os.sep}")


def open_files_of(folder: Path) -> int:
    links = [os.path.join("/proc/self/fd", each) for each in os.listdir("/proc/self/fd")]
    return sum(os.readlink(link).startswith(f"{folder}{os.sep}") for link in links if os.path.islink(link))


def tensors_alive() -> int:
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


def by_deleting(pipeline: Any, file: Path, turn: int) -> None:
    pipeline.load_lora_weights(file, adapter_name=f"own{turn}")
    pipeline.set_adapters([f"own{turn}"], [0.5])
    if turn:
        pipeline.delete_adapters(f"own{turn - 1}")


def by_unloading(pipeline: Any, file: Path, turn: int) -> None:
    pipeline.unload_lora_weights()
    pipeline.load_lora_weights(file, adapter_name=f"own{turn}")
    pipeline.set_adapters([f"own{turn}"], [0.5])


def in_place(pipeline: Any, file: Path, turn: int) -> None:
    if turn == 0:
        pipeline.enable_lora_hotswap(target_rank=loras.RANK)
    pipeline.load_lora_weights(file, adapter_name="own", hotswap=turn > 0)


SWAPS: dict[str, Callable[[Any, Path, int], None]] = {
    "delete": by_deleting,
    "unload": by_unloading,
    "hotswap": in_place,
}


@pytest.fixture
def files(saved: Saved, tmp_path: Path) -> list[Path]:
    """Return twenty LoRAs for the U-Net of the tiny SDXL, in a folder of their own."""
    folder = tmp_path / "loras"
    folder.mkdir()
    pipeline = load(saved)
    made = []
    for turn in range(TURNS):
        tensors = loras.peft(pipeline, only="unet", dtype=torch.float16, seed=turn)
        made.append(loras.save(tensors, folder / f"{turn}.safetensors"))
    return made


def load(saved: Saved) -> Any:
    return warpload.StableDiffusionXLPipeline.from_pretrained(saved("stable-diffusion-xl"), dtype=torch.float16)


@pytest.mark.parametrize("way", SWAPS)
def test_nothing_of_twenty_loras_in_turn_is_left_but_the_last(way: str, saved: Saved, files: list[Path]) -> None:
    pipeline = load(saved)
    counts = []
    for turn, file in enumerate(files):
        SWAPS[way](pipeline, file, turn)
        counts.append((tensors_alive(), mappings_of(file.parent), open_files_of(file.parent)))

    assert counts[1:] == [counts[1]] * (TURNS - 1)
    assert counts[-1][1] <= 1  # the last file, as long as its tensors are views of it
    assert counts[-1][2] == 0
    pipeline.unload_lora_weights()
    gc.collect()
    assert (mappings_of(files[0].parent), open_files_of(files[0].parent)) == (0, 0)


@pytest.mark.parametrize("way", SWAPS)
def test_after_some_swaps_the_model_is_what_stock_makes_of_it(way: str, saved: Saved, files: list[Path]) -> None:
    import diffusers

    folder = saved("stable-diffusion-xl")
    stock = diffusers.StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float16)
    ours = load(saved)
    for turn, file in enumerate(files[:4]):
        SWAPS[way](stock, file, turn)
        SWAPS[way](ours, file, turn)

    assert_same_model(ours.unet, stock.unet)


def test_what_is_changed_in_place_is_not_in_the_next_load_of_the_file(saved: Saved, files: list[Path]) -> None:
    pipeline = load(saved)
    pipeline.load_lora_weights(files[0], adapter_name="first")
    layer = pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
    before = layer.lora_A["first"].weight.detach().clone()
    with torch.no_grad():
        layer.lora_A["first"].weight.zero_()

    pipeline.load_lora_weights(files[0], adapter_name="again")

    assert torch.equal(layer.lora_A["again"].weight, before)
    assert not layer.lora_A["first"].weight.any()
