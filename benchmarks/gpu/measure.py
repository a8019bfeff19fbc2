"""Runs the contenders: in fresh processes, in turn, with the page cache in the state that each case asks for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warpload.demo import page_cache, system

from . import processes
from .ceilings import page_cache_is_cold
from .checksums import differences
from .device_memory import Sampler
from .loaders import LOADERS, OVERLAID
from .models import Model

KINDS = ("warm", "pipeline", "cold")  # cold last: the files are read anew only once a round
_LONGEST = 240.0  # seconds for one load; a contender that takes longer is left out
_EVICTIONS = 5  # pages that are being written, or were read a moment ago, may stay at first
_REST = 0.2  # seconds between two of them
Log = Callable[[str], None]


@dataclass
class Record:
    """What the measurement of one pipeline has found.

    Attributes:
        runs: every run: kind, loader, round, seconds, bytes on the device, the page cache before and after.
        not_measured: loader, or "loader, kind" -> why there is no figure.
        verified: loader -> tensors whose dtype, shape and bytes were found to be those of the files.
        wrong: loader -> what was not.
        versions: package -> version, of the contenders that ran.
    """

    runs: list[dict[str, Any]] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)
    verified: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        device: "cuda:0" or "cpu".
        runs: rounds at most; every case runs once in each.
        deadline: of time.monotonic(); a case runs where its time is likely to be there.
        overlay: folder of packages for the contenders that need others than the pipelines do.
        log: is told every step.
    """

    device: str
    runs: int
    deadline: float
    overlay: Path | None
    log: Log

    @property
    def left(self) -> float:
        """Seconds to the deadline."""
        return self.deadline - time.monotonic()


@dataclass(frozen=True)
class _Case:
    kind: str
    loader: str
    round: int

    @property
    def checked(self) -> bool:
        """Whether the tensors are compared with the files': in the first case of every contender."""
        return self.round == 0 and self.kind == "warm"


def measure(model: Model, names: Sequence[str], settings: Settings) -> Record:
    """Run as many rounds as there is time for, the first case of each contender before anything else."""
    record = Record()
    expected = _expected_checksums(model, settings, record)
    durations: dict[tuple[str, str], float] = {}
    for number in range(settings.runs):
        for kind in KINDS:
            with _page_cache(model, kind) as prepare:
                for case in _cases(kind, number, names):
                    _run_case(model, case, prepare, expected, durations, settings, record)
    return record


def _expected_checksums(model: Model, settings: Settings, record: Record) -> dict[str, Any] | None:
    """Return what every contender is held against, or None where it cannot be had: figures are then unverified."""
    settings.log(f"{model.name}: checksums of what safetensors and stock diffusers read on the CPU")
    options = ["--model", str(model.folder), "--dtype", model.dtype]
    try:
        return processes.run_contender(options, seconds=min(_LONGEST, max(30.0, settings.left / 2)))
    except processes.ContenderError as error:
        record.not_measured["checksums"] = f"failed: {str(error).strip().rpartition(chr(10))[2]}"
        settings.log(f"no checksums, so nothing is verified: {error}")
        return None


def _cases(kind: str, number: int, names: Sequence[str]) -> list[_Case]:
    """Return the cases of a round; each begins with another contender, so that none always follows the same one."""
    chosen = [name for name in names if kind != "pipeline" or LOADERS[name].pipeline]
    start = number % max(1, len(chosen))
    return [_Case(kind, name, number) for name in [*chosen[start:], *chosen[:start]]]


@contextlib.contextmanager
def _page_cache(model: Model, kind: str) -> Iterator[Callable[[], page_cache.CacheState]]:
    """Give what brings the page cache into the state for one run, and says what it really holds (mincore)."""
    files = model.files
    if kind == "cold":
        yield lambda: _evict(files)
        return
    may_pin = system.total_size(files) <= system.available_memory() // 2
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


def _run_case(
    model: Model,
    case: _Case,
    prepare: Callable[[], page_cache.CacheState],
    expected: dict[str, Any] | None,
    durations: dict[tuple[str, str], float],
    settings: Settings,
    record: Record,
) -> None:
    """Run one case unless the contender cannot run here or its time is up; what is not run is noted."""
    name, key = case.loader, f"{case.loader}, {case.kind}"
    if name in record.not_measured or key in record.not_measured:
        return
    if settings.device == "cpu" and LOADERS[name].needs_cuda:
        record.not_measured[name] = "needs a GPU"
        return
    likely = durations.get((case.kind, name), max(durations.values(), default=0.0))
    if settings.left < likely:
        if case.round == 0:
            record.not_measured[key] = "no time was left"
        return
    begin = time.monotonic()
    before = prepare()
    if reason := _wrong_state(case.kind, before):
        record.not_measured[key] = reason
        return
    try:
        result = _run(model, case, settings, checked=case.checked and expected is not None)
    except processes.ContenderError as error:
        record.not_measured[key] = f"failed: {str(error).strip().rpartition(chr(10))[2]}"
        settings.log(f"{key} failed: {error}")
        return
    durations[case.kind, name] = time.monotonic() - begin
    if "missing" in result:
        record.not_measured[name] = f"not installed: {result['missing']}"
        settings.log(f"{name}: {record.not_measured[name]}")
        return
    _note(model, case, before, result, expected, settings, record)


def _wrong_state(kind: str, state: page_cache.CacheState) -> str | None:
    """Say why a run in this state of the page cache would not measure what it is named."""
    if kind == "cold":
        return None if page_cache_is_cold(state) else f"the files do not leave the page cache: {state}"
    return None if state.is_warm else f"the files do not stay in the page cache: {state}"


def _run(model: Model, case: _Case, settings: Settings, *, checked: bool) -> dict[str, Any]:
    options = ["--loader", case.loader, "--model", str(model.folder), "--dtype", model.dtype]
    options += ["--device", settings.device, "--mode", "whole" if case.kind == "pipeline" else "load"]
    options += ["--cold"] * (case.kind == "cold") + ["--again"] * (case.kind == "warm")
    options += ["--checksums"] * checked
    overlay = settings.overlay if case.loader in OVERLAID else None
    with Sampler(settings.device) as sampler:
        result = processes.run_contender(options, overlay=overlay, seconds=min(_LONGEST, max(30.0, settings.left)))
    if "clock" in result:
        # The process of the case "pipeline" makes its context after the clock begins, which is no memory of the load.
        growth = sampler.growth(*result.pop("clock")) if case.kind != "pipeline" else None
        known = [value for value in (growth, result["allocator_peak_bytes"]) if value is not None]
        result |= {"device_growth_bytes": growth, "peak_device_bytes": max(known, default=None)}
    return result


def _note(
    model: Model,
    case: _Case,
    before: page_cache.CacheState,
    result: dict[str, Any],
    expected: dict[str, Any] | None,
    settings: Settings,
    record: Record,
) -> None:
    name = case.loader
    sums = result.pop("checksums", None)
    for package, version in result.pop("versions").items():
        record.versions[f"{package} ({name})" if name in OVERLAID else package] = version
    after = page_cache.cache_state(model.files)
    run = {"kind": case.kind, "loader": name, "round": case.round, **result}
    record.runs.append({**run, "page_cache": {"before": str(before), "after": str(after)}})
    again = f", again {result['again_seconds']:.3f} s" if "again_seconds" in result else ""
    settings.log(f"{model.name}: {case.kind} ({before}), {name}: {result['seconds']:.3f} s{again}")
    if sums is None or expected is None:
        return
    wrong = differences(expected["pipeline" if LOADERS[name].pipeline else "files"], sums)
    if wrong:
        record.wrong[name] = wrong[:20]
        settings.log(f"{name}: {len(wrong)} tensors are not those of the files; {wrong[0]}")
    else:
        record.verified[name] = len(sums)
