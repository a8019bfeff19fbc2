"""Gathers what is to be said of a subject: its components, who loads each, and what their files hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from warpload import dtypes
from warpload.inspecting import foretelling
from warpload.inspecting.findings import Component, File, Findings, Who
from warpload.inspecting.looking import is_opened, look_at, problems_of
from warpload.inspecting.subject import Subject
from warpload.pipelines import completeness
from warpload.pipelines import folder as folders
from warpload.stock import hub, pickles
from warpload.stock.model_files import shards_of

# How the files end that hold weights; indexes list them.
_FILES = tuple(suffix for suffix in completeness.WEIGHT_SUFFIXES if not suffix.endswith(".json"))


def gather(subject: Subject, variant: str | None) -> Findings:
    """Return what is to be said of a subject.

    Args:
        subject: what the user named.
        variant: that a load asks for.
    """
    class_name = ""
    problems: list[str] = []
    if subject.kind == "pipeline":
        class_name, problems, components = _of_pipeline(subject, variant)
    elif subject.kind == "model":
        snapshot = _snapshot_of(subject)
        components = [_component(foretelling.component_of_model(subject.path, variant), subject.root, snapshot)]
    else:
        files = [subject.path] if subject.kind == "file" else _weights_below(subject.path)
        components = [_of_file(file, subject.root) for file in files]
    for each in components:
        found = [f"{each.name}: {each.reason}"] if each.who == "fails" else []
        problems += found or [f"{each.name}: {fault}" for fault in problems_of(each.files)]
    return Findings(
        source=subject.source,
        path=str(subject.path),
        kind=subject.kind,
        class_name=class_name,
        repository=_repository(subject),
        components=tuple(components),
        problems=tuple(dict.fromkeys(problems)),
    )


def _of_pipeline(subject: Subject, variant: str | None) -> tuple[str, list[str], list[Component]]:
    index = folders.read_model_index(subject.path) or {}
    named = index.get("_class_name")
    class_name = str(named[-1] if isinstance(named, list) and named else named or "")
    problems = [] if class_name else [f"{subject.path / folders.MODEL_INDEX} names no pipeline class"]
    if isinstance(named, str) and (fault := foretelling.why_no_class("diffusers", named)):
        problems.append(fault)
    listed = folders.list_components(str(subject.path), index, (), variant)
    snapshot = _snapshot_of(subject)
    return class_name, problems, [_component(each, subject.path, snapshot) for each in listed]


def _snapshot_of(subject: Subject) -> hub.Snapshot | None:
    """Return the snapshot where the Hub is asked for what it lacks: of a path nobody asks."""
    repository = subject.repository
    return repository.snapshot if repository is not None and subject.source == repository.id else None


def _repository(subject: Subject) -> dict[str, Any] | None:
    if subject.repository is None:
        return None
    told = asdict(subject.repository)
    return {name: told[name] for name in ("id", "commit", "complete")}


def _component(component: folders.Component, root: Path, snapshot: hub.Snapshot | None) -> Component:
    foretold = foretelling.foretell(component, snapshot)
    files = [] if foretold.path is None else sorted(shards_of(foretold.path))
    here = _weights_in(component.folder) if component.folder.name == component.name else []
    index = foretold.path if foretold.path is not None and foretold.path.suffix == ".json" else None
    if foretold.who == "stock" and not files:
        files, here = here, []
    return Component(
        name=component.name,
        library=component.library,
        class_name=component.class_name,
        who=foretold.who,
        reason=foretold.reason,
        dtype=foretold.dtype,
        index="" if index is None else os.path.relpath(index, root),
        files=tuple(look_at(file, root) for file in files),
        others=tuple(os.path.relpath(file, root) for file in here if file not in files),
        oddities=foretold.oddities,
    )


def _weights_in(folder: Path) -> list[Path]:
    """Return the files of weights that lie in a component's folder itself."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.name.endswith(_FILES))


def _weights_below(folder: Path) -> list[Path]:
    """Return all files of weights below a folder; of shards with an index the index, which stands for them."""
    found = sorted(file for file in folder.rglob("*") if file.name.endswith(_FILES) and file.is_file())
    indexes = sorted(file for file in folder.rglob("*.safetensors.index*.json") if file.is_file())
    shards = {shard for index in indexes for shard in shards_of(index)}
    return sorted([*indexes, *(file for file in found if file not in shards)])


def _of_file(file: Path, root: Path) -> Component:
    """Return what is to be said of a file, or of an index and its shards, that no configuration describes."""
    name = os.path.relpath(file, root)
    shards = shards_of(file)
    looked = tuple(look_at(each, root) for each in sorted(shards))
    who, reason = _who_of_file(file, looked)
    return Component(
        name=name,
        library="",
        class_name="",
        who=who,
        reason=reason,
        index=name if file.suffix == ".json" else "",
        files=looked,
    )


def _who_of_file(file: Path, looked: tuple[File, ...]) -> tuple[Who, str]:
    if file.suffix == ".json":
        foretold = foretelling.of_index(file)
        return foretold.who, foretold.reason
    (one,) = looked
    if one.problem:
        return "fails", one.problem
    if not is_opened(file):
        return "stock", pickles.why_not_native(file)
    if one.format == "GGUF":
        return "native", "; ".join(_of_gguf(one))
    unheld = sorted({each.dtype for each in one.tensors if dtypes.torch_name(each.dtype) is None})
    return "native", f"torch has no {', '.join(unheld)}: such tensors are refused by name" if unheld else ""


def _of_gguf(file: File) -> Iterator[str]:
    """Say what becomes of a GGUF file's blocks."""
    kinds = {each.dtype for each in file.tensors if dtypes.torch_name(each.dtype) is None}
    numbers = sorted(kinds - set(file.blocks))
    if numbers:
        yield f"{', '.join(numbers)} as bytes, or as numbers of the dtype that load_file is asked for"
    if file.blocks:
        yield f"{', '.join(file.blocks)} as bytes only: load_file with a dtype refuses them"
    if kinds:
        yield "from_single_file with a GGUFQuantizationConfig takes the bytes natively"
