"""Runs the contenders: in fresh processes, in turn, with the page cache in the state that each case asks for.

Every result goes to the journal at the moment it is there; `report` makes figures of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warpload.measuring import machine, page_cache, weights
from warpload.measuring.fresh_process import ContenderError, OutOfTimeError

from . import ceilings
from .checksums import differences
from .contender_process import run_contender
from .device_memory import Sampler
from .journal import Journal
from .loaders import EXTRA, LOADERS, OVERLAID
from .models import Model
from .report import DISK

CASES = ("warm", "pipeline", "cold")
_LONGEST = 240.0  # seconds for one load; a contender that takes longer is left out
_SHORTEST = 5.0  # seconds that a contender gets at least
_EVICTIONS = 5  # pages that are being written, or were read a moment ago, may stay at first
_REST = 0.2  # seconds between two of them


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        journal: gets every result.
        device: "cuda:0" or "cpu".
        deadline: of time.monotonic(); a load runs where its time is likely to be there.
        overlay: folder of packages for the contenders that need others than the pipelines do.
        disk_program: measures the disk beside each cold round.
    """

    journal: Journal
    device: str
    deadline: float
    overlay: Path | None
    disk_program: Path

    @property
    def left(self) -> float:
        """Seconds to the deadline."""
        return self.deadline - time.monotonic()


@dataclass(frozen=True)
class _Load:
    case: str
    loader: str
    round: int

    @property
    def key(self) -> str:
        return f"{self.loader}, {self.case}"


@dataclass
class _Measurement:
    """One model's measurement under way.

    Attributes:
        model: what is loaded.
        settings: how.
        expected: checksums that every contender is held against; None where nothing is compared.
        skipped: loader, or "loader, case" -> why it is not run again.
        compared: loaders whose tensors were compared.
        durations: what a load took with its process.
        disk_gbps: what the disk gave beside this round.
    """

    model: Model
    settings: Settings
    expected: dict[str, Any] | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    compared: set[str] = field(default_factory=set)
    durations: dict[tuple[str, str], float] = field(default_factory=dict)
    disk_gbps: float | None = None

    def note(self, kind: str, **content: Any) -> None:
        self.settings.journal.add(kind, model=self.model.key, **content)

    def skip(self, what: str, reason: str) -> None:
        self.skipped[what] = reason
        self.note("not_measured", what=what, reason=reason)
        print(f"{self.model.key}: {what}: {reason}", flush=True)


def measure(
    model: Model, cases: Sequence[str], names: Sequence[str], rounds: int, settings: Settings, *, checked: bool
) -> None:
    """Run as many rounds as there is time for, then the extra contenders once.

    Args:
        model: what is loaded.
        cases: some of CASES.
        names: the contenders.
        rounds: at most.
        settings: how.
        checked: whether the tensors of each contender's first load are compared with the files'.
    """
    run = _Measurement(model, settings)
    run.note("model", **model.to_json())
    run.expected = _expected_checksums(run) if checked else None
    for case, number, chosen in _rounds(cases, names, rounds):
        if case == "cold":
            _measure_disk(run, number)
        with _page_cache(model, case) as prepare:
            for name in chosen:
                _run_if_there_is_time(run, _Load(case, name, number), prepare)


def _rounds(cases: Sequence[str], names: Sequence[str], rounds: int) -> Iterator[tuple[str, int, list[str]]]:
    """Yield case, round and contenders: the first round of every case, then the others, and the extra ones at the end.

    A case in which only pipelines can be measured comes in all its further rounds after the others' rounds. Each round
    begins with another contender, so that none always follows the same one.
    """
    main = [name for name in names if name not in EXTRA] or list(names)
    extra = [name for name in names if name not in main]
    plan = [(case, 0) for case in cases]
    plan += [(case, number) for case in cases if case != "pipeline" for number in range(1, rounds)]
    plan += [(case, number) for case in cases if case == "pipeline" for number in range(1, rounds)]
    for case, number in plan:
        fitting = _fitting(case, main)
        start = number % max(1, len(fitting))
        yield case, number, [*fitting[start:], *fitting[:start]]
    for case in cases if extra else ():
        yield case, 0, _fitting(case, extra)


def _fitting(case: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if case != "pipeline" or LOADERS[name].pipeline]


def _expected_checksums(run: _Measurement) -> dict[str, Any] | None:
    """Return what every contender is held against, or None where it cannot be had: figures are then unverified."""
    print(f"{run.model.key}: checksums of what safetensors and stock diffusers read on the CPU", flush=True)
    options = ["--model", str(run.model.folder), "--dtype", run.model.dtype]
    try:
        return run_contender(options, seconds=max(_SHORTEST, run.settings.left / 2))
    except ContenderError as error:
        run.skip("checksums", f"failed: {error.reason}")
        return None


def _measure_disk(run: _Measurement, number: int) -> None:
    """Measure the disk right before a cold round, on the same files: a rented disk has good and bad minutes.

    All settings in the first round; then the best one again.
    """
    settings = ceilings.DISK_SETTINGS if number == 0 else [ceilings.best_disk_setting(run.settings.journal, run.model)]
    for threads, block in settings:
        if run.settings.left < _SHORTEST:
            return
        try:
            gbps = ceilings.disk(run.settings.disk_program, run.model.files, threads, block)
        except ceilings.CeilingError as error:
            run.skip(f"{DISK}, {threads} threads", str(error))
            return
        run.disk_gbps = gbps if number else max(gbps, run.disk_gbps or 0.0)
        setting = ceilings.disk_setting(threads, block)
        run.note("ceiling", name=DISK, setting=setting, threads=threads, block=block, round=number, gbps=gbps)
        print(f"{run.model.key}: {DISK}, {setting}: {gbps:.2f} GB/s", flush=True)


@contextlib.contextmanager
def _page_cache(model: Model, case: str) -> Iterator[Callable[[], page_cache.CacheState]]:
    """Give what brings the page cache into the state for one load, and says what it really holds (mincore)."""
    files = model.files
    if case == "cold":
        yield lambda: _evict(files)
        return
    may_pin = weights.total_size(files) <= machine.available_memory() // 2
    with page_cache.PinnedFiles(files if may_pin else []) as pins:
        page_cache.warm(files)
        kept = may_pin and pins.pinned
        yield lambda: page_cache.cache_state(files) if kept else page_cache.warm(files)


def _evict(files: Sequence[Path]) -> page_cache.CacheState:
    for _ in range(_EVICTIONS):
        state = page_cache.evict(files)
        if state.resident_pages == 0:
            break
        time.sleep(_REST)
    return state


def _run_if_there_is_time(run: _Measurement, load: _Load, prepare: Callable[[], page_cache.CacheState]) -> None:
    """Run one load unless the contender cannot run here or its time is up; what is not run is noted."""
    if load.loader in run.skipped or load.key in run.skipped:
        return
    likely = run.durations.get((load.case, load.loader), max(run.durations.values(), default=0.0))
    if run.settings.left < max(likely, _SHORTEST):
        if load.round == 0:
            run.skip(load.key, "no time was left")
        return
    begin = time.monotonic()
    before = prepare()
    if reason := _wrong_state(load.case, before):
        run.skip(load.key, reason)
        return
    checked = run.expected is not None and load.loader not in run.compared
    try:
        result = _run(run, load, checked=checked)
    except OutOfTimeError as error:
        run.skip(load.key, f"no time was left: {error.reason}")
        return
    except ContenderError as error:
        run.skip(load.key, f"failed: {error.reason}")
        print(error, flush=True)
        return
    run.durations[load.case, load.loader] = time.monotonic() - begin
    if "missing" in result:
        run.skip(load.loader, f"not installed: {result['missing']}")
        return
    if "needs_gpu" in result:
        run.skip(load.loader, "needs a GPU")
        _note_versions(run, load.loader, result)
        return
    _note_load(run, load, before, result)


def _wrong_state(case: str, state: page_cache.CacheState) -> str | None:
    """Say why a load in this state of the page cache would not measure what it is named."""
    if case == "cold":
        return None if ceilings.page_cache_is_cold(state) else f"the files do not leave the page cache: {state}"
    return None if state.is_warm else f"the files do not stay in the page cache: {state}"


def _run(run: _Measurement, load: _Load, *, checked: bool) -> dict[str, Any]:
    settings = run.settings
    options = ["--loader", load.loader, "--model", str(run.model.folder), "--dtype", run.model.dtype]
    options += ["--device", settings.device, "--mode", "whole" if load.case == "pipeline" else "load"]
    options += ["--cold"] * (load.case == "cold") + ["--again"] * (load.case == "warm")
    options += ["--checksums"] * checked
    overlay = settings.overlay if load.loader in OVERLAID else None
    seconds = min(_LONGEST, max(_SHORTEST, settings.left))
    with Sampler(settings.device) as sampler:
        result = run_contender(options, overlay=overlay, seconds=seconds)
    if "clock" in result:
        # The process of the case "pipeline" makes its context after the clock begins, which is no memory of the load.
        growth = sampler.growth(*result.pop("clock")) if load.case != "pipeline" else None
        known = [value for value in (growth, result["allocator_peak_bytes"]) if value is not None]
        result |= {"device_growth_bytes": growth, "peak_device_bytes": max(known, default=None)}
    return result


def _note_versions(run: _Measurement, name: str, result: dict[str, Any]) -> None:
    """Note the versions of a contender's packages; those from a folder of its own are named so."""
    versions = result.pop("versions")
    own = f" ({name})" if name in OVERLAID else ""
    run.note("versions", loader=name, versions={package + own: version for package, version in versions.items()})


def _note_load(run: _Measurement, load: _Load, before: page_cache.CacheState, result: dict[str, Any]) -> None:
    name, sums = load.loader, result.pop("checksums", None)
    _note_versions(run, name, result)
    beside = {"disk_gbps": run.disk_gbps} if load.case == "cold" else {}
    states = {"before": str(before), "after": str(page_cache.cache_state(run.model.files))}
    run.note("load", case=load.case, loader=name, round=load.round, **result, **beside, page_cache=states)
    again = f", again {result['again_seconds']:.3f} s" if "again_seconds" in result else ""
    print(f"{run.model.key}: {load.case} ({before}), {name}: {result['seconds']:.3f} s{again}", flush=True)
    if sums is not None and run.expected is not None:
        run.compared.add(name)
        wrong = differences(run.expected["pipeline" if LOADERS[name].pipeline else "files"], sums)
        run.note("verified", loader=name, tensors=len(sums), wrong=wrong[:20])
        if wrong:
            print(f"{name}: {len(wrong)} tensors are not those of the files; {wrong[0]}", flush=True)
