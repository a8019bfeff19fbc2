"""``unfuse_lora`` gives back the weights that were loaded, to the last bit, where stock's subtraction rounds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import warpload
from support import checkpoints, loras
from support.pipelines import Saved
from warpload import InvalidArgumentError, IoError

COMPONENTS = ["unet", "text_encoder", "text_encoder_2"]


@pytest.fixture
def lora(saved: Saved, tmp_path: Path) -> Path:
    """Return the file of a LoRA for all models of the tiny SDXL."""
    stock = diffusers.StableDiffusionXLPipeline.from_pretrained(saved("stable-diffusion-xl"))
    return loras.save(loras.peft(stock), tmp_path / "lora.safetensors")


def load(folder: Path, dtype: torch.dtype = torch.float16) -> Any:
    return warpload.StableDiffusionXLPipeline.from_pretrained(folder, dtype=dtype)


def fused(folder: Path, lora: Path, dtype: torch.dtype = torch.float16, **settings: Any) -> Any:
    pipeline = load(folder, dtype)
    pipeline.load_lora_weights(lora, adapter_name="first")
    pipeline.fuse_lora(components=COMPONENTS, **settings)
    return pipeline


def weights(pipeline: Any) -> dict[str, torch.Tensor]:
    """Return the models' own parameters by their names, without what adapters have added."""
    named = [(label, getattr(pipeline, label).named_parameters()) for label in COMPONENTS]
    found = {f"{label}.{name}": each for label, parameters in named for name, each in parameters}
    return {name.replace(".base_layer", ""): each for name, each in found.items() if "lora" not in name}


def assert_as_loaded(pipeline: Any, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    expected = weights(load(folder, dtype))
    ours = weights(pipeline)
    assert list(ours) == list(expected)
    assert [name for name, each in ours.items() if not torch.equal(each, expected[name])] == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("settings", [{}, {"safe_fusing": True}, {"lora_scale": 0.7}], ids=str)
def test_the_weights_are_bit_for_bit_what_was_loaded(
    saved: Saved, lora: Path, dtype: torch.dtype, settings: dict[str, Any]
) -> None:
    folder = saved("stable-diffusion-xl")
    pipeline = fused(folder, lora, dtype, **settings)
    before = weights(pipeline)
    assert not torch.equal(
        before["unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"],
        weights(load(folder, dtype))["unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"],
    )
    places = {name: each.data_ptr() for name, each in before.items()}

    warpload.unfuse_lora(pipeline)

    assert_as_loaded(pipeline, folder, dtype)
    after = weights(pipeline)
    assert all(after[name] is each for name, each in before.items())
    assert {name: each.data_ptr() for name, each in after.items()} == places


def test_all_else_is_as_after_stocks_own_unfuse(saved: Saved, lora: Path, recwarn: pytest.WarningsRecorder) -> None:
    def state(pipeline: Any) -> list[Any]:
        layers = [each for label in COMPONENTS for each in getattr(pipeline, label).modules()]
        return [
            (pipeline.num_fused_loras, pipeline.fused_loras),
            [(each.merged, each.merged_adapters, list(vars(each))) for each in layers if hasattr(each, "merged")],
        ]

    ours, stock = (fused(saved("stable-diffusion-xl"), lora) for _ in range(2))
    recwarn.clear()
    stock.unfuse_lora(components=COMPONENTS)
    said = [str(each.message) for each in recwarn]
    recwarn.clear()

    warpload.unfuse_lora(ours, COMPONENTS)

    assert state(ours) == state(stock)
    assert [str(each.message) for each in recwarn] == said
    for each in (ours, stock):  # and it can be fused again
        each.fuse_lora(components=["unet"])
        assert each.num_fused_loras == 1


def test_only_the_components_that_are_asked_for_are_unfused(saved: Saved, lora: Path) -> None:
    folder = saved("stable-diffusion-xl")
    pipeline = fused(folder, lora)

    warpload.unfuse_lora(pipeline, ["text_encoder"])

    expected, found = weights(load(folder)), weights(pipeline)
    same = {name for name, each in found.items() if torch.equal(each, expected[name])}
    assert {name for name in found if name.startswith("text_encoder.")} <= same
    assert "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight" not in same
    assert pipeline.num_fused_loras == 1


def test_several_loras_are_unfused_together(saved: Saved, lora: Path) -> None:
    folder = saved("stable-diffusion-xl")
    pipeline = load(folder)
    for name in ("first", "second"):
        pipeline.load_lora_weights(lora, adapter_name=name)
    pipeline.set_adapters(["first", "second"], [0.3, 0.9])
    pipeline.fuse_lora(components=["unet"])
    assert pipeline.num_fused_loras == 2

    warpload.unfuse_lora(pipeline)

    assert pipeline.num_fused_loras == 0
    assert_as_loaded(pipeline, folder)


@pytest.mark.parametrize("label", ["unet", "text_encoder"])
def test_one_model_is_unfused_by_itself(saved: Saved, lora: Path, label: str) -> None:
    folder = saved("stable-diffusion-xl")
    pipeline = load(folder)
    pipeline.load_lora_weights(lora)
    pipeline.fuse_lora(components=[label])

    warpload.unfuse_lora(getattr(pipeline, label))

    assert_as_loaded(pipeline, folder)


def test_a_pipeline_without_fused_layers_is_left_as_it_is(saved: Saved, lora: Path) -> None:
    pipeline = load(saved("stable-diffusion-xl"))
    warpload.unfuse_lora(pipeline)
    pipeline.load_lora_weights(lora)
    warpload.unfuse_lora(pipeline)

    assert_as_loaded(pipeline, saved("stable-diffusion-xl"))


def test_what_stock_says_of_wrong_components_it_says_here_and_each_model_is_whole(saved: Saved, lora: Path) -> None:
    folder = saved("stable-diffusion-xl")
    stock, ours = fused(folder, lora), fused(folder, lora)
    with pytest.raises(ValueError) as theirs:  # noqa: PT011 - whatever it says, ours is the same
        stock.unfuse_lora(components=["unet", "vae"])

    with pytest.raises(ValueError) as mine:  # noqa: PT011
        warpload.unfuse_lora(ours, ["unet", "vae"])

    assert str(mine.value) == str(theirs.value)
    warpload.unfuse_lora(ours)
    assert_as_loaded(ours, folder)


# -- what is refused; then nothing has changed ------------------------------------------------------------------------


def assert_refused(pipeline: Any, error: type[Exception], match: str) -> None:
    before = {name: each.clone() for name, each in weights(pipeline).items()}
    with pytest.raises(error, match=match):
        warpload.unfuse_lora(pipeline)
    assert all(torch.equal(each, before[name]) for name, each in weights(pipeline).items())
    assert pipeline.num_fused_loras == 1


def test_a_model_that_stock_loaded_is_refused(saved: Saved, lora: Path) -> None:
    pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(saved("stable-diffusion-xl"))
    pipeline.load_lora_weights(lora)
    pipeline.fuse_lora(components=["unet"])

    assert_refused(pipeline, InvalidArgumentError, r"unet were not placed by the core.*diffusers' own unfuse_lora")


@pytest.mark.parametrize("change", ["replaced", "gone", "touched"])
def test_a_file_that_is_another_one_by_now_is_refused(copied: Saved, lora: Path, change: str) -> None:
    folder = copied("stable-diffusion-xl")
    pipeline = fused(folder, lora)
    file = checkpoints.weight_file(folder / "text_encoder")  # the last to be read but one: nothing is half done
    if change == "replaced":
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
    elif change == "gone":
        file.unlink()
    else:
        os.utime(file, ns=(1, 1))

    assert_refused(pipeline, IoError, "text_encoder.*load the model again")


def test_a_model_of_another_dtype_by_now_is_refused(saved: Saved, lora: Path) -> None:
    pipeline = load(saved("stable-diffusion-xl"))
    pipeline.load_lora_weights(lora)
    pipeline.to(torch.float32)
    pipeline.fuse_lora(components=["unet"])

    assert_refused(pipeline, InvalidArgumentError, r"unet was loaded as F16 and is torch\.float32 by now")


def test_weights_that_were_changed_in_other_ways_are_refused(saved: Saved, lora: Path) -> None:
    pipeline = load(saved("stable-diffusion-xl"))
    pipeline.load_lora_weights(lora)
    layer = pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.base_layer
    with torch.no_grad():
        layer.weight.mul_(2)
    pipeline.fuse_lora(components=["unet"])

    assert_refused(pipeline, InvalidArgumentError, r"attn1\.to_q\.weight of unet was changed in place")


def test_weights_that_others_have_put_there_are_refused(saved: Saved, lora: Path) -> None:
    pipeline = load(saved("stable-diffusion-xl"))
    layer = pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
    layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
    pipeline.load_lora_weights(lora)
    pipeline.fuse_lora(components=["unet"])

    assert_refused(pipeline, InvalidArgumentError, r"attn1\.to_q\.weight of unet is not the parameter that was loaded")


def test_a_model_that_goes_takes_what_was_noted_of_it_along(saved: Saved) -> None:
    import gc

    from warpload.models import origins

    pipeline = load(saved("stable-diffusion-xl"))
    assert origins.of(pipeline.unet) is not None
    before = len(origins._origins)
    del pipeline
    gc.collect()

    assert len(origins._origins) < before
