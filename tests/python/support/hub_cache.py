"""The Hub's cache as huggingface_hub lays it out, whole or with holes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from huggingface_hub.utils.sha import git_hash

REPOSITORY = "warpload-tests/tiny"
COMMIT = "0" * 40


def write_cache(pipeline: Path, cache: Path, name: str = REPOSITORY) -> Path:
    """Make a cache that holds a pipeline's folder as a repository: links into blobs; returns the snapshot."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree(pipeline, snapshot)
    (repository / "blobs").mkdir()
    for number, name in enumerate(names_of(snapshot)):
        blob = repository / "blobs" / str(number)
        (snapshot / name).rename(blob)
        (snapshot / name).symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


def names_of(snapshot: Path) -> list[str]:
    """Return the names of all files, as a repository's listing has them."""
    return sorted(str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if not path.is_dir())


def is_large(file: Path) -> bool:
    """Tell whether the Hub keeps a file outside of git."""
    return file.suffix == ".safetensors"


def hash_on_hub(file: Path) -> str:
    """Return the hash by which the Hub, and the name of a blob, know a file."""
    content = file.read_bytes()
    return hashlib.sha256(content).hexdigest() if is_large(file) else git_hash(content)


def name_blobs_by_hash(snapshot: Path) -> None:
    """Give the blobs of a cache the names that huggingface_hub gives them."""
    for name in names_of(snapshot):
        link = snapshot / name
        blob = link.resolve()
        named = blob.with_name(hash_on_hub(link))
        link.unlink()
        link.symlink_to(blob.rename(named))


def write_listing(snapshot: Path, *further: str) -> None:
    """Write what a whole download leaves: the repository's files with their sizes, and some that are not here."""
    sizes = {name: (snapshot / name).stat().st_size for name in names_of(snapshot)} | dict.fromkeys(further, 1)
    entries = {name: {"size": size, "blob_id": "0"} for name, size in sizes.items()}
    trees = snapshot.parents[1] / "trees"
    trees.mkdir(exist_ok=True)
    (trees / f"{snapshot.name}.json").write_text(json.dumps({"format_version": 1, "files": entries}))


def write_known_absent(snapshot: Path, name: str) -> None:
    """Write huggingface_hub's note that it asked for a file and the repository has none."""
    note = snapshot.parents[1] / ".no_exist" / snapshot.name / name
    note.parent.mkdir(parents=True, exist_ok=True)
    note.touch()


def break_file(file: Path, how: str) -> None:
    """Make a hole of a file: ``missing``, ``dangling``, ``empty``, ``a folder`` or ``unfinished``."""
    blob = file.resolve()
    if how == "empty":
        blob.write_bytes(b"")
    elif how == "dangling":
        blob.unlink()
    elif how == "unfinished":
        part = blob.rename(f"{blob}.incomplete")
        file.unlink()
        file.symlink_to(part)
    else:
        file.unlink()
        if how == "a folder":
            file.mkdir()
