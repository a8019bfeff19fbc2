"""Options of loads: in a block, as an argument, from the environment; what makes no sense is refused and named."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import warpload
from support.pipelines import Saved
from support.processes import run_python, thread_count
from warpload import _core, engine, options

VARIABLES = {
    "WARPLOAD_ARENA": ("always", "arena", "always"),
    "WARPLOAD_PINNED_BYTES": ("12345678", "pinned_bytes", 12345678),
    "WARPLOAD_DEVICE_CASTS": ("device", "device_casts", "device"),
    "WARPLOAD_DIRECT_IO": ("never", "direct_io", "never"),
    "WARPLOAD_POPULATE": ("never", "populate", "never"),
    "WARPLOAD_THREADS": ("3", "threads", 3),
    "WARPLOAD_PREFETCH_SECONDS": ("2.5", "prefetch_seconds", 2.5),
    "WARPLOAD_LAZY_IMPORTS": ("off", "lazy_imports", False),
    "WARPLOAD_IMPORTS_AHEAD": ("off", "imports_ahead", False),
    "WARPLOAD_PROGRESS": ("off", "progress", False),
    "WARPLOAD_TRACE": ("on", "trace", True),
}


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*VARIABLES, "HF_ENABLE_PARALLEL_LOADING", "HF_PARALLEL_LOADING_WORKERS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("arena", "never"),
        ("arena", ""),
        ("device_casts", "gpu"),
        ("direct_io", "sometimes"),
        ("populate", "later"),
        ("pinned_bytes", 0),
        ("pinned_bytes", -1),
        ("pinned_bytes", 1.5),
        ("pinned_bytes", "64"),
        ("threads", -1),
        ("threads", None),
        ("threads", True),
        ("prefetch_seconds", 0),
        ("prefetch_seconds", -1.5),
        ("prefetch_seconds", float("nan")),
        ("prefetch_seconds", "60"),
        ("prefetch_seconds", True),
        ("lazy_imports", 1),
        ("lazy_imports", None),
        ("imports_ahead", 0),
        ("imports_ahead", "on"),
        ("progress", 1),
        ("progress", "on"),
        ("trace", 1),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_and_named(name: str, value: Any) -> None:
    with pytest.raises(warpload.InvalidArgumentError) as caught:
        warpload.LoadOptions(**{name: value})

    assert f"{name} is {value!r}" in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", ["never", "nonsense"])
@pytest.mark.parametrize("variable", ["WARPLOAD_ARENA", "WARPLOAD_DEVICE_CASTS", "WARPLOAD_DIRECT_IO"])
def test_a_variable_that_is_no_choice_is_refused_and_its_value_named(
    variable: str, value: str, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (variable, value) == ("WARPLOAD_DIRECT_IO", "never"):
        value = "No"
    monkeypatch.setenv(variable, value)

    with pytest.raises(warpload.InvalidArgumentError, match=f"'{value}'"):
        warpload.load_file(mixed)


@pytest.mark.parametrize("value", ["many", "0", "-1", "nan"])
def test_a_variable_that_is_no_time_is_refused_and_named(
    value: str, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARPLOAD_PREFETCH_SECONDS", value)

    with pytest.raises(warpload.InvalidArgumentError, match=f"WARPLOAD_PREFETCH_SECONDS is '{value}'"):
        warpload.prefetch(mixed)


@pytest.mark.parametrize(
    "variable", ["WARPLOAD_LAZY_IMPORTS", "WARPLOAD_IMPORTS_AHEAD", "WARPLOAD_PROGRESS", "WARPLOAD_TRACE"]
)
def test_a_variable_that_is_neither_on_nor_off_is_refused_and_its_value_named(
    variable: str, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "perhaps")

    with pytest.raises(warpload.InvalidArgumentError, match=f"{variable} is 'perhaps'"):
        warpload.load_file(mixed)


@pytest.mark.parametrize("value", ["many", "0", "-1", "2.5", "1e9"])
@pytest.mark.parametrize("variable", ["WARPLOAD_PINNED_BYTES", "WARPLOAD_THREADS"])
def test_a_variable_that_is_no_number_is_refused_and_named(
    variable: str, value: str, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(warpload.InvalidArgumentError, match=f"{variable} is '{value}'"):
        warpload.DiffusionPipeline.from_pretrained(saved("ddpm"))


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable_sets_its_option(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, name, value = VARIABLES[variable]
    plain = warpload.LoadOptions()
    monkeypatch.setenv(variable, f" {text} ")

    assert getattr(plain, name) != value
    assert getattr(warpload.LoadOptions(), name) == value
    monkeypatch.setenv(variable, "")
    assert warpload.LoadOptions() == plain


def test_the_own_number_of_threads_comes_before_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_PARALLEL_LOADING_WORKERS", "5")
    assert warpload.LoadOptions().threads == 5
    monkeypatch.setenv("WARPLOAD_THREADS", "2")

    assert warpload.LoadOptions().threads == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WARPLOAD_THREADS", 9999), ("HF_PARALLEL_LOADING_WORKERS", 1000), ("WARPLOAD_THREADS", 10**30), (None, 10**30)],
)
def test_more_threads_than_can_help_are_not_started_and_that_is_said_once(
    variable: str | None, value: int, mixed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    most = max(4 * len(os.sched_getaffinity(0)), 32)
    spy = _Spy(monkeypatch)
    monkeypatch.setattr(engine, "_told", set())
    if variable is not None:
        monkeypatch.setenv(variable, str(value))
    given = None if variable is not None else warpload.LoadOptions(threads=value)
    before = thread_count()

    with caplog.at_level(logging.WARNING, "warpload"):
        for _ in range(3):
            warpload.load_file(mixed, dtype=torch.float64, options=given)

    assert thread_count() - before <= most
    assert [each["threads"] for each in spy.made] == [most]
    (record,) = caplog.records
    asked = f"LoadOptions(threads={value})" if variable is None else f"{variable}={value}"
    assert asked in record.getMessage()
    assert f"{most} are started" in record.getMessage()


def test_threads_up_to_what_can_help_are_started_without_a_word(
    mixed: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    most = _core.Loader.most_threads()
    spy = _Spy(monkeypatch)

    with caplog.at_level(logging.WARNING, "warpload"):
        warpload.load_file(mixed, options=warpload.LoadOptions(threads=most))

    assert [each["threads"] for each in spy.made] == [most]
    assert caplog.records == []


class _Spy:
    """Counts the native loaders that are made, and with which options."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[dict[str, Any]] = []
        spy, original = self, _core.Loader

        class Loader:
            most_threads = staticmethod(original.most_threads)

            def __new__(cls, **arguments: Any) -> _core.Loader:
                spy.made.append(arguments)
                return original(**arguments)

        monkeypatch.setattr(_core, "Loader", Loader)
        monkeypatch.setattr(engine, "_loaders", {})


@pytest.mark.parametrize(
    "variable", [each for each in VARIABLES if VARIABLES[each][1] in warpload.LoadOptions().of_loader()]
)
def test_each_variable_is_read_at_each_load(variable: str, mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, name, value = VARIABLES[variable]
    spy = _Spy(monkeypatch)

    warpload.load_file(mixed)
    monkeypatch.setenv(variable, text)
    warpload.load_file(mixed)
    monkeypatch.delenv(variable)
    warpload.load_file(mixed)  # as the first: its loader is kept

    assert len(spy.made) == 2
    assert spy.made[1] == {**spy.made[0], name: value}


def arena_uses(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    from warpload import devices

    uses, original = [], devices.allocate
    monkeypatch.setattr(devices, "allocate", lambda *given: uses.append(given) or original(*given))
    return uses


def test_the_arena_is_read_at_each_load(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uses = arena_uses(monkeypatch)

    warpload.load_file(mixed)
    assert len(uses) == 0
    monkeypatch.setenv("WARPLOAD_ARENA", "always")
    warpload.load_file(mixed)
    assert len(uses) == 1
    monkeypatch.delenv("WARPLOAD_ARENA")
    warpload.load_file(mixed)
    assert len(uses) == 1


def test_the_options_of_a_block_reach_the_loader(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = _Spy(monkeypatch)
    wanted = {
        "threads": 2,
        "pinned_bytes": 1 << 24,
        "device_casts": "host",
        "direct_io": "always",
        "populate": "never",
    }

    with warpload.LoadOptions(arena="always", **wanted):
        warpload.load_file(mixed, dtype=torch.float64)

    assert spy.made == [wanted]


def test_an_argument_comes_before_the_block(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uses = arena_uses(monkeypatch)

    with warpload.LoadOptions(arena="auto"):
        warpload.load_file(mixed, options=warpload.LoadOptions(arena="always"))
        assert len(uses) == 1
        warpload.load_file(mixed)
    with warpload.LoadOptions(arena="always"):
        warpload.load_file(mixed, options=warpload.LoadOptions(arena="auto"))

    assert len(uses) == 1


def test_blocks_nest_and_end_in_order_even_by_an_error() -> None:
    outer, inner = warpload.LoadOptions(threads=2), warpload.LoadOptions(threads=3)

    with outer as entered:
        assert entered is outer
        assert options.current() is outer
        with contextlib.suppress(RuntimeError), inner:
            assert options.current() is inner
            with outer:
                assert options.current() is outer
            assert options.current() is inner
            raise RuntimeError
        assert options.current() is outer

    assert options.current() == warpload.LoadOptions()


def test_a_block_holds_for_its_thread_alone() -> None:
    seen: list[warpload.LoadOptions] = []

    with warpload.LoadOptions(threads=7):
        thread = threading.Thread(target=lambda: seen.append(options.current()))
        thread.start()
        thread.join()

    if not getattr(sys.flags, "thread_inherit_context", False):
        assert seen[0].threads == 0


def test_options_are_values() -> None:
    assert warpload.LoadOptions(threads=2) == warpload.LoadOptions(threads=2) != warpload.LoadOptions(threads=3)
    with pytest.raises(AttributeError):
        warpload.LoadOptions().threads = 2


def test_options_and_names_do_not_import_torch() -> None:
    run_python(
        """
import sys, warpload
with warpload.LoadOptions(threads=2, arena="always"):
    pass
warpload.release_pinned_memory()
assert "to_device" in dir(warpload)
assert "torch" not in sys.modules
assert callable(warpload.to_device)
assert "torch" in sys.modules
assert "diffusers" not in sys.modules and "transformers" not in sys.modules
"""
    )


def test_a_word_that_no_choice_has_fails_before_torch_is_imported() -> None:
    run_python(
        """
import sys, warpload
try:
    warpload.LoadOptions(direct_io="perhaps")
except warpload.InvalidArgumentError as error:
    assert "perhaps" in str(error) and "never" in str(error)
else:
    raise AssertionError
assert "torch" not in sys.modules
"""
    )
