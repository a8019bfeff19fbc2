"""Which files of a folder are to be converted, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from warpload.stock import pickles


class NothingToConvertError(Exception):
    """What the user named cannot be converted; says why, and what to do."""


@dataclass(frozen=True)
class Conversion:
    """One file of pickled weights, or an index of shards.

    Attributes:
        source: the file.
        target: what is written.
    """

    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        root: the folder, or the folder of a single file.
        files: are converted.
        indexes: are written once their shards are: tensors' names stay, the shards' names change.
        others: are copied; none where the result goes beside what is there.
        output: where the result goes.
    """

    root: Path
    files: tuple[Conversion, ...]
    indexes: tuple[Conversion, ...]
    others: tuple[Path, ...]
    output: Path


def make_plan(source: Path, output: Path | None) -> Plan:
    """Find out what is to be done for a file, or a pipeline's or model's folder.

    Args:
        source: what has pickled weights.
        output: the folder or, for a file, the file for the result; by default it goes beside what is there.

    Raises:
        NothingToConvertError: there are no pickled weights, or the place is none to write to.
    """
    if source.is_file():
        return _of_file(source, output)
    if not source.is_dir():
        raise NothingToConvertError(f"there is no {source}")
    if output is None and _is_cache(source):
        raise NothingToConvertError(
            f"{source} is in the Hub's cache, which only the Hub's client is to write: name another folder by --output"
        )
    if output is not None and output.resolve().is_relative_to(source.resolve()):
        raise NothingToConvertError(f"--output is {output}, which is {source} itself or inside of it: leave it out")
    files = [each for each in _files_of(source) if pickles.safetensors_name(each.name) is not None]
    if not files:
        raise NothingToConvertError(f"{source} has no pickled weights such as pytorch_model.bin")
    into = source if output is None else output
    targets = {file: into / file.relative_to(source).with_name(named(file.name)) for file in files}
    return Plan(
        root=source,
        files=tuple(Conversion(file, target) for file, target in targets.items() if file.suffix == ".bin"),
        indexes=tuple(Conversion(file, target) for file, target in targets.items() if file.suffix == ".json"),
        others=() if output is None else tuple(file for file in _files_of(source) if file not in targets),
        output=into,
    )


def named(name: str) -> str:
    """Return what a file of pickled weights is called as safetensors.

    Raises:
        NothingToConvertError: it is no name of one.
    """
    converted = pickles.safetensors_name(name)
    if converted is None:
        raise NothingToConvertError(f"{name!r} is no name of a shard of pickled weights")
    return converted


def _of_file(source: Path, output: Path | None) -> Plan:
    if source.suffix not in pickles.SUFFIXES:
        raise NothingToConvertError(f"{source} is no {', '.join(sorted(pickles.SUFFIXES))}")
    named = pickles.safetensors_name(source.name) or f"{source.stem}.safetensors"
    target = source.with_name(named) if output is None else output
    if target.suffix != ".safetensors":
        raise NothingToConvertError(f"--output is {target}, which does not end in .safetensors")
    if output is None and _is_cache(source.parent):
        raise NothingToConvertError(f"{source} is in the Hub's cache: name another file by --output")
    return Plan(source.parent, (Conversion(source, target),), (), (), target.parent)


def _files_of(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if not entry.name.startswith("."):
                yield from _files_of(entry)
        elif not entry.name.startswith("."):
            yield entry


def _is_cache(folder: Path) -> bool:
    """Tell whether a folder is part of a snapshot in the Hub's cache."""
    parents = folder.resolve().parents
    return any(each.name == "snapshots" and (each.parent / "blobs").is_dir() for each in parents)
