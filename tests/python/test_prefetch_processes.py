"""``warpload.prefetch`` in a process: before torch is there, at its end, in a child of fork, in the page cache."""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import warpload
from support.checkpoints import weight_file
from support.pipelines import MODELS, Saved
from support.processes import falls_to, run_python
from warpload import _core, devices, read_ahead
from warpload.measuring import page_cache

HEAVY = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy")


def test_bytes_arrive_while_nothing_is_imported(saved: Saved) -> None:
    run_python(
        f"""
import sys, warpload
handle = warpload.prefetch(sys.argv[1], dtype="bfloat16", device={{"vae": "cpu", "default": None}})
assert handle.wait(60), handle
assert handle.state == "ready"
assert not sys.modules.keys() & set({HEAVY!r}), sys.modules.keys()
import torch
pipeline = warpload.DiffusionPipeline.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
assert warpload.last_report().prefetched.keys() == set({sorted(MODELS["stable-diffusion-xl"])!r})
""",
        saved("stable-diffusion-xl"),
    )


def test_a_devices_memory_comes_when_somebody_has_imported_torch(saved: Saved) -> None:
    """Meanwhile the slots are filled, and files come into the page cache."""
    run_python(
        """
import os, sys, threading, warpload
asked, all_asked = [], threading.Event()
def note(descriptor, begin, end):
    asked.append(end - begin)
    if sum(asked) >= int(sys.argv[2]):
        all_asked.set()
warpload._core.ask_ahead = note
os.environ["WARPLOAD_ARENA"] = "always"
handle = warpload.prefetch(sys.argv[1], dtype="bfloat16")
assert all_asked.wait(60), asked
assert "torch" not in sys.modules and handle.state == "starting", handle
import torch
assert handle.wait(60), handle
warpload.DiffusionPipeline.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
assert warpload.last_report().prefetched.keys() == {"unet"}
""",
        saved("ddpm"),
        weight_file(saved("ddpm") / "unet").stat().st_size,
    )


@pytest.mark.gpu
def test_a_gpu_is_made_ready_while_nothing_is_imported(saved: Saved) -> None:
    run_python(
        """
import sys, threading, warpload
from warpload import engine
handle = warpload.prefetch(sys.argv[1], dtype="float16", device="cuda")
pinned, tick = 0, threading.Event()
while not pinned:
    assert handle.state == "starting", handle
    tick.wait(0.01)
    pinned = engine.loader().pinned_bytes
assert "torch" not in sys.modules
import torch
assert handle.wait(60), handle
held = torch.cuda.memory_allocated()
assert held >= handle.bytes / 4
pipeline = warpload.DiffusionPipeline.from_pretrained(sys.argv[1], dtype=torch.float16, device_map="cuda")
assert warpload.last_report().prefetched.keys() == {"unet"}
del pipeline
""",
        saved("ddpm"),
    )


@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_a_prefetch_that_waits_for_torch_can_be_dropped(how: str, saved: Saved) -> None:
    run_python(
        """
import os, sys, threading, warpload
os.environ["WARPLOAD_ARENA"] = "always"
handle = warpload.prefetch(sys.argv[1], dtype="bfloat16", expires=0.3 if sys.argv[2] == "late" else 60)
(thread,) = [each for each in threading.enumerate() if each.name == "warpload-prefetch"]
if sys.argv[2] == "cancelled":
    handle.cancel()
thread.join(60)
assert not thread.is_alive() and handle.state == "dropped", handle
assert "torch" not in sys.modules
""",
        saved("ddpm"),
        how,
    )


def test_the_bytes_of_a_pipeline_begin_before_torch_is_imported(saved: Saved) -> None:
    """The facade's own early start, where the call names neither a dtype nor a device."""
    run_python(
        """
import sys, warpload
from warpload import engine
original, seen = engine.start, []
def start(*given):
    seen.append("torch" in sys.modules)
    return original(*given)
engine.start = start
warpload.DiffusionPipeline.from_pretrained(sys.argv[1])
assert seen == [False], seen
""",
        saved("ddpm"),
    )


_ENDS = {"in the midst of opening": "", "before torch is there": "", "all has arrived, and an exit": "sys.exit(0)"}


@pytest.mark.parametrize("how", _ENDS)
def test_a_process_ends_quietly_with_what_nobody_has_taken(how: str, saved: Saved) -> None:
    arena = "always" if how == "before torch is there" else "auto"
    done = run_python(
        f"""
import atexit, os, sys, threading
@atexit.register
def tell_of_what_is_left():  # runs last
    left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if left:
        print(left, file=sys.stderr)
import warpload
os.environ["WARPLOAD_ARENA"] = "{arena}"
handles = [warpload.prefetch(sys.argv[1], dtype=dtype) for dtype in ("float16", "bfloat16", None)]
if "an exit" in "{how}":
    assert all(handle.wait(60) for handle in handles)
{_ENDS[how]}
""",
        saved("stable-diffusion"),
    )

    assert done.stderr == ""


def test_a_child_of_fork_has_none_and_its_parent_keeps_its_own(saved: Saved) -> None:
    run_python(
        """
import os, sys
import torch, warpload
def load():
    warpload.DiffusionPipeline.from_pretrained(sys.argv[1], dtype=torch.float16)
    return set(warpload.last_report().prefetched)
handle = warpload.prefetch(sys.argv[1], "float16")
child = os.fork()
if child == 0:
    assert handle.state == "dropped" and "parent" in handle.reason, handle
    assert not handle.wait()
    handle.cancel()
    assert load() == set()
    again = warpload.prefetch(sys.argv[1], "float16")
    assert again is not handle and again.wait(60), again
    assert load() == {"unet"}
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert load() == {"unet"}
assert handle.state == "taken"
""",
        saved("ddpm"),
    )


def test_a_fork_in_the_midst_of_a_prefetch_leaves_the_child_well(saved: Saved) -> None:
    run_python(
        """
import os, sys
import torch, warpload
warpload.load_file(sys.argv[1], dtype=torch.bfloat16)
for _ in range(20):
    handle = warpload.prefetch(sys.argv[1], "float16")
    child = os.fork()
    if child == 0:
        warpload.load_file(sys.argv[1], dtype=torch.float16)
        warpload.prefetch(sys.argv[1], "float16").cancel()
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    handle.cancel()
""",
        weight_file(saved("ddpm") / "unet"),
    )


def test_a_bare_cuda_is_the_current_gpu_of_the_thread_that_calls(monkeypatch: pytest.MonkeyPatch, saved: Saved) -> None:
    caller = threading.get_ident()
    monkeypatch.setattr(devices, "current_gpu", lambda: 41 if threading.get_ident() == caller else 42)

    handle = warpload.prefetch(saved("ddpm"), device="cuda")

    assert not handle.wait(60)
    assert vars(handle._asked_for)["current_gpu"] == 41


@pytest.mark.parametrize(
    ("named", "place"),
    [
        (None, None),
        ("cpu", None),
        ("meta", None),
        ("mps", None),
        ("cuda", devices.Place("cuda", 3)),
        ("cuda:1", devices.Place("cuda", 1)),
        (2, devices.Place("cuda", 2)),
    ],
)
def test_a_place_is_foreseen_without_torch(named: Any, place: devices.Place | None) -> None:
    assert devices.foreseen_place(named, 3) == place


# -- the page cache ----------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[int, int]]]:
    """Return the ranges that the system is asked to read ahead, by the file's name."""
    ranges: dict[str, list[tuple[int, int]]] = {}

    def note(descriptor: int, begin: int, end: int) -> None:
        ranges.setdefault(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")), []).append((begin, end - begin))

    monkeypatch.setattr(_core, "ask_ahead", note)
    return ranges


def test_files_that_a_load_will_map_come_into_the_page_cache(saved: Saved, asked: dict[str, Any]) -> None:
    file = weight_file(saved("ddpm") / "unet")

    assert warpload.prefetch(saved("ddpm")).wait(60)

    assert asked == {file.name: [(0, file.stat().st_size)]}


def test_files_that_a_load_will_read_are_left_to_its_workers(saved: Saved, asked: dict[str, Any]) -> None:
    assert warpload.prefetch(saved("ddpm"), "float16").wait(60)
    assert warpload.prefetch(saved("ddpm"), disable_mmap=True).wait(60)

    assert asked == {}


def _sparse(folder: Path, name: str, size: int) -> Path:
    file = folder / name
    with file.open("wb") as opened:
        opened.truncate(size)
    return file


def test_a_file_is_asked_for_in_steps_until_it_is_enough(tmp_path: Path, asked: dict[str, Any]) -> None:
    step = read_ahead._STEP
    files = [_sparse(tmp_path, "a", 2 * step + 5), tmp_path / "missing", _sparse(tmp_path, "b", 3 * step)]
    answers = iter([False] * 4 + [True])

    assert read_ahead.read_ahead(files, lambda: next(answers)) == 3 * step + 5

    assert asked == {"a": [(0, step), (step, step), (2 * step, 5)], "b": [(0, step)]}


def test_no_more_is_asked_for_than_there_is_memory(
    tmp_path: Path, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = read_ahead._STEP
    monkeypatch.setattr(read_ahead, "available_bytes", lambda: 2 * step)

    read_ahead.read_ahead([_sparse(tmp_path, "a", 5 * step)], lambda: False)

    assert asked == {"a": [(0, step), (step, step)]}


def test_all_that_is_asked_for_comes_into_the_page_cache(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(os.urandom(3 * read_ahead._STEP))
    page_cache.evict([file])

    read_ahead.read_ahead([file], lambda: False)

    assert falls_to(lambda: _missing_pages(file), 0)


def _missing_pages(file: Path) -> int:
    state = page_cache.cache_state([file])
    return state.total_pages - state.resident_pages


def test_the_memory_that_there_is_is_known() -> None:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

    assert 0 < read_ahead.available_bytes() <= total


@pytest.mark.parametrize(
    ("limit", "current", "expected"),
    [("max", "7", 10_240_000), ("500000", "450000", 250_000), ("1000", "250000", 0), ("99999999", "4000", 10_240_000)],
)
def test_no_more_counts_as_available_than_a_containers_limit_leaves(
    limit: str, current: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "meminfo": "MemFree: 1 kB\nMemAvailable: 10000 kB\n",
        "memory.max": limit,
        "memory.current": current,
        "memory.stat": "anon 5\nfile 200000\n",
    }.items():
        (tmp_path / name).write_text(f"{text}\n")
    known = functools.partial(_core.available_memory, machine=tmp_path / "meminfo", group=tmp_path)
    monkeypatch.setattr(_core, "available_memory", known)

    assert read_ahead.available_bytes() == expected


def test_nothing_is_read_ahead_where_the_system_does_not_say_what_it_has(
    tmp_path: Path, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = functools.partial(_core.available_memory, machine=tmp_path / "missing", group=tmp_path)
    monkeypatch.setattr(_core, "available_memory", silent)

    assert read_ahead.read_ahead([_sparse(tmp_path, "a", 5)], lambda: False) == 0
    assert asked == {}
