"""What was prefetched and is not what a load wants: it is dropped, told of, and the load reads by itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch

import warpload
from support import checkpoints
from support.compare import assert_same_pipeline, assert_same_tensor
from support.devices import Device
from support.pipelines import Saved
from support.prefetches import changed_in_place, report
from support.sharded import shard
from warpload import prefetched

OTHERWISE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another dtype": ({"dtype": "float16"}, {"dtype": torch.bfloat16}, "F16"),
    "copies": ({"dtype": "float16"}, {"dtype": torch.float16, "disable_mmap": True}, "disable_mmap"),
    "views": ({"dtype": "float16", "disable_mmap": True}, {"dtype": torch.float16}, "disable_mmap"),
    "placed by stock": ({}, {"low_cpu_mem_usage": False}, "does not foresee"),
    "another format": ({}, {"use_safetensors": False}, "does not foresee"),
}


@pytest.mark.parametrize("case", OTHERWISE)
def test_a_load_that_wants_something_else_reads_by_itself(
    case: str, copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    folder = copied("ddpm")
    if case == "another format":
        torch.save(
            safetensors.torch.load_file(checkpoints.weight_file(folder / "unet")),
            folder / "unet" / "diffusion_pytorch_model.bin",
        )
    early, late, why = OTHERWISE[case]
    expected = diffusers.DiffusionPipeline.from_pretrained(folder, **late)
    handle = warpload.prefetch(folder, **early)
    assert handle.wait(60)

    ours = warpload.DiffusionPipeline.from_pretrained(folder, **late)

    assert_same_pipeline(ours, expected)
    assert report().prefetched == {}
    assert why in report().passed_over["unet"]
    assert f"unet is not taken from the prefetch, but read now: {report().passed_over['unet']}" in log.text
    assert handle.state == "dropped"


@pytest.mark.slots
def test_a_load_to_another_device_reads_by_itself(saved: Saved, device: Device) -> None:
    handle = warpload.prefetch(saved("ddpm"), "float16", device.name)

    with device.on_host():
        warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16)

    assert report().prefetched == {}
    assert "the host's memory" in report().passed_over["unet"]
    assert handle.state == "dropped"
    assert device.segment_bytes() == 0


@pytest.mark.gpu
def test_a_load_on_another_stream_reads_by_itself(saved: Saved, gpu: Device) -> None:
    """The memory of a prefetch is the default stream's: torch would give it to that again too early."""
    handle = warpload.prefetch(saved("ddpm"), "float16", gpu.name)

    with torch.cuda.stream(torch.cuda.Stream(gpu.name)):
        warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16, device_map=gpu.name)

    assert "current stream" in report().passed_over["unet"]
    assert handle.state == "dropped"


def test_a_load_of_a_variant_drops_what_it_does_not_load(copied: Saved) -> None:
    file = checkpoints.weight_file(copied("ddpm") / "unet")
    shutil.copy(file, file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    handle = warpload.prefetch(file.parents[1])

    warpload.DiffusionPipeline.from_pretrained(file.parents[1], variant="fp16")

    assert report().prefetched == {}
    assert "other files" in report().passed_over["unet"]
    assert handle.state == "dropped"


def test_a_models_load_leaves_other_files_of_its_folder_to_load_file(copied: Saved) -> None:
    file = checkpoints.weight_file(copied("ddpm") / "unet")
    other = Path(shutil.copy(file, file.with_name("other.safetensors")))
    warpload.prefetch(other)

    warpload.DiffusionPipeline.from_pretrained(file.parents[1])
    assert (report().prefetched, report().passed_over) == ({}, {})

    warpload.load_file(other)
    assert report().prefetched.keys() == {other.name}


def test_a_variant_is_prefetched_as_such(copied: Saved) -> None:
    file = checkpoints.weight_file(copied("ddpm") / "unet")
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    warpload.prefetch(file.parents[1], variant="fp16")

    warpload.DiffusionPipeline.from_pretrained(file.parents[1], variant="fp16")

    assert report().prefetched.keys() == {"unet"}


def test_a_load_of_the_dtype_that_one_of_two_has_leaves_the_other(saved: Saved) -> None:
    handles = {dtype: warpload.prefetch(saved("ddpm"), dtype) for dtype in (torch.float16, torch.bfloat16)}

    for dtype, handle in reversed(handles.items()):
        warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=dtype)
        assert report().prefetched.keys() == {"unet"}
        assert handle.state == "taken"


def _replaced(file: Path) -> None:
    other = Path(shutil.copy2(file, file.with_suffix(".new")))
    changed_in_place(other)
    other.replace(file)


def _longer(file: Path) -> None:
    checkpoints.rewrite(file, lambda tensors: {name: tensor + 1 for name, tensor in tensors.items()})


@pytest.mark.parametrize("of_shards", [False, True])
@pytest.mark.parametrize("change", [changed_in_place, _replaced, _longer])
def test_files_that_have_changed_since_are_read_again(
    change: Any, of_shards: bool, copied: Saved, device: Device
) -> None:
    folder = copied("ddpm")
    if of_shards:
        shard(folder / "unet")
    handle = warpload.prefetch(folder, "float16", device.name)
    assert handle.wait(60)
    change(sorted((folder / "unet").glob("*.safetensors"))[-1])

    ours = warpload.DiffusionPipeline.from_pretrained(folder, dtype=torch.float16, **device.map())

    assert_same_pipeline(ours, diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float16, **device.map()))
    assert report().prefetched == {}
    assert "changed" in report().passed_over["unet"]
    assert handle.state == "dropped"


def test_a_changed_file_is_prefetched_anew(copied: Saved) -> None:
    file = checkpoints.weight_file(copied("ddpm") / "unet")
    first = warpload.prefetch(file)
    assert first.wait(60)
    changed_in_place(file)

    assert warpload.prefetch(file) is not first
    ours = warpload.load_file(file)
    for name, tensor in safetensors.torch.load_file(file).items():
        assert_same_tensor(ours[name], tensor, name)
    assert report().prefetched.keys() == {file.name}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (prefetched.Wanted("model", "F16"), prefetched.Wanted("file", "F16")),
        (prefetched.Wanted("model", "F16"), prefetched.Wanted("model", None)),
        (prefetched.Wanted("model", "F16"), prefetched.Wanted("model", "F16", zero_copy=False)),
        (prefetched.Wanted("model", "F16", stream=0), prefetched.Wanted("model", "F16", stream=7)),
    ],
)
def test_whatever_differs_is_a_reason(one: prefetched.Wanted, other: prefetched.Wanted) -> None:
    assert one.why_not(other)
    assert other.why_not(one)
    assert one.why_not(one) == ""
