"""What a benchmark found: every run, every problem, and the figures that follow; one JSON format for all of it.

Imports only the standard library.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from warpload.measuring.contenders import CONTENDERS, FLOOR, OWN
from warpload.measuring.runs import Conversion, Run, Spread

SCHEMA = 1

FILES, PIPELINE, START, MEMORY, GROWTH = "files", "pipeline", "start", "memory", "growth"
SCENARIOS: dict[str, str] = {
    FILES: "files to tensors on the CPU, all imported",
    PIPELINE: "from_pretrained of the whole pipeline, all imported",
    START: "start of the process to the ready pipeline, imports included",
    MEMORY: "most memory beyond the page cache while loading, first use included",
    GROWTH: "how the load of files, and of pipelines, grows",
}

# A run's figures: until the result is there, reading one byte in every page of it, both; processor time until the
# result is there, of all threads; memory.
READY, FIRST_USE, USED, PROCESSOR, BYTES = "ready", "first_use", "used", "processor", "bytes"


@dataclass(frozen=True)
class Axis:
    """What grows in the scenario GROWTH.

    Attributes:
        name: of the axis.
        word: for one step of the amount.
        unit: of the slope.
        scale: from seconds a step to the unit.
    """

    name: str
    word: str
    unit: str
    scale: float


AXES: dict[str, Axis] = {
    axis.name: axis
    for axis in (
        Axis("bytes", "GB", "ms a GB", 1e3),
        Axis("tensors", "tensors", "us a tensor", 1e6),
        Axis("shards", "shards", "ms a shard", 1e3),
        Axis("components", "components", "ms a component", 1e3),
    )
}


@dataclass(frozen=True)
class Record:
    """A run, and what it belongs to.

    Attributes:
        scenario: one of SCENARIOS. Of runs for MEMORY the times do not count, as memory was watched.
        run: what was measured; the dtype is that of the result.
        number: of its round, from 0.
        load_average: processes that wanted a core in the minute before; much above 0 spoils the figures.
        kind: whether tensors of files were made, or a pipeline.
        axis: what grows, for GROWTH.
        amount: of it.
    """

    scenario: str
    run: Run
    number: int
    load_average: float
    kind: str
    axis: str = ""
    amount: float = 0.0

    def figure(self, name: str) -> float:
        """Return one figure: seconds, or bytes."""
        if name == BYTES:
            return float(self.run.anonymous_bytes or 0)
        seconds = self.run.seconds
        if name == PROCESSOR:
            return seconds.get("load_user", 0.0) + seconds.get("load_system", 0.0)
        ready, first_use = seconds["total"], seconds["first_read"]
        return {READY: ready, FIRST_USE: first_use, USED: ready + first_use}[name]


@dataclass(frozen=True)
class Problem:
    """Why a contender has no figure.

    Attributes:
        scenario: in which; of runs that more than one share, the first.
        contender: who.
        dtype: of the result.
        kind: "not installed", "failed", "wrong" (its tensors are not what they must be), "unchecked" (there was nothing
            to compare them with) or "left out".
        message: the contender's own, or the differences.
        cure: what to do.
    """

    scenario: str
    contender: str
    dtype: str
    kind: str
    message: str
    cure: str = ""


@dataclass(frozen=True)
class Slope:
    """A straight line through the medians of an axis, by least squares.

    Attributes:
        value: in the axis's unit.
        at_zero: seconds that the line has for an amount of zero.
        at_most: the median for the largest amount, in seconds.
    """

    value: float
    at_zero: float
    at_most: float


@dataclass
class Results:
    """All that was found.

    Attributes:
        about: what the JSON file says of machine, versions, model and command.
        cold: the state of the page cache.
        contenders: who took part, in the table's order.
        records: every run, in order.
        problems: who has no figure and why.
        conversions: what making own formats took, by contender.
        compared: tensors that were compared with the files' or with stock's, by scenario and contender.
    """

    about: dict[str, Any]
    cold: bool
    contenders: tuple[str, ...]
    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    conversions: dict[str, Conversion] = field(default_factory=dict)
    compared: dict[str, int] = field(default_factory=dict)

    def note(self, problem: Problem) -> None:
        """Add a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def groups(self) -> list[tuple[str, str, str]]:
        """Return every (scenario, kind, dtype) with figures, without GROWTH; in the order of the scenarios."""
        found = {(record.scenario, record.kind, record.run.dtype) for record in self.records}
        order = list(SCENARIOS)
        return sorted(
            (group for group in found if group[0] != GROWTH), key=lambda group: (order.index(group[0]), *group)
        )

    def spread(self, group: tuple[str, str, str], contender: str, figure: str) -> Spread | None:
        """Return a figure's spread over the rounds, or None where there is no run."""
        values = [
            record.figure(figure)
            for record in self.records
            if (record.scenario, record.kind, record.run.dtype, record.run.loader) == (*group, contender)
        ]
        return Spread.of(values) if values else None

    def ranking(self, group: tuple[str, str, str]) -> list[tuple[str, Spread]]:
        """Return who took part in a group, the best first; the floor is nobody's rival and not in it."""
        figure = ranked_figure(group[0])
        spreads = ((name, self.spread(group, name, figure)) for name in self.contenders if name != FLOOR)
        return sorted(((name, spread) for name, spread in spreads if spread), key=lambda item: item[1].median)

    def lines(self) -> list[tuple[str, str]]:
        """Return every (axis, dtype) of GROWTH that has runs."""
        found = {(record.axis, record.run.dtype) for record in self.records if record.scenario == GROWTH}
        return sorted(found, key=lambda line: (list(AXES).index(line[0]), line[1]))

    def points(self, axis: str, dtype: str, contender: str, figure: str) -> list[tuple[float, float]]:
        """Return (amount, median seconds) along an axis."""
        values: dict[float, list[float]] = {}
        for record in self.records:
            if (record.axis, record.run.dtype, record.run.loader) == (axis, dtype, contender):
                values.setdefault(record.amount, []).append(record.figure(figure))
        return [(amount, statistics.median(values[amount])) for amount in sorted(values)]

    def slope(self, axis: str, dtype: str, contender: str, figure: str) -> Slope | None:
        """Return the slope along an axis, or None with fewer than two points."""
        points = self.points(axis, dtype, contender, figure)
        if len(points) < 2:
            return None
        line = statistics.linear_regression(*zip(*points, strict=True))
        return Slope(line.slope * AXES[axis].scale, line.intercept, points[-1][1])

    def slopes(self, axis: str, dtype: str, figure: str) -> list[tuple[str, Slope]]:
        """Return every contender's slope along an axis, first who takes least for the largest amount.

        A flat line is no merit by itself: it may lie high.
        """
        found = ((name, self.slope(axis, dtype, name, figure)) for name in self.contenders)
        return sorted(((name, slope) for name, slope in found if slope), key=lambda item: item[1].at_most)

    @property
    def own_failed(self) -> bool:
        """Whether warpload failed, or loaded other bits than it must."""
        return any(problem.contender == OWN and problem.kind in ("failed", "wrong") for problem in self.problems)


def ranked_figure(scenario: str) -> str:
    """Return the figure that a scenario's order goes by."""
    return BYTES if scenario == MEMORY else USED


def as_json(results: Results) -> dict[str, Any]:
    """Return everything that a reader needs to judge the figures, and every run."""
    return {
        "schema": SCHEMA,
        **results.about,
        "page_cache": "cold" if results.cold else "warm",
        "contenders": [_contender(results, name) for name in results.contenders],
        "scenarios": {
            name: text for name, text in SCENARIOS.items() if any(r.scenario == name for r in results.records)
        },
        "summary": [_summary(results, group) for group in results.groups()],
        "growth": [_growth(results, *line) for line in results.lines()],
        "problems": [asdict(problem) for problem in results.problems],
        "compared_tensors": results.compared,
        "runs": [_run(record) for record in results.records],
    }


def _contender(results: Results, name: str) -> dict[str, Any]:
    contender = CONTENDERS[name]
    conversion = results.conversions.get(name)
    return {
        "name": name,
        "what": contender.what,
        "settings": contender.settings(cold=results.cold),
        "own_format": contender.suffix or None,
        "conversion": asdict(conversion) if conversion else None,
        "versions": next((r.run.versions for r in results.records if r.run.loader == name and r.run.versions), {}),
    }


def _summary(results: Results, group: tuple[str, str, str]) -> dict[str, Any]:
    scenario, kind, dtype = group
    figures = (BYTES,) if scenario == MEMORY else (READY, FIRST_USE, USED)
    ranking = [name for name, _ in results.ranking(group)]
    spreads: dict[str, dict[str, Any]] = {}
    for name in results.contenders:
        found = {figure: results.spread(group, name, figure) for figure in figures}
        if any(found.values()):
            spreads[name] = {figure: asdict(spread) for figure, spread in found.items() if spread}
    return {
        "scenario": scenario,
        "kind": kind,
        "dtype": dtype,
        "ranked_by": ranked_figure(scenario),
        "ranking": ranking,
        "warpload_is_first": ranking[:1] == [OWN],
        "figures": spreads,
    }


def _growth(results: Results, axis: str, dtype: str) -> dict[str, Any]:
    return {
        "axis": axis,
        "dtype": dtype,
        "unit": AXES[axis].unit,
        "slopes": {
            figure: {name: asdict(slope) for name, slope in results.slopes(axis, dtype, figure)}
            for figure in (READY, USED, PROCESSOR)
        },
        "ranking": [name for name, _ in results.slopes(axis, dtype, USED)],
        "points": {name: points for name in results.contenders if (points := results.points(axis, dtype, name, USED))},
    }


def _run(record: Record) -> dict[str, Any]:
    run = asdict(record.run)
    for name in ("digest", "versions"):
        del run[name]
    fields = {"scenario": record.scenario, "kind": record.kind, "contender": run.pop("loader"), **run}
    if record.axis:
        fields.update(axis=record.axis, amount=record.amount)
    return {**fields, "round": record.number, "load_average": record.load_average}


def first_places(results: Results) -> tuple[Sequence[str], Sequence[str]]:
    """Return where warpload is first, and where it is not; in words, one for each group and each axis."""
    first: list[str] = []
    behind: list[str] = []
    for group in results.groups():
        ranking = [name for name, _ in results.ranking(group)]
        if OWN in ranking and len(ranking) > 1:
            label = f"{group[0]} ({group[1]}, {group[2]})" if group[0] == MEMORY else f"{group[0]} ({group[2]})"
            (first if ranking[0] == OWN else behind).append(label if ranking[0] == OWN else f"{label}: {ranking[0]}")
    for axis, dtype in results.lines():
        names = [name for name, _ in results.slopes(axis, dtype, USED)]
        if OWN in names and len(names) > 1:
            label = f"growth, {axis} ({dtype})"
            (first if names[0] == OWN else behind).append(label if names[0] == OWN else f"{label}: {names[0]}")
    return first, behind
