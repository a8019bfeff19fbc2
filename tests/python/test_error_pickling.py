"""Errors of ours reach other processes, and copies, as what they are."""

from __future__ import annotations

import builtins
import concurrent.futures
import copy
import multiprocessing
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
import torch.multiprocessing

import warpload
from support.bad_files import good
from support.failing import FailingDataset, load
from warpload import engine, errors

TIMEOUT = 120  # seconds; only a hang reaches it
EXOTIC = "sur\udcffrogate, nul \0, line\nbreak, Größe"

LIBRARIES = ["", "diffusers", "transformers", "safetensors"]


def _made(kind: str, library: str = "", system_error: int = 0, driver_error: int = 0) -> warpload.WarploadError:
    with errors.caught_as_from(library):
        return errors.build_error(
            kind,
            f"the sentence {EXOTIC}",
            EXOTIC,
            f"/a/{EXOTIC}",
            EXOTIC,
            (3, 1 << 40),
            system_error,
            driver_error,
            "cure",
        )


def all_errors() -> dict[str, warpload.WarploadError]:
    """Return one of every class that is ever raised, and of every public one as a user would make it."""
    made = [_made(name, library) for name in errors.__all__ if name != "WarploadError" for library in LIBRARIES]
    made += [_made("IoError", system_error=number) for number in (1, 2, 5, 13, 20, 21)]
    made += [_made("OutOfMemoryError", driver_error=2), _made("DeviceError", driver_error=700)]
    made += [errors.device_out_of_memory()("full")]
    by_name = {f"{type(error).__name__}-{error.args!r:.40}": error for error in made}
    return by_name | {f"plain-{name}": getattr(errors, name)("text") for name in errors.__all__}


ALL = all_errors()


def assert_same_error(copied: BaseException, error: BaseException) -> None:
    assert type(copied) is type(error)
    assert copied.args == error.args
    assert str(copied) == str(error)
    assert repr(copied) == repr(error)
    assert vars(copied) == vars(error)
    if isinstance(error, OSError):
        for field in ("errno", "strerror", "filename", "filename2"):
            assert getattr(copied, field) == getattr(error, field), field


COPIES: dict[str, Callable[[Any], Any]] = {
    **{
        f"protocol-{number}": lambda error, number=number: pickle.loads(pickle.dumps(error, number))
        for number in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", ALL)
def test_every_error_keeps_its_class_and_all_it_says(name: str, how: str) -> None:
    assert_same_error(COPIES[how](ALL[name]), ALL[name])


@pytest.mark.parametrize("name", ALL)
def test_every_class_is_found_under_its_name(name: str) -> None:
    """As torch sends the class and the text of an error, and makes the error anew."""
    cls = type(ALL[name])

    assert pickle.loads(pickle.dumps(cls)) is cls
    assert str(cls("the text of a worker")) == "the text of a worker"


@pytest.mark.parametrize("how", COPIES)
def test_notes_and_what_a_user_adds_stay(how: str) -> None:
    error = _made("IoError", system_error=2)
    error.__notes__ = ["while the third shard was read"]  # what add_note does, which Python 3.10 lacks
    error.attempt = 3  # type: ignore[attr-defined]

    copied = COPIES[how](error)

    assert_same_error(copied, error)
    assert copied.__notes__ == ["while the third shard was read"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python has no groups before 3.11")
@pytest.mark.parametrize("how", COPIES)
def test_a_group_of_errors_keeps_them(how: str) -> None:
    group_of: Any = vars(builtins).get("ExceptionGroup")
    group = group_of("all of them", [_made("IoError", system_error=2), _made("FormatError", "diffusers")])

    copied = COPIES[how](group)

    for mine, theirs in zip(copied.exceptions, group.exceptions, strict=True):
        assert_same_error(mine, theirs)
    assert len(copied.subgroup(warpload.IoError).exceptions) == 1
    assert len(copied.subgroup(OSError).exceptions) == 2


class UsersError(warpload.FormatError):
    """A class that somebody derived."""


@pytest.mark.parametrize("how", COPIES)
def test_a_class_that_somebody_derived_stays_it(how: str) -> None:
    error = UsersError("theirs")
    error.path = "/a"

    assert_same_error(COPIES[how](error), error)


def test_a_cause_is_told_as_python_tells_it() -> None:
    with pytest.raises(warpload.IoError) as caught:
        raise _made("IoError", system_error=2) from KeyError("inner")

    assert isinstance(caught.value.__cause__, KeyError)
    plain = OSError(2, "x")
    plain.__cause__ = KeyError("inner")
    assert pickle.loads(pickle.dumps(caught.value)).__cause__ is pickle.loads(pickle.dumps(plain)).__cause__ is None


# -- other processes ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["missing", "truncated"])
def bad_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    file = tmp_path / f"{request.param}.safetensors"
    if request.param == "truncated":
        file.write_bytes(good()[:-1])
    return file


def expected_error(file: Path) -> warpload.WarploadError:
    with pytest.raises(warpload.WarploadError) as caught:
        load(file)
    return caught.value


def test_a_process_pool_brings_the_error(bad_file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        error = pool.submit(load, bad_file).exception(timeout=TIMEOUT)

    assert isinstance(error, warpload.WarploadError)
    assert_same_error(error, expected_error(bad_file))


@pytest.mark.parametrize("library", [multiprocessing, torch.multiprocessing], ids=["python", "torch"])
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_multiprocessing_pool_brings_the_error(method: str, library: types.ModuleType, bad_file: Path) -> None:
    with library.get_context(method).Pool(1) as pool, pytest.raises(warpload.WarploadError) as caught:
        pool.apply_async(load, (bad_file,)).get(timeout=TIMEOUT)

    assert_same_error(caught.value, expected_error(bad_file))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_data_loaders_worker_brings_the_class_and_the_sentence(method: str, bad_file: Path) -> None:
    """torch sends no more of an error than its class and its text."""
    expected = expected_error(bad_file)
    items = torch.utils.data.DataLoader(
        FailingDataset(bad_file), num_workers=1, timeout=TIMEOUT, multiprocessing_context=method
    )

    with pytest.raises(type(expected)) as caught:
        next(iter(items))

    assert type(caught.value) is type(expected)
    assert str(expected) in str(caught.value)


# -- what else people send around --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", COPIES)
def test_options_and_reports_can_be_sent(how: str) -> None:
    options = warpload.LoadOptions(threads=3, direct_io="never")
    report = warpload.LoadReport("folder", bytes=7, components={"unet": "native"})
    with report.stage("assemble"), report.stage("build"):
        half_way = COPIES[how](report)

    assert COPIES[how](options) == options
    assert COPIES[how](report) == report
    assert str(COPIES[how](report)) == str(report)
    assert half_way.components == report.components


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("what", ["file", "slice", "checkpoint", "handle", "loader"])
def test_what_holds_files_or_threads_refuses_as_an_open_file_does(what: str, how: str, good_file: Path) -> None:
    opened = warpload.safe_open(good_file, "pt")
    checkpoint = engine.open_checkpoint(good_file)
    things: dict[str, Any] = {
        "file": opened,
        "slice": opened.get_slice("a"),
        "checkpoint": checkpoint,
        "handle": engine.start([engine.request(checkpoint)]),
        "loader": engine.loader(),
    }
    with pytest.raises(TypeError, match="cannot pickle"):
        COPIES[how](safetensors.safe_open(good_file, "pt"))

    with pytest.raises(TypeError, match=f"cannot pickle '{type(things[what]).__name__}' object"):
        COPIES[how](things[what])
