"""The public names of the installed diffusers, read from its source: bytes move while it is not imported yet."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
from pathlib import Path

from . import seam_check
from .refusal import NotNativeError

# What a facade stands for has its weights or its settings loaded by one of these parts of diffusers.
_LOADING_PARTS = frozenset({"models", "modular_pipelines", "pipelines", "schedulers"})
_NOT_LOADED = ("Blocks", "Config", "Manager", "Mixin", "Output", "Param", "Spec")

# diffusers lists its names in a dictionary from parts to names, to which it adds by `extend` and `append`. Parsing the
# source properly takes 60 ms, this 2 ms; a test compares the outcome with what the imported module has.
_TABLE = re.compile(r"^_import_structure = \{(.*?)^\}", re.DOTALL | re.MULTILINE)
_TABLE_ENTRY = re.compile(r'"([\w.]+)":\s*\[(.*?)\]', re.DOTALL)
_ADDITION = re.compile(r'_import_structure\["([\w.]+)"\](?:\.extend\(|\.append\(| = )(.*?)[\])]\n', re.DOTALL)
_NAME = re.compile(r'"([A-Za-z]\w*)"')


@functools.cache
def diffusers_names() -> dict[str, str]:
    """Return the public names of diffusers, each with the part of it that has it: ``"pipelines"``, ``"models"``..."""
    specification = importlib.util.find_spec("diffusers")
    if specification is None or specification.origin is None:
        return {}
    names = _in_source(Path(specification.origin).read_text(encoding="utf-8"))
    return names if names.get("DiffusionPipeline") == "pipelines" else _asked()


def _in_source(source: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for table in _TABLE.findall(source):
        for part, entries in _TABLE_ENTRY.findall(table):
            names.update(dict.fromkeys(_NAME.findall(entries), part))
    for part, entries in _ADDITION.findall(source):
        names.update(dict.fromkeys(_NAME.findall(entries), part))
    return names


def _asked() -> dict[str, str]:
    """Return the names where the source is not as we know it: as diffusers itself lists them, once it is imported."""
    diffusers = importlib.import_module("diffusers")
    try:
        structure: dict[str, list[str]] = seam_check.read("diffusers", "_import_structure")
    except NotNativeError:  # which class loads something is for its name to say
        return {name: "pipelines" for name in dir(diffusers) if not name.startswith("_")}
    return {name: part for part, entries in structure.items() for name in entries}


def is_loaded(name: str) -> bool:
    """Tell whether a public name of diffusers is a class that loads something."""
    part = diffusers_names().get(name, "")
    return part in _LOADING_PARTS and name[0].isupper() and not name.endswith(_NOT_LOADED)


def is_pipeline(name: str) -> bool:
    """Tell whether a public name of diffusers is a pipeline, or picks one."""
    return diffusers_names().get(name) == "pipelines" and (
        name.endswith("Pipeline") or name.startswith("AutoPipelineFor")
    )
