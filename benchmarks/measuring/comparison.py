"""Compares warpload with stock diffusers on one pipeline: timed runs in turn, and every tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from warpload.measuring.digest import differences
from warpload.measuring.runs import Conditions, Request, Run, run_contender

LOADERS = ("stock", "warpload")

# Called before every process with what runs next.
Announce = Callable[[str], None]


@dataclass(frozen=True)
class Comparison:
    """The runs of both loaders in one dtype.

    Attributes:
        dtype: that the pipeline was loaded in.
        runs: all of them, in the order in which they ran.
        differences: one line for every component or tensor that is not what stock loaded.
        tensor_count: number of tensors that were compared.
    """

    dtype: str
    runs: tuple[Run, ...]
    differences: tuple[str, ...]
    tensor_count: int

    def of(self, loader: str, mode: str) -> list[Run]:
        """Return the runs of one loader in one mode."""
        return [run for run in self.runs if run.loader == loader and run.mode == mode]

    @property
    def by_stock(self) -> dict[str, str]:
        """The components that stock loaded in warpload's runs, with the reason."""
        return {name: who for name, who in self._components.items() if who != "native"}

    @property
    def is_of_the_core(self) -> bool:
        """Whether the core loaded anything; else two loads by stock are compared."""
        return not self._components or len(self.by_stock) < len(self._components)

    @property
    def _components(self) -> dict[str, str]:
        return next((run.components for run in self.runs if run.components), {})


def compare(
    conditions: Conditions,
    dtype: str,
    run_count: int,
    *,
    whole_count: int = 1,
    announce: Announce = lambda _: None,
) -> Comparison:
    """Run stock and warpload in turn, each time in a fresh process, and compare what they loaded.

    Args:
        conditions: the pipeline, and the machine's state for every load.
        dtype: that it is loaded in.
        run_count: timed loads of each loader with everything imported beforehand; at least 1.
        whole_count: runs of each loader from process start to ready; at least 1, and the first is hashed.
        announce: is told what runs next.

    Raises:
        ContenderError: a process failed.
    """
    plan = [("load", number) for number in range(run_count)] + [("whole", number) for number in range(whole_count)]
    runs = []
    for mode, number in plan:
        for loader in LOADERS:
            count = whole_count if mode == "whole" else run_count
            announce(f"{dtype}, {mode}, run {number + 1} of {count}: {loader}")
            request = Request(loader, dtype, mode, digest=mode == "whole" and number == 0)
            runs.append(run_contender(request, conditions))
    return judge(dtype, runs)


def judge(dtype: str, runs: Sequence[Run]) -> Comparison:
    """Compare the digests among the runs.

    Raises:
        ValueError: a loader has no run with a digest.
    """
    digests = {run.loader: run.digest for run in runs if run.digest is not None}
    missing = [loader for loader in LOADERS if loader not in digests]
    if missing:
        raise ValueError(f"no run of {' and '.join(missing)} has a digest")
    lines = differences(digests["stock"], digests["warpload"])
    return Comparison(dtype, tuple(runs), tuple(lines), len(digests["stock"].tensors))
