"""What the user named: a pipeline's or a model's folder, a file, or a repository that the Hub's cache has."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from warpload.pipelines.folder import MODEL_INDEX, read_model_index
from warpload.pipelines.snapshot import complete_snapshot
from warpload.stock import hub, pickles
from warpload.stock.model_files import read_json, weight_map_of

Kind = Literal["pipeline", "model", "files", "file"]

# A repository's id, as the Hub allows it.
_ID = re.compile(r"([\w.-]+/)?[\w.-]{1,96}")
_MODULAR_INDEX = "modular_model_index.json"
_SNAPSHOTS = "snapshots"
_REPOSITORY = "models--"
_WEIGHT_PATTERNS = ("*.safetensors", "*.gguf", *sorted(f"*{suffix}" for suffix in pickles.SUFFIXES))


class SubjectError(ValueError):
    """What was named is nothing that can be looked at; the message has the reason and the cure."""


@dataclass(frozen=True)
class Repository:
    """What the Hub's cache has of a repository.

    Attributes:
        id: on the Hub.
        commit: of the snapshot.
        root: the repository's folder in the cache.
        inside: where in the snapshot the subject lies; empty where it is the whole.
        complete: whether a load of it as a pipeline asks the Hub nothing; None where it is no pipeline.
    """

    id: str
    commit: str
    root: Path
    inside: str
    complete: bool | None

    @property
    def snapshot(self) -> hub.Snapshot:
        """The snapshot."""
        return hub.Snapshot(self.root, self.commit)


@dataclass(frozen=True)
class Subject:
    """What is to be looked at.

    Attributes:
        source: as the libraries are to be given it: a path, or a repository's id.
        path: the folder or the file.
        kind: a pipeline's folder, a model's, another folder with weights, or one file.
        repository: what the Hub's cache has of it, where it is from there.
    """

    source: str
    path: Path
    kind: Kind
    repository: Repository | None

    @property
    def root(self) -> Path:
        """The folder that files are named from."""
        return self.path if self.path.is_dir() else self.path.parent


def refuse_other_folders(subject: Subject) -> None:
    """Refuse a folder that no library loads as a whole.

    Raises:
        SubjectError: it has weights, but is neither a pipeline's nor a model's.
    """
    if subject.kind == "files":
        raise SubjectError(f"{subject.path} is neither a pipeline nor a model (name one of its files)")


def find_subject(named: str, variant: str | None = None) -> Subject:
    """Return what a path, or the id of a repository in the Hub's cache, means; nothing is fetched.

    Args:
        named: by the user.
        variant: that is asked for.

    Raises:
        SubjectError: it is neither, or holds no weights.
    """
    path = _path_of(named)
    mode = _mode_of(path)
    if mode is None:
        return _of_repository(named, variant)
    if stat.S_ISDIR(mode):
        return Subject(str(path), path, _kind_of_folder(path), _repository_of(path, None))
    if not stat.S_ISREG(mode):
        raise SubjectError(f"{named} is neither a file nor a folder")
    if path.name in (MODEL_INDEX, "config.json"):
        raise SubjectError(f"{named} is only a part of what it describes (name its folder: {path.parent})")
    if path.suffix == ".json" and weight_map_of(read_json(path)) is None:
        raise SubjectError(f"{named} is no index of shards (name a folder, a file of weights, or an index)")
    return Subject(str(path), path, "file", _repository_of(path, None))


def _path_of(named: str) -> Path:
    if not named:
        raise SubjectError("an empty path names no file or folder (name one, or a Hub id)")
    try:
        return Path(named).expanduser()
    except RuntimeError as error:  # ~nobody
        raise SubjectError(f"{named}: {error}") from error


def _mode_of(path: Path) -> int | None:
    """Return the mode of what a path leads to, or None where there is nothing."""
    try:
        return path.stat().st_mode
    except PermissionError as error:
        raise SubjectError(f"{path}: {error.strerror}") from error
    except (OSError, ValueError):
        if os.path.islink(path):
            raise SubjectError(f"{path} is a link to {os.readlink(path)}, which is not there") from None
        return None


def _of_repository(named: str, variant: str | None) -> Subject:
    if named.startswith((".", "~", os.sep)) or _ID.fullmatch(named) is None:
        raise SubjectError(f"{named}: there is no such file or folder ({_nearest_path(_path_of(named))})")
    found = hub.cached_snapshot(named, {})
    root = hub.cached_repository(named, {})
    if found is None or root is None:
        raise SubjectError(
            f"{named}: there is no such file or folder, and the Hub's cache has no such repository"
            f" ({_nearest_repository(named, root)})"
        )
    complete = complete_snapshot(named, {} if variant is None else {"variant": variant}) is not None
    kind = _kind_of_folder(found.folder)
    repository = Repository(named, found.folder.name, root, "", complete if kind == "pipeline" else None)
    return Subject(named, found.folder, kind, repository)


def _kind_of_folder(folder: Path) -> Kind:
    try:
        if (folder / MODEL_INDEX).is_file():
            if read_model_index(folder) is None:
                raise SubjectError(f"{folder / MODEL_INDEX} is not valid JSON (fetch the file again)")
            return "pipeline"
        if (folder / "config.json").is_file():
            return "model"
        if any(True for pattern in _WEIGHT_PATTERNS for _ in folder.rglob(pattern)):
            return "files"
    except PermissionError as error:
        raise SubjectError(f"{folder}: {error.strerror}") from error
    raise SubjectError(_why_no_weights(folder))


def _why_no_weights(folder: Path) -> str:
    if not any(folder.iterdir()):
        return f"{folder} is empty (name a folder with weights)"
    if (folder / _MODULAR_INDEX).is_file():
        return f"{folder} is a modular pipeline without weights of its own (name the folder of a component)"
    if (folder.parent / MODEL_INDEX).is_file():
        return f"{folder} is a component without weights (name the pipeline's folder: {folder.parent})"
    return f"{folder} holds no weights (name a pipeline's or a model's folder, or a file)"


def _repository_of(path: Path, complete: bool | None) -> Repository | None:
    """Return the repository of what lies in the Hub's cache, or None for what lies elsewhere."""
    parts = path.absolute().parts
    for number in range(len(parts) - 2, 0, -1):
        name = parts[number - 1]
        if parts[number] == _SNAPSHOTS and name.startswith(_REPOSITORY):
            root, commit = Path(*parts[:number]), parts[number + 1]
            inside = "/".join(parts[number + 2 :])
            return Repository(name.removeprefix(_REPOSITORY).replace("--", "/"), commit, root, inside, complete)
    return None


def _nearest_path(path: Path) -> str:
    if not os.path.isdir(path.parent):
        return f"there is no {path.parent} either"
    return _did_you_mean(str(path), _beside(path)) or "check the spelling"


def _nearest_repository(named: str, root: Path | None) -> str:
    try:
        names = [] if root is None else os.listdir(root.parent)
    except OSError:
        names = []
    cached = [name.removeprefix(_REPOSITORY).replace("--", "/") for name in names if name.startswith(_REPOSITORY)]
    nearest = _did_you_mean(named, [*cached, *_beside(Path(named))])
    return nearest or f"check the spelling, or fetch it by `hf download {named}`"


def _beside(path: Path) -> list[str]:
    """Return what lies where a path should, spelled as the path is."""
    try:
        return [str(path.parent / name) for name in os.listdir(path.parent)]
    except (OSError, ValueError):
        return []


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1, 0.7)
    return f"did you mean {near[0]}?" if near else ""
