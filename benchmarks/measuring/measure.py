"""Runs the scenarios: contenders in turn, each load in a fresh process, on a machine in a known state.

First every contender loads once without a clock: its tensors are hashed, and its memory is watched. Who fails there,
or is not installed, is reported and left out. Then come the timed rounds, each beginning with another contender. Own
formats come after those that read the same files, as both sets of files together may not fit into memory.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from warpload.measuring import weights
from warpload.measuring.contenders import CONTENDERS, FLOOR, Contender, package_folder
from warpload.measuring.contenders import FILES as OF_FILES
from warpload.measuring.contenders import PIPELINE as OF_PIPELINE
from warpload.measuring.digest import Digest, differences
from warpload.measuring.fresh_process import ContenderError, NotInstalledError
from warpload.measuring.results import FILES, GROWTH, MEMORY, PIPELINE, START, Problem, Record, Results
from warpload.measuring.runs import Conditions, Request, Run, convert, run_contender

# Whose tensors the others' are compared with, by what is loaded.
REFERENCE = {OF_FILES: "safetensors", OF_PIPELINE: "stock"}

# What must be free beside the files and the result for a load to be worth timing.
_SPARE_MEMORY_BYTES = 10**9
_CODES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
_SHOWN_DIFFERENCES = 5

# Called before every process with what runs next.
Announce = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """One amount along one axis of GROWTH.

    Attributes:
        axis: see results.AXES.
        amount: in the axis's steps.
        folder: with the files.
        kind: whether files or a pipeline are loaded.
        pipeline_class: to load with.
    """

    axis: str
    amount: float
    folder: Path
    kind: str
    pipeline_class: str = "auto"


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        model: folder of the pipeline; None where only GROWTH is measured.
        own_dtype: that most bytes of its files have.
        contenders: names, in the table's order.
        scenarios: names.
        dtypes: of the results, by torch's names.
        runs: rounds.
        cold: the state of the page cache.
        packages: folder that has folders of contenders' own packages.
        floor: the program warpload_floor.
        work: folder for files in own formats, which are deleted.
        points: of GROWTH.
        limit: seconds after which a load is ended.
    """

    model: Path | None
    own_dtype: str
    contenders: tuple[str, ...]
    scenarios: tuple[str, ...]
    dtypes: tuple[str, ...]
    runs: int
    cold: bool
    packages: Path | None
    floor: Path | None
    work: Path
    points: tuple[Point, ...] = ()
    limit: float = 1800.0

    def of_kind(self, kind: str, *, own_format: bool = False) -> list[Contender]:
        """Return the contenders that make one kind of result, those with own formats or the others."""
        chosen = (CONTENDERS[name] for name in self.contenders)
        return [it for it in chosen if kind in it.kinds and bool(it.suffix) == own_format]


def measure(plan: Plan, results: Results, announce: Announce = lambda _: None) -> None:
    """Run everything; what is found goes into the results as it is found."""
    shared = _Shared(plan, results, announce)
    if plan.model is not None and {PIPELINE, START, MEMORY} & set(plan.scenarios):
        timed = [(name, mode) for name, mode in ((PIPELINE, "load"), (START, "whole")) if name in plan.scenarios]
        with Conditions(plan.model, cold=plan.cold) as conditions:
            _Group(shared, conditions, OF_PIPELINE, plan.of_kind(OF_PIPELINE), timed).measure()
    if plan.model is not None and {FILES, MEMORY} & set(plan.scenarios):
        _measure_files(shared, plan.model)
    for point in plan.points if GROWTH in plan.scenarios else ():
        contenders = [it for it in plan.of_kind(point.kind) if it.name != FLOOR]
        timed = [(GROWTH, "files" if point.kind == OF_FILES else "load")]
        with Conditions(point.folder, cold=plan.cold) as conditions:
            _Group(shared, conditions, point.kind, contenders, timed, point=point).measure()


@dataclass(frozen=True)
class _Shared:
    plan: Plan
    results: Results
    announce: Announce


def _measure_files(shared: _Shared, model: Path) -> None:
    plan, results = shared.plan, shared.results
    files = [file for found in weights.component_files(model).values() for file in found]
    if not files:
        for contender in (*plan.of_kind(OF_FILES), *plan.of_kind(OF_FILES, own_format=True)):
            results.note(Problem(FILES, contender.name, "", "left out", f"{model} has no safetensors files"))
        return
    timed = [(FILES, "files")] if FILES in plan.scenarios else []
    digests: dict[str, Digest | None] = {}
    with Conditions(model, cold=plan.cold, files=files) as conditions:
        group = _Group(shared, conditions, OF_FILES, plan.of_kind(OF_FILES), timed, digests)
        group.measure()
        for dtype in plan.dtypes if plan.of_kind(OF_FILES, own_format=True) else ():
            group.expected(dtype)  # of these files, while they are at hand
    for contender in plan.of_kind(OF_FILES, own_format=True):
        target = plan.work / contender.name
        shared.announce(f"{contender.name}: writing its own format")
        try:
            packages = package_folder(plan.packages, contender.name)
            results.conversions[contender.name] = convert(contender.name, model, target, packages, limit=plan.limit)
            own = sorted(target.rglob(f"*{contender.suffix}"))
            with Conditions(target, cold=plan.cold, files=own, like=files) as conditions:
                _Group(shared, conditions, OF_FILES, [contender], timed, digests).measure()
        except ContenderError as error:
            results.note(_problem(FILES, contender, "", error))
        finally:
            shutil.rmtree(target, ignore_errors=True)


@dataclass
class _Group:
    """Contenders that load the same files, in turn.

    Attributes:
        shared: what all groups have.
        conditions: the files, and the machine's state for every load.
        kind: whether tensors of files are made, or pipelines.
        contenders: who takes part.
        timed: scenarios with their modes.
        digests: what the tensors must be, by dtype; None where stock cannot tell.
        point: along an axis of GROWTH.
        loaded: the loads without a clock, by contender and dtype; None where one failed.
    """

    shared: _Shared
    conditions: Conditions
    kind: str
    contenders: Sequence[Contender]
    timed: Sequence[tuple[str, str]]
    digests: dict[str, Digest | None] = field(default_factory=dict)
    point: Point | None = None
    loaded: dict[tuple[str, str], Record | None] = field(default_factory=dict)

    def measure(self) -> None:
        """Check everybody, then time who can; one dtype after the other."""
        for dtype in self.shared.plan.dtypes:
            needed = self.conditions.expected_memory(dtype) + _SPARE_MEMORY_BYTES
            if needed > self.conditions.room():
                words = f"needs {needed / 1e9:.1f} GB of memory beside the files"
                for contender in self.contenders:
                    self.shared.results.note(Problem(self._scenario, contender.name, dtype, "left out", words))
                continue
            able = [it for it in self.contenders if self._check(it, dtype)]
            for scenario, mode in self.timed:
                self._rounds(scenario, mode, dtype, able)

    def expected(self, dtype: str) -> Digest | None:
        """Return what stock's tensors are; None, and a problem noted, where it cannot load."""
        if dtype not in self.digests:
            reference = CONTENDERS[REFERENCE[self.kind]]
            record = self._first_load(reference, dtype)
            self.digests[dtype] = record.run.digest if record else None
        return self.digests[dtype]

    @property
    def _scenario(self) -> str:
        return self.timed[0][0] if self.timed else MEMORY

    def _check(self, contender: Contender, dtype: str) -> bool:
        """Load once without a clock; tell whether there is something to be timed."""
        results = self.shared.results
        if contender.name == FLOOR:
            return self._floor_is_here(dtype)
        expected = self.expected(dtype)
        record = self._first_load(contender, dtype)
        if record is None or not self._is_right(contender, dtype, expected, record.run.digest):
            return False
        if MEMORY in self.shared.plan.scenarios and self.point is None:
            results.records.append(record)
        return True

    def _first_load(self, contender: Contender, dtype: str) -> Record | None:
        """Load once, hashed and watched; None, and a problem noted, where that fails. The reference is loaded once."""
        key = (contender.name, dtype)
        if key not in self.loaded:
            self._say(dtype, contender, "checked and watched")
            mode = "files" if self.kind == OF_FILES else "load"
            try:
                request = self._request(contender, dtype, mode, checked=True)
                self.loaded[key] = self._record(MEMORY, request, 0)
            except ContenderError as error:
                self.loaded[key] = None
                self.shared.results.note(_problem(self._scenario, contender, dtype, error))
        return self.loaded[key]

    def _is_right(self, contender: Contender, dtype: str, expected: Digest | None, actual: Digest | None) -> bool:
        """Compare a contender's tensors with stock's; they count unless they differ."""
        results = self.shared.results
        assert actual is not None
        if expected is None:
            words = f"there is nothing to compare its tensors with, as {REFERENCE[self.kind]} failed"
            results.note(Problem(self._scenario, contender.name, dtype, "unchecked", words))
            return True
        lines = differences(expected, actual)
        results.compared[f"{self._scenario} {dtype} {contender.name}"] = len(expected.tensors)
        if lines:
            words = f"{len(lines)} differences: {'; '.join(lines[:_SHOWN_DIFFERENCES])}"
            results.note(Problem(self._scenario, contender.name, dtype, "wrong", words))
        return not lines

    def _rounds(self, scenario: str, mode: str, dtype: str, able: list[Contender]) -> None:
        for number in range(self.shared.plan.runs):
            shift = number % max(1, len(able))
            for contender in able[shift:] + able[:shift]:
                self._say(dtype, contender, f"{scenario}, round {number + 1} of {self.shared.plan.runs}")
                try:
                    record = self._record(scenario, self._request(contender, dtype, mode), number)
                except ContenderError as error:
                    able = [it for it in able if it is not contender]
                    self.shared.results.note(_problem(scenario, contender, dtype, error))
                else:
                    self.shared.results.records.append(record)

    def _say(self, dtype: str, contender: Contender, words: str) -> None:
        where = f"growth, {self.point.axis} {self.point.amount:g}" if self.point else self.kind
        self.shared.announce(f"{where}, {dtype}: {contender.name}, {words}")

    def _request(self, contender: Contender, dtype: str, mode: str, *, checked: bool = False) -> Request:
        plan = self.shared.plan
        return Request(
            contender.name,
            dtype,
            mode,
            digest=checked,
            pipeline_class=self.point.pipeline_class if self.point else "auto",
            packages=package_folder(plan.packages, contender.name),
            memory=checked,
            limit=plan.limit,
        )

    def _record(self, scenario: str, request: Request, number: int) -> Record:
        load_average = os.getloadavg()[0]
        run = self._floor(request.dtype) if request.loader == FLOOR else run_contender(request, self.conditions)
        axis, amount = (self.point.axis, self.point.amount) if self.point else ("", 0.0)
        return Record(scenario, run, number, load_average, self.kind, axis, amount)

    def _floor_is_here(self, dtype: str) -> bool:
        plan = self.shared.plan
        if plan.floor is None or not plan.floor.is_file():
            words, cure = f"there is no program {plan.floor or 'warpload_floor'}", CONTENDERS[FLOOR].cure
            self.shared.results.note(Problem(self._scenario, FLOOR, dtype, "not installed", words, cure))
            return False
        if plan.own_dtype not in _CODES or dtype not in _CODES:
            words = f"it casts from and to {', '.join(_CODES)} only"
            self.shared.results.note(Problem(self._scenario, FLOOR, dtype, "left out", words))
            return False
        return self._scenario != MEMORY

    def _floor(self, dtype: str) -> Run:
        before = self.conditions.prepare(dtype)
        plan = self.shared.plan
        codes = (_CODES[plan.own_dtype], _CODES[dtype])
        threads = str(len(os.sched_getaffinity(0)))
        command = [str(plan.floor), str(self.conditions.model), *codes, threads, "--no-touch"]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode != 0:
            raise ContenderError(f"{shlex.join(command)}\n{process.stderr.strip()}")
        seconds = float(json.loads(process.stdout)["seconds"])
        cache = (str(before), str(self.conditions.cache_state()))
        return Run(FLOOR, "files", dtype, {"load": seconds, "total": seconds, "first_read": 0.0}, 0, cache)


def _problem(scenario: str, contender: Contender, dtype: str, error: ContenderError) -> Problem:
    if isinstance(error, NotInstalledError):
        return Problem(scenario, contender.name, dtype, "not installed", error.reason, contender.cure)
    return Problem(scenario, contender.name, dtype, "failed", error.reason)
