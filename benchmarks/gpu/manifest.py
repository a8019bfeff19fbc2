"""What a kit holds: `manifest.json` with versions, and size and hash of every file; checked where the kit is used."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
# What the prebuilt parts were made from: a kit that is older than the tree measures something else.
_SOURCES = ("CMakeLists.txt", "pyproject.toml", "csrc", "python", "tests/cpp", "tests/fakes", "benchmarks/*.cpp",
            "benchmarks/measuring")  # fmt: skip
_BUILT = (".so", ".pyc")


def make(kit: Path, root: Path, versions: dict[str, Any]) -> dict[str, Any]:
    """Write the manifest of everything in the folder, and return it.

    Args:
        kit: the folder.
        root: of the repository.
        versions: what else the manifest has to say.
    """
    files = sorted(path for path in kit.rglob("*") if path.is_file() and path.name != MANIFEST)
    content = {
        "commit": _git(root, "rev-parse", "HEAD"),
        "changed": bool(_git(root, "status", "--porcelain", "--untracked-files=no")),
        "sources": hash_of_sources(root),
        **versions,
        "bytes": sum(path.stat().st_size for path in files),
        "files": {str(path.relative_to(kit)): _entry(path) for path in files},
    }
    (kit / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return content


def check(kit: Path, root: Path) -> dict[str, Any]:
    """Return what the kit is, what of it is damaged, and whether it was made from this tree.

    Raises:
        FileNotFoundError: there is no manifest.
    """
    file = kit / MANIFEST
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing, so {kit} is no kit; `make gpu-kit` makes one")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    files = content.pop("files")
    damaged = [name for name, entry in files.items() if not (kit / name).is_file() or _entry(kit / name) != entry]
    return {**content, "damaged": damaged, "made_from_this_tree": content.get("sources") == hash_of_sources(root)}


def hash_of_sources(root: Path) -> str:
    """Return one hash of the sources of the package and of the programs."""
    total = hashlib.sha256()
    for pattern in _SOURCES:
        for found in sorted(root.glob(pattern)):
            for path in sorted(found.rglob("*")) if found.is_dir() else [found]:
                if path.is_file() and path.suffix not in _BUILT:
                    total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _git(root: Path, *words: str) -> str:
    try:
        result = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.strip()
