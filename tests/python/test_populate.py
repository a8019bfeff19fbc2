"""The pages of views are backed in the background after their load, with a switch, and nothing of that stays behind."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import warpload

PATIENCE = 60
_SIZE = 6 << 20


@pytest.fixture
def large(tmp_path: Path) -> Path:
    values = torch.arange(_SIZE // 8, dtype=torch.int64)
    save_file(
        {"first": values[: _SIZE // 16].clone(), "second": values[_SIZE // 16 :].clone()}, tmp_path / "a.safetensors"
    )
    return tmp_path / "a.safetensors"


def backed(path: Path) -> list[int]:
    """Return how many bytes are backed of each writable mapping of a file, in this process."""
    found: list[int] = []
    ours = False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            ours = words[-1] == str(path) and "w" in words[1]
        elif ours and words[0] == "Rss:":
            found.append(int(words[1]) * 1024)
    return found


def wait_until_backed(path: Path, bytes_: int = _SIZE) -> None:
    end = time.monotonic() + PATIENCE
    while sum(backed(path)) < bytes_:
        assert time.monotonic() < end, f"{backed(path)} bytes are backed"
        time.sleep(0.001)  # the kernel tells nobody


@pytest.mark.parametrize("populate", ["auto", "always"])
def test_views_are_backed_after_a_load_without_being_touched(large: Path, populate: str) -> None:
    tensors = warpload.load_file(large, options=warpload.LoadOptions(populate=populate))

    wait_until_backed(large)

    assert torch.equal(torch.cat([tensors["first"], tensors["second"]]), torch.arange(_SIZE // 8))


def test_views_are_left_alone_where_that_is_asked_for(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warpload.LoadOptions(populate="never"):
        in_block = warpload.load_file(large)
    monkeypatch.setenv("WARPLOAD_POPULATE", "never")
    by_variable = warpload.load_file(large)
    monkeypatch.delenv("WARPLOAD_POPULATE")
    populated = warpload.load_file(large)

    wait_until_backed(large)

    assert len(backed(large)) == 3
    assert sorted(backed(large))[:2] == [0, 0]
    del in_block, by_variable, populated


def test_nothing_stays_mapped_of_what_is_dropped_meanwhile(large: Path) -> None:
    for _ in range(20):
        tensors = warpload.load_file(large)
        del tensors
        gc.collect()
        assert backed(large) == []


def test_threads_do_not_become_more_with_loads(large: Path) -> None:
    first = warpload.load_file(large)
    threads = len(os.listdir("/proc/self/task"))
    others = [warpload.load_file(large) for _ in range(5)]

    assert len(os.listdir("/proc/self/task")) == threads
    del first, others


def test_no_descriptor_is_kept(large: Path) -> None:
    first = warpload.load_file(large)
    wait_until_backed(large)
    before = descriptors()
    second = warpload.load_file(large)
    wait_until_backed(large, 2 * _SIZE)

    end = time.monotonic() + PATIENCE
    while descriptors() != before:  # the last piece is backed before the work is over
        assert time.monotonic() < end
        time.sleep(0.001)
    del first, second


def descriptors() -> list[str]:
    return sorted(filter(None, map(target, os.listdir("/proc/self/fd"))))


def target(number: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:  # that of the listing itself
        return ""


def test_a_child_of_fork_drops_what_its_parent_populates(large: Path) -> None:
    tensors = warpload.load_file(large)
    child = os.fork()
    if child == 0:
        del tensors
        os._exit(0)

    assert os.waitpid(child, 0)[1] == 0
