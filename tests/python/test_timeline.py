"""When what happened in a load: Python's spans always, what the core's threads did where it was asked for."""

from __future__ import annotations

import copy
import logging
import pickle
import threading
import weakref
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import warpload
from support import checkpoints
from support.pipelines import MODELS, Saved
from support.processes import run_python
from support.timelines import bytes_read, of_core, report
from warpload import _core, engine, trace_file
from warpload.context import began
from warpload.report import STAGES
from warpload.timeline import CASTING, CORE_KINDS, MOST_EVENTS, Event, Timeline
from warpload.timeline_rows import COLOURS, LEGEND, Row, extent, rows_of, seconds_by_kind, shares

RECORDED = warpload.LoadOptions(trace=True)


@pytest.fixture
def handles(monkeypatch: pytest.MonkeyPatch) -> list[_core.LoadHandle]:
    """Return the core's own loads, as they begin."""
    begun: list[_core.LoadHandle] = []
    original = engine.start

    def start(*given: Any) -> _core.LoadHandle:
        begun.append(original(*given))
        return begun[-1]

    monkeypatch.setattr(engine, "start", start)
    return begun


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Return a file that a cast reads in several runs."""
    file = tmp_path / "wide.safetensors"
    checkpoints.save_file({f"tensor {number}": torch.rand(300_000) for number in range(4)}, file)
    return file


# -- what is recorded -------------------------------------------------------------------------------------------------


def test_nothing_of_the_cores_is_recorded_unless_it_is_asked_for(wide: Path, handles: list[_core.LoadHandle]) -> None:
    warpload.load_file(wide, dtype="bfloat16")

    assert [handle.trace for handle in handles] == [None]
    assert of_core(report()) == []
    assert not report().timeline.is_recorded


@pytest.mark.parametrize("by", ["options", "environment"])
def test_every_byte_that_is_read_is_told_of_once(
    by: str, saved: Saved, handles: list[_core.LoadHandle], monkeypatch: pytest.MonkeyPatch
) -> None:
    if by == "environment":
        monkeypatch.setenv("WARPLOAD_TRACE", "1")
    with RECORDED if by == "options" else warpload.LoadOptions():
        warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), dtype=torch.bfloat16)

    read = sum(handle.bytes_total for handle in handles)
    assert read > 0
    assert bytes_read(of_core(report())) == read
    assert {event.kind for event in of_core(report())} >= {"reading", CASTING}
    assert report().timeline.lost == 0


def test_what_the_core_did_lies_inside_the_load_and_has_the_components_names(saved: Saved) -> None:
    with RECORDED:
        warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion-xl"), dtype=torch.bfloat16)

    events = report().timeline.events()
    begin = min(event.begin for event in events if not event.is_of_core)
    end = max(event.end for event in events if not event.is_of_core)
    core = of_core(report())
    assert all(begin <= event.begin <= event.end <= end for event in core)
    assert {event.component for event in core} == MODELS["stable-diffusion-xl"]
    threads = {event.thread for event in core}
    assert threading.get_native_id() not in threads
    names = report().timeline.thread_names(events)
    assert {names[thread] for thread in threads} == {f"core thread {number + 1}" for number in range(len(threads))}
    assert names[threading.get_native_id()] == threading.current_thread().name


def test_the_stages_are_there_without_it_and_say_which_model_is_built_and_waited_for(saved: Saved) -> None:
    warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), dtype=torch.bfloat16)

    events = report().timeline.events()
    assert {event.kind for event in events} >= report().seconds.keys()
    for kind in ("build", "wait"):
        named = {event.component for event in events if event.kind == kind and event.component}
        assert named == MODELS["stable-diffusion"]
    for stage in ("open", "import", "assemble"):
        assert any(event.kind == stage for event in events)
    assert sum(report().seconds.values()) == pytest.approx(
        sum(event.seconds for event in events if event.kind in ("open", "import", "assemble"))
    )


def test_loads_at_once_each_tell_of_their_own(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.safetensors" for number in range(4)]
    for number, file in enumerate(files):
        checkpoints.save_file({"a": torch.rand(200_000 * (number + 1)), "b": torch.rand(1000)}, file)
    ready, found = threading.Barrier(len(files)), dict[Path, int]()

    def load(file: Path) -> None:
        with RECORDED, began(warpload.LoadReport(str(file))) as mine:
            ready.wait()
            warpload.load_file(file, dtype="bfloat16")
        found[file] = bytes_read(of_core(mine.report))

    threads = [threading.Thread(target=load, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {file: 4 * (200_000 * (number + 1) + 1000) for number, file in enumerate(files)}


def test_a_load_inside_another_is_told_of_by_both(wide: Path) -> None:
    with RECORDED, began(warpload.LoadReport("outer")) as outer:
        with outer.report.stage("load"):
            warpload.load_file(wide, dtype="bfloat16")
        warpload.load_file(wide, dtype="float16")

    events = outer.report.timeline.events()
    assert bytes_read(events) == 2 * 4 * 1_200_000
    assert {event.component for event in events if event.is_of_core} == {str(wide)}
    assert [event.component for event in events if event.kind == "load"] == ["", str(wide), str(wide)]


def test_what_was_prefetched_is_told_of_by_the_load_that_takes_it(saved: Saved) -> None:
    folder = saved("stable-diffusion")
    with RECORDED:
        warpload.prefetch(folder, dtype=torch.bfloat16).wait()
        warpload.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)

    assert report().prefetched.keys() == MODELS["stable-diffusion"]
    core = of_core(report())
    assert {event.component for event in core} == MODELS["stable-diffusion"]
    assert 0.9 * report().bytes <= bytes_read(core) <= report().bytes  # what is no number with a point is not cast
    first = min(event.begin for event in report().timeline.events() if not event.is_of_core)
    assert min(event.begin for event in core) < first


def test_code_of_diffusers_own_is_told_of_too(saved: Saved) -> None:
    with RECORDED, warpload.accelerated():
        diffusers.UNet2DConditionModel.from_pretrained(
            saved("stable-diffusion"), subfolder="unet", torch_dtype=torch.bfloat16
        )

    assert bytes_read(of_core(report())) == report().bytes
    assert {event.kind for event in report().timeline.events()} >= {"load", "build", "construct", "place", "wait"}


def test_of_a_load_that_fails_there_is_what_was_done(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(engine, "wait_arrival", fail)
    with RECORDED, pytest.raises(OSError, match="the disk is gone"):
        warpload.load_file(wide, dtype="bfloat16")

    assert report().error == "the disk is gone"
    assert [event.kind for event in report().timeline.spans] == ["load"]
    assert report().timeline.is_recorded


def test_a_child_of_fork_has_what_was_recorded_and_records_its_own_loads() -> None:
    process = run_python(
        """
import os, sys, tempfile, torch, warpload
from safetensors.torch import save_file
from support.timelines import bytes_read, of_core, report
with tempfile.TemporaryDirectory() as folder, warpload.LoadOptions(trace=True):
    save_file({"a": torch.rand(500_000)}, f"{folder}/a.safetensors")
    warpload.load_file(f"{folder}/a.safetensors", dtype="bfloat16")
    ours = report()
    child = os.fork()
    if child == 0:
        assert bytes_read(of_core(ours)) == 2_000_000
        ours.save_trace(f"{folder}/a.json")
        warpload.load_file(f"{folder}/a.safetensors", dtype="float16")
        assert report() is not ours
        assert bytes_read(of_core(report())) == 2_000_000
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert os.path.getsize(f"{folder}/a.json") > 0
    print("done")
"""
    )

    assert process.stdout.strip() == "done"


# -- what a report keeps of it ----------------------------------------------------------------------------------------


def test_a_report_keeps_nothing_of_what_was_loaded(wide: Path) -> None:
    with RECORDED:
        tensors = warpload.load_file(wide, dtype="bfloat16")
    gone = [weakref.ref(tensor) for tensor in tensors.values()]
    del tensors

    assert [reference() for reference in gone] == [None] * 4
    state = vars(report().timeline)
    assert state["_followed"] == []
    assert {type(each) for record in state["_settled"] for each in vars(record).values()} <= {bytes, int, dict}


def test_a_report_can_be_pickled_and_copied_while_it_is_under_way(wide: Path) -> None:
    with RECORDED, began(warpload.LoadReport("outer")) as load:
        engine.load([engine.request(engine.open_checkpoint(wide), dtype="BF16")], [None])
        under_way = [pickle.loads(pickle.dumps(load.report)), copy.deepcopy(load.report)]
    after = pickle.loads(pickle.dumps(load.report))

    for other in (*under_way, after):
        assert bytes_read(other.timeline.events()) == 4 * 1_200_000
        assert other == load.report


def test_a_load_of_many_events_keeps_the_last_and_says_how_many_were_lost(
    wide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warpload.timeline.MOST_EVENTS", 3)
    with RECORDED:
        warpload.load_file(wide, dtype="bfloat16")

    assert len(of_core(report())) == 3
    assert report().timeline.lost > 0
    assert trace_file.facts(report())["lost_events"] == report().timeline.lost


def test_a_load_keeps_events_of_more_bytes_than_most_pipelines_have() -> None:
    run_bytes, events_of_a_run = 2**19, 2

    assert MOST_EVENTS // events_of_a_run * run_bytes > 60e9


def test_whoever_saves_a_timeline_without_reads_is_told_once_how_to_have_them(
    good_file: Path, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    trace_file._tell_how_to_record.cache_clear()
    warpload.load_file(good_file)
    for name in ("a.json", "b.json"):
        report().save_trace(tmp_path / name)

    said = [record.getMessage() for record in log.records if record.levelno == logging.WARNING]
    assert len(said) == 1
    assert "WARPLOAD_TRACE=1" in said[0]
    assert "LoadOptions(trace=True)" in said[0]


# -- how it is arranged -----------------------------------------------------------------------------------------------


def made(*events: Event) -> Timeline:
    timeline = Timeline()
    timeline.spans += events
    timeline._thread_names = {1: "main", 2: "other"}
    return timeline


def test_every_kind_has_a_colour_and_what_is_no_stage_an_explanation() -> None:
    assert {*STAGES, *CORE_KINDS} <= COLOURS.keys()
    assert LEGEND.keys() == COLOURS.keys() - set(STAGES)


def test_each_thread_is_a_row_in_which_a_part_lies_below_the_whole() -> None:
    rows = rows_of(
        made(
            Event("build", 10, 40, 1, "unet"),
            Event("construct", 10, 20, 1, "unet"),
            Event("place", 20, 30, 1, "unet"),
            Event("assemble", 0, 100, 1),
            Event("wait", 40, 50, 1),
            Event("load", 5, 6, 2),
        )
    )

    assert [row.name for row in rows] == ["main", "other"]
    assert [(event.kind, level) for event, level in rows[0].bars] == [
        ("assemble", 0),
        ("build", 1),
        ("construct", 2),
        ("place", 2),
        ("wait", 1),
    ]
    assert rows[0].depth == 3
    assert extent(rows) == (0, 100)
    assert extent([]) == (0, 0)


def test_a_wait_inside_a_wait_counts_once() -> None:
    rows = rows_of(
        made(Event("wait", 0, 10**9, 1), Event("wait", 0, 4 * 10**8, 1, "unet"), Event("wait", 2 * 10**9, 3 * 10**9, 2))
    )

    assert seconds_by_kind(rows) == {"wait": 2.0}


def test_shares_are_parts_of_the_time_of_all_threads() -> None:
    first = Row("1", True, [(Event("reading", 0, 10, 1), 0), (Event("casting", 10, 35, 1), 0)])
    second = Row("2", True, [(Event("casting", 0, 20, 2), 0)])

    found = shares([first, second], 0, 40, 4)

    assert found == {"reading": [0.5, 0, 0, 0], "casting": [0.5, 1.0, 0.5, 0.25]}
