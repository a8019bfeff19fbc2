"""Two loads of one subject, in fresh processes, and what they differ in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warpload.inspecting import foretelling
from warpload.inspecting.looking import is_opened
from warpload.inspecting.subject import Subject, SubjectError, refuse_other_folders
from warpload.measuring.fresh_process import ContenderError, run_process
from warpload.stock import pickles
from warpload.stock.model_files import shards_of
from warpload.verifying import fresh_load
from warpload.verifying.likeness import KINDS, Likeness, differences

# What loads and describes, in a process of its own.
PROGRAM = Path(fresh_load.__file__)

# diffusers writes some settings in the order that a set has, which is another one in every process otherwise.
_ALIKE = {"PYTHONHASHSEED": "0"}

Announce = Callable[[str], Any]


@dataclass(frozen=True)
class Comparison:
    """What came of two loads.

    Attributes:
        counted: how much of each kind was compared.
        differences: a line for everything that is not what stock has.
        components: who loaded each, in the words of ``LoadReport``.
        placed_by_stock: of the native ones, those that stock's own code placed, with the reason.
    """

    counted: dict[str, int]
    differences: tuple[str, ...]
    components: dict[str, str] = field(default_factory=dict)
    placed_by_stock: dict[str, str] = field(default_factory=dict)

    @property
    def is_of_the_core(self) -> bool:
        """Whether the core loaded anything; else two loads by stock were compared."""
        return "native" in self.components.values()


class LoadFailedError(RuntimeError):
    """One of the loads failed, or both; the message has the reasons."""


def compare(
    subject: Subject, *, dtype: str, variant: str | None, limit: float, announce: Announce = lambda _: None
) -> Comparison:
    """Load a subject by stock and by the core, each in a fresh process, and compare all that came of it.

    Args:
        subject: what to load.
        dtype: "float16", "bfloat16" or "float32"; "none" leaves it to the libraries.
        variant: of the files, or None.
        limit: seconds that each load may take.
        announce: is told who loads.

    Raises:
        SubjectError: there is nothing in it that both can load.
        LoadFailedError: a load failed.
    """
    arguments = [*_arguments(subject, variant), "--dtype", dtype]
    results: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for loader in fresh_load.LOADERS:
        announce(loader)
        command = [sys.executable, str(PROGRAM), "--loader", loader, *arguments]
        try:
            results[loader], _ = run_process(command, limit=limit, environment=_ALIKE)
        except ContenderError as error:
            failed[loader] = error.reason
    if failed:
        raise LoadFailedError(_told(failed))
    return judge(results["stock"], results["warpload"])


def judge(stock: dict[str, Any], own: dict[str, Any]) -> Comparison:
    """Compare what the two processes said."""
    expected: Likeness = stock["likeness"]
    lines = differences(expected, own["likeness"])
    counted = {kind: len(expected[kind]) for kind in KINDS}
    return Comparison(counted, tuple(lines), own["components"], own["placed_by_stock"])


def _told(failed: dict[str, str]) -> str:
    if len(failed) == 1:
        ((loader, reason),) = failed.items()
        return f"{loader} cannot load it, though {'stock' if loader == 'warpload' else 'warpload'} can: {reason}"
    if failed["stock"] == failed["warpload"]:
        return f"neither stock nor warpload can load it: {failed['stock']}"
    return f"neither can load it: stock: {failed['stock']}; warpload: {failed['warpload']}"


def _arguments(subject: Subject, variant: str | None) -> list[str]:
    further = [] if variant is None else ["--variant", variant]
    if subject.kind == "pipeline":
        return ["--kind", "pipeline", "--source", subject.source, *further]
    if subject.kind == "model":
        component = foretelling.loadable_model(subject, variant)
        which = ["--library", component.library, "--class", component.class_name]
        return ["--kind", "model", "--source", subject.source, *which, *further]
    refuse_other_folders(subject)
    if subject.path.suffix != ".json" and not is_opened(subject.path):
        raise SubjectError(f"{subject.path}: {pickles.why_not_native(subject.path)}; there is nothing to compare")
    sources = [part for file in sorted(shards_of(subject.path)) for part in ("--source", str(file))]
    return ["--kind", "files", *sources]
