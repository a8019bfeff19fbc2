"""What nobody takes of a prefetch, what fails, several at once, and what is said of them."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import threading
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch

import warpload
from support import checkpoints
from support.compare import assert_same_pipeline, assert_same_tensor
from support.devices import Device, refusing_segments
from support.pipelines import Saved
from support.prefetches import ended, report
from warpload import engine, prefetch_run
from warpload.units import duration, size


def test_what_nobody_takes_is_dropped_at_its_time(saved: Saved, device: Device, log: pytest.LogCaptureFixture) -> None:
    handle = ended(warpload.prefetch(saved("ddpm"), "float16", device.name, expires=1e-3))

    assert handle.state == "dropped"
    assert "0.001 s" in handle.reason
    assert device.segment_bytes() == 0
    warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16, **device.map())
    assert (report().prefetched, report().passed_over) == ({}, {})


def test_that_it_was_dropped_at_its_time_is_logged(saved: Saved, log: pytest.LogCaptureFixture) -> None:
    handle = warpload.prefetch(saved("ddpm"), "float16")
    assert handle.wait(60)
    handle._deadline = 0.0
    warpload.prefetch(saved("ddpm"), "float16", expires=math.inf).cancel()
    assert handle.state == "dropped"

    ended(warpload.prefetch(saved("ddpm"), "float16", expires=1e-3))

    assert "no load has taken it within 0.001 s" in log.text


def test_the_time_is_an_option_and_a_variable(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    with warpload.LoadOptions(prefetch_seconds=1e-3):
        assert "0.001 s" in ended(warpload.prefetch(saved("ddpm"))).reason
    monkeypatch.setenv("WARPLOAD_PREFETCH_SECONDS", "0.002")
    assert "0.002 s" in ended(warpload.prefetch(saved("ddpm"))).reason
    options = warpload.LoadOptions(prefetch_seconds=0.003)
    assert "0.003 s" in ended(warpload.prefetch(saved("ddpm"), options=options)).reason


def test_options_of_prefetches_make_no_other_loader() -> None:
    with warpload.LoadOptions(prefetch_seconds=17):
        assert engine.loader() is engine.loader()
        first = engine.loader()
    with warpload.LoadOptions(prefetch_seconds=18):
        assert engine.loader() is first


@pytest.mark.parametrize("how", ["cancel", "the end of a block"])
def test_what_is_cancelled_is_dropped_at_once(how: str, saved: Saved, device: Device) -> None:
    with warpload.prefetch(saved("ddpm"), "float16", device.name) as handle:
        assert handle.wait(60)
        if how == "cancel":
            handle.cancel()
            handle.cancel()

    assert handle.state == "dropped"
    assert not handle.wait()
    ended(handle)
    assert device.segment_bytes() == 0


def test_a_block_keeps_what_a_load_in_it_has_taken(saved: Saved) -> None:
    with warpload.prefetch(saved("ddpm"), "float16") as handle:
        pipeline = warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16)

    assert handle.state == "taken"
    assert_same_pipeline(pipeline, diffusers.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16))


def test_a_prefetch_may_be_cancelled_before_it_has_begun(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    original = engine.open_checkpoint
    monkeypatch.setattr(engine, "open_checkpoint", lambda *given, **more: go_on.wait(60) and original(*given, **more))
    handle = warpload.prefetch(saved("ddpm"), "float16")
    assert handle.state == "starting"

    handle.cancel()
    go_on.set()

    assert ended(handle).state == "dropped"
    monkeypatch.undo()
    warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16)
    assert report().prefetched == {}


def _broken(folder: Path) -> None:
    checkpoints.weight_file(folder / "unet").write_bytes(b"nonsense")


def _missing(folder: Path) -> None:
    (folder / "model_index.json").unlink()
    shutil.rmtree(folder / "unet")


@pytest.mark.parametrize("fault", [_broken, _missing])
def test_a_prefetch_that_fails_raises_nothing_and_the_load_its_own_error(
    fault: Any, copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    folder = copied("ddpm")
    fault(folder)
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever it is, it is the same
        warpload.DiffusionPipeline.from_pretrained(folder)

    handle = warpload.prefetch(folder)

    assert not handle.wait(60)
    assert handle.state == "failed"
    assert f"{folder} is not prefetched, and read when it is loaded: {handle.reason}" in log.text
    with pytest.raises(type(expected.value)) as raised:
        warpload.DiffusionPipeline.from_pretrained(folder)
    assert str(raised.value) == str(expected.value)


@pytest.mark.slots
def test_memory_that_a_prefetch_does_not_get_is_asked_for_again(
    saved: Saved, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing_segments(monkeypatch):
        handle = warpload.prefetch(saved("ddpm"), "float16", device.name)
        assert not handle.wait(60)
    assert handle.state == "failed"
    assert "OutOfMemoryError" in handle.reason

    warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16, **device.map())

    assert "the prefetch failed" in report().passed_over["unet"]
    assert report().components == {"unet": "native"}


def test_a_gpu_that_is_not_there_is_the_loads_error(saved: Saved) -> None:
    handle = warpload.prefetch(saved("ddpm"), device=99)

    assert not handle.wait(60)
    assert "DeviceError" in handle.reason
    with pytest.raises(warpload.DeviceError):
        warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), device_map=99)


@pytest.mark.parametrize("noticed", [True, False])
def test_a_read_that_fails_is_done_again_by_the_load(
    noticed: bool, copied: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("ddpm")
    file = checkpoints.weight_file(folder / "unet")
    whole = file.read_bytes()
    original = engine.open_checkpoint

    def open_and_cut(*given: Any, **more: Any) -> Any:
        opened = original(*given, **more)
        file.write_bytes(whole[: len(whole) // 2])
        return opened

    with monkeypatch.context() as patch:
        patch.setattr(engine, "open_checkpoint", open_and_cut)
        if not noticed:
            patch.setattr(prefetch_run.Prefetch, "_attend", lambda self: None)
        handle = warpload.prefetch(folder, "float16")
        assert handle._begun.wait(60)
        if noticed:
            assert not handle.wait(60)
        else:
            with pytest.raises(warpload.IoError):
                handle._handle.wait()
    file.write_bytes(whole)
    monkeypatch.setattr(prefetch_run, "states_of", lambda asked: handle._parts[0].states)

    warpload.DiffusionPipeline.from_pretrained(folder, dtype=torch.float16)

    assert report().components == {"unet": "native"}
    assert "IoError" in report().passed_over["unet"]
    assert handle.state == "failed"


WRONG: list[dict[str, Any]] = [
    {"source": 7},
    {"source": ""},
    {"source": ["x", None]},
    {"source": "x", "dtype": "float17"},
    {"source": "x", "dtype": 16},
    {"source": "x", "dtype": {"unet": "float17"}},
    {"source": "x", "device": -1},
    {"source": "x", "device": True},
    {"source": "x", "device": {"unet": 1.5}},
    {"source": "x", "expires": 0},
    {"source": "x", "expires": -1.0},
    {"source": "x", "expires": math.nan},
    {"source": "x", "expires": "60"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_an_argument_that_makes_no_sense_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises((warpload.InvalidArgumentError, warpload.IoError)):
        warpload.prefetch(**wrong)


def test_a_call_for_the_same_returns_the_prefetch_under_way(saved: Saved) -> None:
    first = warpload.prefetch(saved("ddpm"), "float16", expires=30)
    again = warpload.prefetch(str(saved("ddpm")), torch.float16, expires=math.inf)
    other = warpload.prefetch(saved("ddpm"), "float16", without=["vae"])

    assert again is first
    assert other is not first
    assert first._deadline == math.inf


def test_a_call_for_what_has_been_taken_begins_anew(saved: Saved) -> None:
    first = warpload.prefetch(saved("ddpm"), "float16")
    warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16)

    assert warpload.prefetch(saved("ddpm"), "float16") is not first


def test_of_threads_that_load_the_same_one_takes_it(saved: Saved) -> None:
    expected = safetensors.torch.load_file(file := checkpoints.weight_file(saved("ddpm") / "unet"))
    threads_count = 6
    loaded: list[Any] = [None] * threads_count
    together = threading.Barrier(threads_count)
    warpload.prefetch(file, "float16")

    def load(number: int) -> None:
        together.wait()
        loaded[number] = warpload.load_file(file, dtype=torch.float16)

    threads = [threading.Thread(target=load, args=(number,)) for number in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(bool(each.prefetched) for each in warpload.reports()[-threads_count:]) == 1
    for tensors in loaded:
        for name, tensor in expected.items():
            assert_same_tensor(tensors[name], tensor.half(), name)


def test_threads_that_prefetch_the_same_get_one(saved: Saved) -> None:
    handles: list[Any] = []
    together = threading.Barrier(6)

    def begin() -> None:
        together.wait()
        handles.append(warpload.prefetch(saved("ddpm"), "float16"))

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(map(id, handles))) == 1


def test_a_load_waits_for_a_prefetch_that_is_opening_its_files(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    opening, go_on = threading.Event(), threading.Event()
    original = engine.open_checkpoint

    def open_late(*given: Any, **more: Any) -> Any:
        opening.set()
        assert go_on.wait(60)
        return original(*given, **more)

    monkeypatch.setattr(engine, "open_checkpoint", open_late)
    warpload.prefetch(saved("ddpm"), "float16")
    assert opening.wait(60)
    with contextlib.ExitStack() as stack:
        stack.callback(go_on.set)
        other = warpload.prefetch(saved("wan"), "float16")  # of other files, which hold up nobody else
        assert other.state == "starting"
        threading.Timer(0, go_on.set).start()
        warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16)

    assert report().prefetched.keys() == {"unet"}


def test_the_report_says_how_long_before(saved: Saved) -> None:
    warpload.prefetch(saved("ddpm"), "float16")

    warpload.DiffusionPipeline.from_pretrained(saved("ddpm"), dtype=torch.float16)

    seconds = report().prefetched["unet"]
    assert seconds > 0
    assert f"unet      native (prefetched {duration(seconds)} before)" in str(report())


def test_the_report_of_an_outer_load_tells_of_those_inside() -> None:
    outer, inner = warpload.LoadReport("outer"), warpload.LoadReport("inner")
    inner.components = {"a": "native", "b": "native"}
    inner.prefetched, inner.passed_over = {"a": 1.5}, {"b": "it has changed"}

    outer.include(inner, "part")

    assert outer.prefetched == {"part/a": 1.5}
    assert outer.passed_over == {"part/b": "it has changed"}
    assert "prefetched in vain: it has changed" in str(outer)


def test_the_handle_says_what_it_is(saved: Saved) -> None:
    handle = warpload.prefetch(saved("ddpm"), "float16")
    assert handle.wait(60)

    file = checkpoints.weight_file(saved("ddpm") / "unet")
    assert handle.bytes == sum(tensor.nbytes for tensor in safetensors.torch.load_file(file).values())
    assert handle.source == str(saved("ddpm"))
    assert repr(handle) == f"<warpload.Prefetch of {handle.source!r}: ready, {size(handle.bytes)}>"
    handle.cancel()
    assert repr(handle).endswith(": it was cancelled>")


def test_what_is_cancelled_or_left_over_is_no_warning(saved: Saved, log: pytest.LogCaptureFixture) -> None:
    warpload.prefetch(saved("ddpm"), "float16").cancel()
    warpload.prefetch(saved("stable-diffusion"), "float16")

    warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), safety_checker=None, dtype=torch.float16)

    assert [each for each in log.records if each.name == "warpload" and each.levelno >= logging.WARNING] == []
