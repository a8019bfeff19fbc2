"""Fixtures: each tiny pipeline is built once a session; tests that change a folder get a copy."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import diffusers
import pytest
import safetensors.torch
import torch
import transformers
from hypothesis import settings

from support.bad_files import good
from support.devices import ARENA, CAST_SIDES, GPU, HOST, Device
from support.pipelines import FAMILIES, Saved
from support.tensors import mixed_tensors
from warpload import engine, prefetched

# Where a shell starts the tests in the background, Ctrl-C is ignored, by all processes that they start too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)
settings.register_profile("suite", database=None, deadline=None, print_blob=True)
settings.load_profile("suite")
diffusers.utils.logging.disable_progress_bar()
diffusers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Return the folder of a family's pipeline in float32, which nobody may change."""
    folders: dict[str, Path] = {}

    def folder_of(family: str) -> Path:
        if family not in folders:
            folders[family] = tmp_path_factory.mktemp(family) / "pipeline"
            FAMILIES[family]().save_pretrained(folders[family])
        return folders[family]

    return folder_of


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the documentation's code finds what it names; see ``support.pages``."""
    from support import pages  # its parser, and families by the dozen: for those only who ask

    return pages.furnish(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def copied(saved: Saved, tmp_path: Path) -> Saved:
    """Return a copy of a family's folder, for the test to change."""

    def copy_of(family: str) -> Path:
        return Path(shutil.copytree(saved(family), tmp_path / family))

    return copy_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``device`` on each; marked ``slots``, where slots are.

    The one that also takes ``side`` runs there once for each way to choose who casts.
    """
    given = {name for mark in metafunc.definition.iter_markers("parametrize") for name in str(mark.args[0]).split(",")}
    if "device" not in metafunc.fixturenames or "device" in given:
        return
    places = [] if metafunc.definition.get_closest_marker("slots") else [HOST]
    if "side" not in metafunc.fixturenames or "side" in given:
        metafunc.parametrize("device", [*places, ARENA, GPU], indirect=True)
    else:
        both = [(place, "auto") for place in places] + [(ARENA, side) for side in CAST_SIDES]
        both += [pytest.param("cuda:0", side, marks=pytest.mark.gpu) for side in CAST_SIDES]
        metafunc.parametrize(("device", "side"), both, indirect=["device"])


@pytest.fixture
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """Return the host, or a device whose memory the core fills through slots; the CPU is one during the test."""
    found = Device(request.param, monkeypatch)
    with found.options():
        yield found


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Device:
    """Return the first GPU; a test that takes it is marked ``gpu``."""
    return Device("cuda:0", monkeypatch)


@pytest.fixture(autouse=True)
def _collector_left_as_it_was() -> Iterator[None]:
    """Fail a test that leaves the garbage collector in another state than it found."""
    before = gc.isenabled()
    yield
    assert gc.isenabled() == before


@pytest.fixture(autouse=True)
def _no_prefetch_left() -> Iterator[None]:
    """Let no test find what another has prefetched."""
    yield
    prefetched._drop_all()


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the loads that are begun by other than a prefetch, as they come."""
    begun: list[Any] = []
    original = engine.start
    monkeypatch.setattr(engine, "start", lambda *given: (begun.append(given), original(*given))[1])
    return begun


@pytest.fixture
def good_file(tmp_path: Path) -> Path:
    """Return a small file of hand-made bytes."""
    file = tmp_path / "good.safetensors"
    file.write_bytes(good())
    return file


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Return a file with tensors of all sorts."""
    file = tmp_path / "mixed.safetensors"
    safetensors.torch.save_file(mixed_tensors(), file)
    return file


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return the log, with the warnings of our logger in it."""
    caplog.set_level(logging.WARNING, logger="warpload")
    return caplog
