"""Whether files are what the Hub has: each is hashed and compared with what is known of it.

What is known, best first:

    the Hub itself               the SHA-256 of large files, git's hash of the others; asked unless it is offline
    trees/COMMIT.json            the same, as the Hub listed it when a whole snapshot was fetched
    blobs/HASH                   the name of the file that the snapshot's link leads to: the same hashes
    .cache/huggingface/download  the same, beside a folder that was fetched with `local_dir`
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warpload.inspecting.subject import Repository, Subject
from warpload.stock import hub
from warpload.stock.model_files import read_json, shards_of

_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")
_CHUNK = 1 << 20
_LOCAL = Path(".cache", "huggingface", "download")


class NoHashesError(ValueError):
    """Nothing is known of the files' hashes; the message has the reason and the cure."""


@dataclass(frozen=True)
class Checked:
    """What came of the comparison.

    Attributes:
        known_from: where the hashes are from, in words.
        equal: names of the files that are the Hub's.
        different: names of those that are not, each with what was expected and found.
        unknown: names of those of which no hash is known.
    """

    known_from: str
    equal: tuple[str, ...]
    different: dict[str, str]
    unknown: tuple[str, ...]


def check(subject: Subject, advance: Callable[[int], Any] = lambda _: None) -> Checked:
    """Hash the subject's files and compare.

    Args:
        subject: from the Hub's cache, or fetched from the Hub into a folder.
        advance: told of bytes that are done, by several threads.

    Raises:
        NoHashesError: nothing is known of any of the files.
        OSError: a file cannot be read.
    """
    files = files_of(subject)
    known, known_from = _known(subject, files)
    if not any(name in known for name in files):
        raise NoHashesError(
            f"{subject.source}: no hash of its files is known, as they are neither in the Hub's cache nor in a folder"
            " that huggingface_hub fetched (name the repository's id)"
        )
    judged = [name for name in files if name in known]
    with ThreadPoolExecutor() as executor:
        hashes = executor.map(lambda name: _hash(files[name], known[name], advance), judged)
        found = dict(zip(judged, hashes, strict=True))
    return Checked(
        known_from=known_from,
        equal=tuple(name for name in judged if found[name] == known[name]),
        different={
            name: f"the Hub has {known[name]}, and here is {found[name]}"
            for name in judged
            if found[name] != known[name]
        },
        unknown=tuple(name for name in files if name not in known),
    )


def files_of(subject: Subject) -> dict[str, Path]:
    """Return the files of a subject by their names in it; hidden ones are the machine's own."""
    if subject.path.is_file():
        files = {subject.path, *shards_of(subject.path)}  # of an index, what it lists
        return {os.path.relpath(file, subject.root): file for file in sorted(files) if file.is_file()}
    found = {}
    for folder, subfolders, names in os.walk(subject.path):
        subfolders[:] = sorted(each for each in subfolders if not each.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                found[os.path.relpath(path, subject.path).replace(os.sep, "/")] = path
    return found


def _known(subject: Subject, files: Mapping[str, Path]) -> tuple[dict[str, str], str]:
    """Return the hashes by the files' names, and where they are from."""
    repository = subject.repository
    if repository is None:
        return dict(_beside_local_files(subject.root, files)), "huggingface_hub's notes beside the files"
    inside = repository.inside if subject.path.is_dir() else os.path.dirname(repository.inside)
    listed, why_not = _asked(repository)
    for source, those in (("the Hub", listed), ("the Hub's listing in the cache", _listed(repository))):
        found = {name: those[hub.inside(inside, name)] for name in files if hub.inside(inside, name) in those}
        if found:
            return found, source + (why_not if source != "the Hub" else "")
    return dict(_blob_names(files)), f"the names of the cache's files{why_not}"


def _asked(repository: Repository) -> tuple[dict[str, str], str]:
    """Return what the Hub says of a commit's files; where it cannot be asked, nothing, and why."""
    if hub.is_offline():
        return {}, ""
    try:
        from huggingface_hub import HfApi

        entries = list(HfApi().list_repo_tree(repository.id, recursive=True, revision=repository.commit))
    except Exception as error:  # of the network, of the Hub, of the id: the cache knows the hashes too
        return {}, f" (the Hub could not be asked: {type(error).__name__})"
    files = [each for each in entries if hasattr(each, "blob_id")]
    return {each.path: each.blob_id if each.lfs is None else each.lfs.sha256 for each in files}, ""


def _listed(repository: Repository) -> dict[str, str]:
    """Return what the cache's copy of the Hub's listing says, in the format that we know."""
    if repository.snapshot.listing is None:
        return {}
    kept = read_json(repository.root / "trees" / f"{repository.commit}.json") or {}
    listed = {name: each.get("lfs_sha256") or each.get("blob_id") for name, each in kept["files"].items()}
    return {name: each for name, each in listed.items() if isinstance(each, str) and _HASH.fullmatch(each)}


def _blob_names(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    for name, path in files.items():
        blob = path.resolve().name
        if path.is_symlink() and _HASH.fullmatch(blob):
            yield name, blob


def _beside_local_files(root: Path, files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Yield what huggingface_hub noted where it fetched files into a folder: commit, hash, time."""
    base = next((each for each in (root, *root.absolute().parents) if (each / _LOCAL).is_dir()), None)
    if base is None:
        return
    for name, path in files.items():
        note = base / _LOCAL / f"{os.path.relpath(path.absolute(), base.absolute())}.metadata"
        try:
            lines = note.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            continue
        if len(lines) > 1 and _HASH.fullmatch(lines[1].strip()):
            yield name, lines[1].strip()


def _hash(file: Path, expected: str, advance: Callable[[int], Any]) -> str:
    """Return a file's hash of the kind of the expected one: SHA-256, or git's, which counts the size first."""
    digest: Any = hashlib.sha256()
    if len(expected) == 40:
        digest = hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return str(digest.hexdigest())
