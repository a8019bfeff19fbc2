"""A GPU that is not there is refused before anything is read, with the reason and the cure, by an error for all."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch
import transformers

import warpload
from support import checkpoints
from support.pipelines import Saved
from warpload import devices, engine

DEVICES = ["cuda", "cuda:0", 0, torch.device("cuda")]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_, **__: None)


def calls(folder: Path, device: Any) -> dict[str, Callable[[Any], object]]:
    """Return the calls that take a device, of a library: warpload's, or those of stock that stand for them."""
    file = checkpoints.weight_file(folder / "unet")
    return {
        "pipeline": lambda library: library.DiffusionPipeline.from_pretrained(folder, device_map=device),
        "model": lambda library: library.UNet2DConditionModel.from_pretrained(folder / "unet", device_map=device),
        "text encoder": lambda _: transformers.CLIPTextModel.from_pretrained(
            folder / "text_encoder", device_map=device
        ),
        "load_file": lambda library: (library if library is warpload else safetensors.torch).load_file(
            file, device=device
        ),
        "module": lambda library: (
            warpload.to_device(torch.nn.Linear(1, 1), device)
            if library is warpload
            else torch.nn.Linear(1, 1).to(device)
        ),
    }


@pytest.mark.parametrize("call", ["pipeline", "model", "text encoder", "load_file", "module"])
@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_missing_gpu_is_named_by_an_error_that_stocks_handlers_catch(
    device: Any, call: str, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = calls(saved("stable-diffusion"), device)[call]
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - whatever it is, ours is one, too
        act(diffusers)
    monkeypatch.setattr(engine, "start", None)  # nothing is read

    with warpload.accelerated(), pytest.raises(warpload.DeviceError) as ours:
        act(warpload)

    # Stock takes no number for a pipeline, and no torch.device for a file: where we do, there is nothing to be like.
    if not isinstance(theirs.value, ValueError | safetensors.SafetensorError):
        assert isinstance(ours.value, type(theirs.value))
    assert str(ours.value) == f"device {device}: {ours.value.reason} ({ours.value.cure})"
    assert str(pickle.loads(pickle.dumps(ours.value))) == str(ours.value)


@pytest.mark.parametrize(
    ("cuda", "visible", "reason"),
    [
        (None, None, "built without CUDA"),
        ("13.0", "", "CUDA_VISIBLE_DEVICES='' hides every GPU"),
        ("13.0", "-1", "CUDA_VISIBLE_DEVICES='-1' hides every GPU"),
        ("13.0", None, "driver"),
    ],
)
def test_the_reason_is_the_first_that_holds(
    cuda: str | None, visible: str | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    with pytest.raises(warpload.DeviceError, match=reason):
        devices.require("cuda")


def test_a_gpu_beyond_the_last_is_refused_and_those_that_are_there_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    for there in ("cuda", "cuda:1", 1, torch.device("cuda:0")):
        devices.require(there)
    for beyond in ("cuda:2", 2, torch.device("cuda:7")):
        with pytest.raises(warpload.DeviceError, match="this process sees 2, numbered from 0"):
            devices.require(beyond)


@pytest.mark.parametrize("device", [None, "cpu", "meta", "balanced", "auto", "nonsense", True, -1, 1.5], ids=str)
def test_what_is_no_gpu_is_for_others_to_judge(device: Any) -> None:
    devices.require(device)
