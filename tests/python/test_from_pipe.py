"""``from_pipe``: what a pipeline that is made of another one shares with it, and stock's dtypes and warnings."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DiffusionPipeline

import warpload
from support.compare import assert_same_pipeline
from support.pipelines import DTYPES, Saved


def storages(pipeline: DiffusionPipeline) -> dict[str, int]:
    """Return where each tensor of a pipeline lies."""
    modules = {name: value for name, value in pipeline.components.items() if isinstance(value, torch.nn.Module)}
    return {
        f"{name}.{key}": tensor.untyped_storage().data_ptr()
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.LogCaptureFixture]:
    """Return what diffusers logs, which it keeps from the root logger unless told otherwise."""
    diffusers.utils.logging.enable_propagation()
    diffusers.utils.logging.set_verbosity_warning()
    yield caplog
    diffusers.utils.logging.disable_propagation()
    diffusers.utils.logging.set_verbosity_error()


def messages(said: pytest.LogCaptureFixture) -> list[str]:
    """Return and forget what was said."""
    found = [record.getMessage() for record in said.records if record.name.startswith("diffusers")]
    said.clear()
    return found


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("change", ["task", "perturbed attention guidance"])
def test_another_pipeline_of_it_shares_every_storage(
    change: str, dtype: str, saved: Saved, said: pytest.LogCaptureFixture
) -> None:
    target = "AutoPipelineForImage2Image" if change == "task" else "AutoPipelineForText2Image"
    arguments: dict[str, Any] = {} if change == "task" else {"enable_pag": True}
    first = warpload.AutoPipelineForText2Image.from_pretrained(saved("stable-diffusion-xl"), **DTYPES[dtype])
    expected = diffusers.AutoPipelineForText2Image.from_pretrained(saved("stable-diffusion-xl"), **DTYPES[dtype])
    before = storages(first)
    messages(said)

    stock = getattr(diffusers, target).from_pipe(expected, **arguments)
    theirs = messages(said)
    second = getattr(warpload, target).from_pipe(first, **arguments)

    assert messages(said) == theirs
    assert_same_pipeline(second, stock)
    assert storages(first) == storages(second) == before
    for name, component in first.components.items():
        assert second.components[name] is component


@pytest.mark.parametrize("dtype", ["no-dtype", "float32", "bfloat16"])
@pytest.mark.parametrize("again", [None, torch.float32, torch.bfloat16, torch.float16])
def test_from_pipe_of_a_class_has_stocks_dtype_and_warnings(
    again: torch.dtype | None, dtype: str, saved: Saved, said: pytest.LogCaptureFixture
) -> None:
    """Without a dtype, stock casts the shared modules to float32 where they are."""
    arguments = {} if again is None else {"dtype": again}
    ours = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), **DTYPES[dtype])
    theirs = diffusers.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), **DTYPES[dtype])
    before = storages(ours)
    messages(said)

    stock = diffusers.StableDiffusionImg2ImgPipeline.from_pipe(theirs, **arguments)
    expected = messages(said)
    second = warpload.StableDiffusionImg2ImgPipeline.from_pipe(ours, **arguments)

    assert messages(said) == expected
    assert type(second) is diffusers.StableDiffusionImg2ImgPipeline
    assert_same_pipeline(second, stock)
    assert_same_pipeline(ours, theirs)
    was = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    if (again or torch.float32) is was:
        assert storages(second) == before


def test_a_changed_weight_is_changed_in_both(saved: Saved) -> None:
    first = warpload.AutoPipelineForText2Image.from_pretrained(saved("stable-diffusion"))
    second = warpload.AutoPipelineForInpainting.from_pipe(first)

    with torch.no_grad():
        first.unet.conv_in.weight.zero_()

    assert second.unet.conv_in.weight.count_nonzero() == 0


def test_further_components_are_taken(saved: Saved) -> None:
    first = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion-xl"))
    scheduler = warpload.HeunDiscreteScheduler.from_pretrained(saved("stable-diffusion-xl"), subfolder="scheduler")

    second = warpload.StableDiffusionXLImg2ImgPipeline.from_pipe(first, scheduler=scheduler)

    assert second.scheduler is scheduler
    assert second.unet is first.unet


def resident_bytes() -> int:
    """Return the bytes of anonymous memory that this process holds."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def test_another_pipeline_costs_no_memory(saved: Saved) -> None:
    first = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion-xl"), dtype=torch.bfloat16)
    big = torch.nn.Parameter(torch.ones(64 << 20, dtype=torch.uint8), requires_grad=False)
    first.unet.register_parameter("ballast", big)  # so that a copy of the weights could not be overlooked
    before = resident_bytes()

    second = warpload.AutoPipelineForText2Image.from_pipe(first, enable_pag=True)

    assert second.unet.ballast is big
    assert resident_bytes() - before < 16 << 20


def test_offloading_is_applied_anew(saved: Saved) -> None:
    """As with stock, hooks are the first pipeline's until they are asked for again."""
    first = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), dtype=torch.float32)
    first.enable_attention_slicing()

    second = warpload.StableDiffusionImg2ImgPipeline.from_pipe(first)

    assert second.unet is first.unet
    stock = diffusers.StableDiffusionImg2ImgPipeline.from_pipe(
        diffusers.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))
    )
    assert_same_pipeline(second, stock)


def test_nothing_is_loaded_so_the_last_report_stays(saved: Saved) -> None:
    first = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))
    before = warpload.reports()

    warpload.StableDiffusionImg2ImgPipeline.from_pipe(first)

    assert warpload.reports() == before


def test_what_the_constructor_of_the_new_class_loads_goes_through_the_core(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = diffusers.StableDiffusionImg2ImgPipeline
    construct, loaded = cls.__init__, []

    @functools.wraps(construct)
    def loading(self: Any, *arguments: Any, **keywords: Any) -> None:
        construct(self, *arguments, **keywords)
        loaded.append(diffusers.UNet2DConditionModel.from_pretrained(saved("stable-diffusion"), subfolder="unet"))

    first = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))
    monkeypatch.setattr(cls, "__init__", loading)

    second = warpload.StableDiffusionImg2ImgPipeline.from_pipe(first)

    assert second.unet is first.unet
    assert loaded[0] is not first.unet
    report = warpload.last_report()
    assert report is not None
    assert (report.kind, report.components) == ("model", {"unet": "native"})


def test_a_class_that_cannot_take_the_models_is_refused_in_stocks_words(saved: Saved) -> None:
    ours = warpload.DiffusionPipeline.from_pretrained(saved("ddpm"))
    stock = diffusers.DiffusionPipeline.from_pretrained(saved("ddpm"))

    with pytest.raises(ValueError, match="expected") as expected:
        diffusers.StableDiffusionPipeline.from_pipe(stock)
    with pytest.raises(ValueError, match="expected") as raised:
        warpload.StableDiffusionPipeline.from_pipe(ours)

    assert type(raised.value) is type(expected.value)
