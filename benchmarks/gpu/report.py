"""Turns runs into the figures of the results: medians, shares of the limits, bars, and a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

# The limits, as the journal names them.
HOST_TO_DEVICE = "host to device, pinned"
PAGE_CACHE = "page cache to memory"
DISK = "disk, O_DIRECT"

WARM_SHARE = 0.90
COLD_SHARE = 0.95
_SPARE_DEVICE_BYTES = 64 << 20
_OURS = ("warpload", "warpload-pipeline")


@dataclass(frozen=True)
class Trial:
    """One setting of a limit's measurement: what it was, every figure in GB/s, and their median."""

    setting: str
    gbps: list[float]

    @property
    def median(self) -> float:
        """The middle of the figures."""
        return statistics.median(self.gbps)


@dataclass(frozen=True)
class Ceiling:
    """A limit: the median of the best setting, and every trial."""

    name: str
    gbps: float
    setting: str
    trials: list[Trial]


def ceilings_of(results: Sequence[dict[str, Any]]) -> list[Ceiling]:
    """Put the single figures of a journal together, by limit and setting."""
    found: dict[str, dict[str, list[float]]] = {}
    for result in results:
        found.setdefault(result["name"], {}).setdefault(result["setting"], []).append(result["gbps"])
    limits = []
    for name, settings in found.items():
        trials = [Trial(setting, figures) for setting, figures in settings.items()]
        best = max(trials, key=lambda trial: trial.median)
        limits.append(Ceiling(name, best.median, best.setting, trials))
    return limits


@dataclass(frozen=True)
class Limits:
    """In GB/s; None where one could not be measured or a run was ended before, and so are shares of it."""

    h2d_ceiling_gbps: float | None
    page_cache_gbps: float | None
    disk_ceiling_gbps: float | None

    @staticmethod
    def of_ceilings(found: Sequence[Ceiling]) -> Limits:
        """Take each limit from what was measured."""
        rates = {ceiling.name: ceiling.gbps for ceiling in found}
        return Limits(*(rates.get(name) for name in (HOST_TO_DEVICE, PAGE_CACHE, DISK)))

    def of(self, kind: str) -> float | None:
        """Return what bounds a load in that state of the page cache: cold, the slower of disk and copy."""
        needed = (self.h2d_ceiling_gbps,) if kind == "warm" else (self.h2d_ceiling_gbps, self.disk_ceiling_gbps)
        known = [rate for rate in needed if rate is not None]
        return min(known) if len(known) == len(needed) else None


@dataclass(frozen=True)
class Bar:
    """A requirement and whether the figures meet it; `passed` is None where a figure is missing."""

    name: str
    wanted: float
    measured: float | None

    @property
    def passed(self) -> bool | None:
        """For shares of a limit, more is better; for memory (named so), less is."""
        if self.measured is None:
            return None
        return self.measured <= self.wanted if self.name.startswith("memory") else self.measured >= self.wanted

    def to_json(self) -> dict[str, Any]:
        """Return it as the results have it."""
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        """Return one line for a person."""
        verdict = {None: "not measured", True: "pass", False: "FAIL"}[self.passed]
        found = "" if self.measured is None else f": {self.measured:.4g}"
        return f"{verdict:12}  {self.name} (bar {self.wanted:.4g}){found}"


def figures(nbytes: int, limits: Limits, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return "warm", "cold" and "pipeline" of one model: loader -> its figures, medians of all runs."""
    result: dict[str, Any] = {}
    for kind in ("warm", "cold"):
        result[kind] = {
            name: _loader_figures(nbytes, limits.of(kind), _of(runs, kind, name)) for name in _loaders(runs, kind)
        }
    result["pipeline"] = {name: _median(_of(runs, "pipeline", name), "seconds") for name in _loaders(runs, "pipeline")}
    return result


def _loaders(runs: Sequence[dict[str, Any]], kind: str) -> list[str]:
    """Return the loaders with such runs, in the order of the first."""
    return list(dict.fromkeys(run["loader"] for run in runs if run["kind"] == kind))


def _of(runs: Sequence[dict[str, Any]], kind: str, loader: str) -> list[dict[str, Any]]:
    return [run for run in runs if run["kind"] == kind and run["loader"] == loader]


def _median(runs: Sequence[dict[str, Any]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _loader_figures(nbytes: int, limit: float | None, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found = _rates(nbytes, limit, _median(runs, "seconds"))
    found["runs"] = len(runs)
    peaks = [run["peak_device_bytes"] for run in runs if run["peak_device_bytes"] is not None]
    found["peak_device_bytes"] = max(peaks, default=None)
    if "again_seconds" in runs[0]:
        found["again"] = _rates(nbytes, limit, _median(runs, "again_seconds"))
    return found


def _rates(nbytes: int, limit: float | None, seconds: float) -> dict[str, Any]:
    gbps = nbytes / seconds / 1e9
    return {"seconds": seconds, "gbps": gbps, "share_of_ceiling": None if limit is None else gbps / limit}


def bars(nbytes: int, found: dict[str, Any]) -> list[Bar]:
    """Hold warpload's figures against what is asked of it on a GPU, the ones of whole pipelines too."""
    result = []
    for name in _OURS:
        warm, cold = found["warm"].get(name, {}), found["cold"].get(name, {})
        shares = (
            ("warm, first load of the process", WARM_SHARE, warm),
            ("warm, second load of the process", WARM_SHARE, warm.get("again", {})),
            ("cold", COLD_SHARE, cold),
        )
        for kind, share, part in shares:
            result.append(Bar(f"share of the ceiling, {kind}, {name}", share, part.get("share_of_ceiling")))
        peaks = [part["peak_device_bytes"] for part in (warm, cold) if part.get("peak_device_bytes") is not None]
        allowed = nbytes * 1.01 + _SPARE_DEVICE_BYTES
        result.append(Bar(f"memory of the device at its peak, bytes, {name}", allowed, max(peaks, default=None)))
    return result


def table(found: dict[str, Any], limits: Limits) -> Table:
    """Return one model's figures for a person."""
    model = found["model"]
    title = f"{model['name']}, {model['bytes'] / 1e9:.1f} GB; limits: {_limits(limits)}"
    result = Table(title=title, title_justify="left")
    result.add_column("loader")
    for head in ("warm s", "GB/s", "share", "again s", "share", "cold s", "GB/s", "share", "process to ready s"):
        result.add_column(head, justify="right")
    for name in dict.fromkeys([*found["warm"], *found["cold"], *found["pipeline"]]):
        warm, cold = found["warm"].get(name, {}), found["cold"].get(name, {})
        again = warm.get("again", {})
        result.add_row(
            name,
            *_cells(warm),
            _number(again.get("seconds"), 3),
            _share(again),
            *_cells(cold),
            _number(found["pipeline"].get(name), 2),
        )
    return result


def _limits(limits: Limits) -> str:
    named = (
        ("host to device", limits.h2d_ceiling_gbps),
        ("page cache", limits.page_cache_gbps),
        ("disk", limits.disk_ceiling_gbps),
    )
    return ", ".join(f"{name} {_number(value, 1)}" for name, value in named) + " GB/s"


def _cells(found: dict[str, Any]) -> tuple[str, str, str]:
    return _number(found.get("seconds"), 3), _number(found.get("gbps"), 1), _share(found)


def _share(found: dict[str, Any]) -> str:
    share = found.get("share_of_ceiling")
    return "-" if share is None else f"{share:.0%}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
