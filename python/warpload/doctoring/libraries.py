"""The libraries under warpload: their versions, and whether those are ones that it admits. None is imported."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from pathlib import Path

import warpload
from warpload.doctoring.finding import Finding, Section, section

_ASKED = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "huggingface_hub", "peft", "gguf")
_OPTIONAL = frozenset({"diffusers", "transformers", "accelerate", "peft", "gguf"})


def examine() -> Section:
    """Return what was found of the libraries."""
    own = Finding("warpload", f"{warpload.__version__}, Python {platform.python_version()}")
    return section("libraries", (own, *map(_library, _ASKED)))


def _library(name: str) -> Finding | None:
    version = _version(name)
    if version is None:
        if name in ("peft", "gguf"):
            return None
        if name in _OPTIONAL:
            return Finding(name, "not installed", "note", f"{_without(name)}: `pip install {name}`")
        return Finding(name, "not installed", "bad", f"nothing can be loaded without it: `pip install {name}`")
    asked = _asked(name)
    if asked and not _admits(asked, version):
        return Finding(name, version, "bad", f"warpload asks for {name}{asked}: `pip install -U {name}`")
    return Finding(name, version + (f", {torch_build()}" if name == "torch" else ""))


def _without(name: str) -> str:
    return (
        "`warpload.load_file` works without it, pipelines do not" if name == "diffusers" else "many pipelines need it"
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _asked(name: str) -> str:
    """Return the versions that warpload's own requirements admit, as they are written there."""
    for requirement in importlib.metadata.requires("warpload") or []:
        found = re.match(r"([\w.-]+)\s*([^;\[]*)", requirement)
        if found and found[1].replace("-", "_").lower() == name and "extra ==" not in requirement:
            return found[2].strip()
    return ""


def _admits(asked: str, version: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(asked).contains(version, prereleases=True)


def torch_build() -> str:
    """Return what torch was built for, from a file of its own, or the empty string."""
    place = importlib.metadata.distribution("torch").locate_file("torch/version.py")
    try:
        text = Path(str(place)).read_text(encoding="utf-8")
    except OSError:
        return ""
    cuda = re.search(r"^cuda\b[^=]*=\s*'([^']+)'", text, re.MULTILINE)
    return f"built for CUDA {cuda[1]}" if cuda else "built for the CPU"
