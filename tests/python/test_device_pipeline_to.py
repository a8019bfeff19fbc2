"""`pipeline.to(device)` gives what stock's does, through the core for pipelines that it loaded, and only for those."""

from __future__ import annotations

import copy
import logging
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from accelerate.hooks import AlignDevicesHook, CpuOffload, add_hook_to_module
from diffusers import DiffusionPipeline

import warpload
from support.compare import assert_same_pipeline, bytes_of
from support.devices import Device, maps_weights_of, models_of, refusing_segments, tensors_of
from support.pipelines import DTYPES, FAMILIES, Saved
from support.processes import run_python
from warpload import engine

pytestmark = pytest.mark.slots

Pair = tuple[DiffusionPipeline, DiffusionPipeline]


def loaded(folder: Path, device: Device, **arguments: Any) -> Pair:
    """Return the core's pipeline and stock's, both in the host's memory."""
    with device.on_host():
        ours = warpload.DiffusionPipeline.from_pretrained(folder, **arguments)
    assert device.allocations == 0
    return ours, diffusers.DiffusionPipeline.from_pretrained(folder, **arguments)


def all_tensors(pipeline: DiffusionPipeline) -> list[torch.Tensor]:
    return tensors_of(*models_of(pipeline).values())


@pytest.mark.parametrize("dtype", ["no-dtype", "float16", "dictionary-without-default"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_moves_as_with_stock(family: str, dtype: str, device: Device, saved: Saved) -> None:
    ours, stock = loaded(saved(family), device, **DTYPES[dtype])

    assert ours.to(device.name) is ours
    stock.to(device.name)

    assert_same_pipeline(ours, stock)
    assert device.allocations == 1
    assert device.holds_all(all_tensors(ours))


@pytest.mark.parametrize("target", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("family", ["stable-diffusion", "wan", "stable-diffusion-3"])
def test_a_dtype_is_cast_on_the_way_as_with_stock(
    family: str, target: torch.dtype, device: Device, saved: Saved
) -> None:
    ours, stock = loaded(saved(family), device)

    ours.to(device.name, target)
    stock.to(device.name, target)

    assert_same_pipeline(ours, stock)
    assert device.holds_all(all_tensors(ours))


SPELLINGS: dict[str, Callable[[DiffusionPipeline, str], Any]] = {
    "name": lambda pipeline, name: pipeline.to(name),
    "object": lambda pipeline, name: pipeline.to(torch.device(name)),
    "keyword": lambda pipeline, name: pipeline.to(device=name),
    "both": lambda pipeline, name: pipeline.to(name, torch.bfloat16),
    "both-keywords": lambda pipeline, name: pipeline.to(device=name, dtype=torch.bfloat16),
    "mixed": lambda pipeline, name: pipeline.to(name, dtype=torch.bfloat16),
    "silent": lambda pipeline, name: pipeline.to(name, silence_dtype_warnings=True),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_the_call_moves(spelling: str, device: Device, saved: Saved) -> None:
    ours, stock = loaded(saved("ddpm"), device)

    for pipeline in (ours, stock):
        assert SPELLINGS[spelling](pipeline, device.kind) is pipeline

    assert_same_pipeline(ours, stock)
    assert device.holds_all(all_tensors(ours))


def test_a_dtype_alone_is_stocks_affair(device: Device, saved: Saved) -> None:
    ours, stock = loaded(saved("ddpm"), device)

    for pipeline in (ours, stock):
        pipeline.to(torch.float16)
        pipeline.to(dtype=torch.bfloat16)

    assert_same_pipeline(ours, stock)
    assert device.allocations == 0


WRONG: dict[str, Callable[[DiffusionPipeline], Any]] = {
    "swapped": lambda pipeline: pipeline.to(torch.float16, "cpu"),
    "three": lambda pipeline: pipeline.to("cpu", torch.float16, True),
    "device-twice": lambda pipeline: pipeline.to("cpu", device="cpu"),
    "dtype-twice": lambda pipeline: pipeline.to("cpu", torch.float16, dtype=torch.float16),
    "nonsense": lambda pipeline: pipeline.to("nonsense"),
    "object": lambda pipeline: pipeline.to(object()),
    "integers": lambda pipeline: pipeline.to("cpu", torch.int64),
    "keyword": lambda pipeline: pipeline.to("cpu", no_such_argument=1),
    "none": lambda pipeline: pipeline.to(None),
    "nothing": lambda pipeline: pipeline.to(),
}


@pytest.mark.parametrize("call", WRONG)
def test_other_arguments_fare_as_with_stock(call: str, device: Device, saved: Saved) -> None:
    outcomes = []
    for pipeline in loaded(saved("ddpm"), device):
        try:
            outcomes.append((None, WRONG[call](pipeline) is pipeline))
        except Exception as error:
            outcomes.append((type(error), str(error)))

    assert outcomes[0] == outcomes[1]


def test_weights_that_were_changed_arrive_changed(device: Device, saved: Saved) -> None:
    pair = loaded(saved("stable-diffusion"), device)
    for pipeline in pair:
        with torch.no_grad():
            pipeline.unet.conv_in.weight.mul_(2)
        pipeline.text_encoder.add_module("further", torch.nn.Linear(2, 2).requires_grad_(False))
        torch.nn.init.ones_(pipeline.text_encoder.further.weight)
        torch.nn.init.ones_(pipeline.text_encoder.further.bias)
        pipeline.to(device.name)

    assert_same_pipeline(*pair)
    assert device.holds_all(all_tensors(pair[0]))


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_memory_that_two_components_share_is_shared_afterwards(
    dtype: torch.dtype | None, device: Device, saved: Saved
) -> None:
    ours, _ = loaded(saved("stable-diffusion-xl"), device)
    one = ours.text_encoder.get_input_embeddings()
    ours.text_encoder_2.set_input_embeddings(one)
    ours.unet.register_buffer("shared", one.weight.detach(), persistent=False)
    expected = bytes_of(one.weight if dtype is None else one.weight.to(dtype))

    ours.to(device.name, *([] if dtype is None else [dtype]))

    assert ours.text_encoder.get_input_embeddings().weight is ours.text_encoder_2.get_input_embeddings().weight
    assert ours.unet.shared.data_ptr() == one.weight.data_ptr()
    assert bytes_of(one.weight) == bytes_of(ours.unet.shared) == expected
    assert device.holds_all(all_tensors(ours))


def test_the_mapping_of_the_files_is_let_go(device: Device, saved: Saved) -> None:
    folder = saved("stable-diffusion")
    with device.on_host():
        ours = warpload.DiffusionPipeline.from_pretrained(folder)
    assert maps_weights_of(folder)

    ours.to(device.name)

    assert not maps_weights_of(folder)
    assert device.holds_all(all_tensors(ours))


def test_a_dropped_component_frees_its_segment(device: Device, saved: Saved) -> None:
    ours, _ = loaded(saved("stable-diffusion"), device)
    ours.to(device.name)
    for name in sorted(models_of(ours)):
        before = device.segment_bytes()
        setattr(ours, name, None)
        assert device.segment_bytes() < before, name

    assert device.allocated() == 0


def test_a_pipeline_goes_back_to_the_host_and_again(device: Device, saved: Saved) -> None:
    ours, stock = loaded(saved("ddpm"), device)
    for pipeline in (ours, stock):
        pipeline.to(device.name)
        with device.on_host():
            pipeline.to("cpu")
        pipeline.to(device.name)

    assert_same_pipeline(ours, stock)
    assert device.holds_all(all_tensors(ours))


def test_a_pipeline_made_from_ours_moves_too(device: Device, saved: Saved) -> None:
    ours, _ = loaded(saved("stable-diffusion"), device)
    other = diffusers.StableDiffusionImg2ImgPipeline.from_pipe(ours)

    other.to(device.name)

    assert other.unet is ours.unet
    assert device.holds_all(all_tensors(ours))


def test_a_pipeline_put_together_of_a_model_of_ours_moves(device: Device, saved: Saved) -> None:
    with device.on_host():
        unet = warpload.UNet2DModel.from_pretrained(saved("ddpm"), subfolder="unet")
    pipeline = diffusers.DDPMPipeline(unet=unet, scheduler=diffusers.DDPMScheduler())

    pipeline.to(device.name)

    assert device.holds_all(unet.parameters())


def test_to_device_moves_any_pipeline(device: Device, saved: Saved) -> None:
    _, stock = loaded(saved("stable-diffusion"), device)
    expected = copy.deepcopy(stock).to(device.name, torch.float16)

    assert warpload.to_device(stock, device.name, torch.float16) is stock

    assert_same_pipeline(stock, expected)
    assert device.holds_all(all_tensors(stock))


# -- left to stock ----------------------------------------------------------------------------------------------------


def test_pipelines_of_stock_are_not_touched(device: Device, saved: Saved) -> None:
    ours, stock = loaded(saved("ddpm"), device)

    stock.to(device.name)

    assert device.allocations == 0
    ours.to(device.name)
    assert device.allocations == 1


def test_the_method_is_stocks_own_without_a_model_of_ours(saved: Saved) -> None:
    run_python(
        """
import gc, sys
import diffusers, warpload
from diffusers import DiffusionPipeline
stock = DiffusionPipeline.to
first = warpload.DiffusionPipeline.from_pretrained(sys.argv[1])
assert DiffusionPipeline.to is not stock
assert DiffusionPipeline.to.__doc__ == stock.__doc__
second = warpload.UNet2DModel.from_pretrained(sys.argv[1], subfolder="unet")
del first
gc.collect()
assert DiffusionPipeline.to is not stock
del second
gc.collect()
assert DiffusionPipeline.to is stock

third = warpload.DiffusionPipeline.from_pretrained(sys.argv[1])
ours = DiffusionPipeline.to
def theirs(self, *arguments, **keywords):
    return ours(self, *arguments, **keywords)
DiffusionPipeline.to = theirs  # someone else's replacement stays
third.to("cpu")
del third
gc.collect()
assert DiffusionPipeline.to is theirs
""",
        saved("ddpm"),
    )


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def outcome(pipeline: DiffusionPipeline, *arguments: Any) -> tuple[Any, list[str]]:
    """Return the error of `.to`, if any, and what diffusers warned of."""
    logger, listener = logging.getLogger("diffusers.pipelines.pipeline_utils"), _Listener()
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.WARNING)
    try:
        pipeline.to(*arguments)
    except Exception as error:
        return (type(error), str(error)), listener.said
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
    return None, listener.said


def offloaded(pipeline: DiffusionPipeline) -> None:
    add_hook_to_module(pipeline.unet, CpuOffload(execution_device="cpu"))


def sequentially_offloaded(pipeline: DiffusionPipeline) -> None:
    add_hook_to_module(pipeline.unet, AlignDevicesHook(execution_device="cpu"))


def deeply_hooked(pipeline: DiffusionPipeline) -> None:
    add_hook_to_module(pipeline.unet.conv_in, AlignDevicesHook(execution_device="cpu"))


def quantised(pipeline: DiffusionPipeline) -> None:
    pipeline.unet.is_quantized = True
    pipeline.unet.hf_quantizer = types.SimpleNamespace(
        quantization_config=types.SimpleNamespace(quant_method="own"), is_serializable=lambda: True
    )


def loaded_in_four_bits(pipeline: DiffusionPipeline) -> None:
    pipeline.text_encoder.is_loaded_in_4bit = True
    pipeline.text_encoder.quantization_method = "bitsandbytes"


@pytest.mark.parametrize(
    "change",
    [offloaded, sequentially_offloaded, deeply_hooked, quantised, loaded_in_four_bits],
    ids=lambda f: f.__name__,
)
def test_pipelines_that_stock_has_rules_for_are_left_to_it(
    change: Callable[[DiffusionPipeline], None], device: Device, saved: Saved
) -> None:
    pair = loaded(saved("stable-diffusion"), device, dtype=torch.float16)
    for pipeline in pair:
        change(pipeline)

    ours, theirs = (outcome(pipeline, device.kind) for pipeline in pair)

    assert ours == theirs
    assert device.allocations == 0
    for tensor, expected in zip(*map(all_tensors, pair), strict=True):
        assert tensor.device == expected.device
        assert bytes_of(tensor) == bytes_of(expected)


def test_a_move_of_an_offloaded_pipeline_to_a_gpu_is_refused_in_stocks_words(device: Device, saved: Saved) -> None:
    """Stock refuses before it looks for a GPU."""
    pair = loaded(saved("stable-diffusion"), device)
    for pipeline in pair:
        sequentially_offloaded(pipeline)

    (error, _), theirs = outcome(pair[0], "cuda"), outcome(pair[1], "cuda")

    assert error == theirs[0]
    assert error[0] is ValueError
    assert "sequential model offloading" in error[1]
    assert device.allocations == 0


def test_a_pipeline_with_a_device_for_each_component_is_refused_in_stocks_words(device: Device, saved: Saved) -> None:
    device_map = {"unet": device.name, "vae": device.name}
    ours = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), device_map=device_map)
    before = device.allocations

    with pytest.raises(ValueError, match="reset_device_map"):
        ours.to(device.name)

    assert device.allocations == before


def test_half_precision_on_the_host_is_warned_of_as_by_stock(device: Device, saved: Saved) -> None:
    with device.on_host():
        ours, theirs = (outcome(pipeline, "cpu") for pipeline in loaded(saved("ddpm"), device, dtype=torch.float16))

    assert ours == theirs
    assert "cannot run with `cpu` device" in ours[1][0]


# -- failures ---------------------------------------------------------------------------------------------------------


def state(pipeline: DiffusionPipeline) -> list[tuple[int, torch.dtype, torch.device, bytes]]:
    return [(t.data_ptr(), t.dtype, t.device, bytes_of(t)) for t in all_tensors(pipeline)]


@pytest.mark.parametrize("dtype", [None, torch.float16])
@pytest.mark.parametrize("component", range(4))
def test_a_failure_in_the_midst_leaves_every_model_as_it_was(
    component: int, dtype: torch.dtype | None, device: Device, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = loaded(saved("stable-diffusion"), device)
    before, original = state(ours), engine.wait_arrival

    def wait(handle: Any, segment: int, place: Any) -> None:
        if segment == component:
            raise warpload.DeviceError("the device is gone")
        original(handle, segment, place)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "wait_arrival", wait)
        with pytest.raises(warpload.DeviceError, match="gone"):
            ours.to(device.name, *([] if dtype is None else [dtype]))

    assert state(ours) == before
    assert device.allocated() == 0
    ours.to(device.name)
    assert device.holds_all(all_tensors(ours))


@pytest.mark.parametrize("given", [0, 2])
def test_a_pipeline_that_does_not_fit_is_as_it_was(
    given: int, device: Device, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, _ = loaded(saved("stable-diffusion"), device)
    before = state(ours)

    with refusing_segments(monkeypatch, after=given), pytest.raises(torch.OutOfMemoryError) as caught:
        ours.to(device.name)

    assert isinstance(caught.value, warpload.OutOfMemoryError)
    del caught
    assert state(ours) == before
    assert device.allocated() == 0
