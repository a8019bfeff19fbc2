"""The families: every module of the package has a table of them, from which the pipelines are built.

A row of a table is a family's name with the class of its pipeline in diffusers and dictionaries of its parts, of which
later ones replace what earlier ones have. A pipeline's arguments that are no components are among its parts.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

import families
from support.parts import Part, Pipeline
from warpload.stock.diffusers_names import diffusers_names

Parts = dict[str, Any]
Table = dict[str, tuple[Any, ...]]

# Families, and modules of them, that cannot be built with what is installed -> why.
unavailable: dict[str, str] = {}

# Of these a class of diffusers or transformers is there, but of no use, without another package.
NEEDED = dict.fromkeys(("longcat-image-edit", "omnigen", "qwen-image-2.1", "qwen-image-2.1-few-steps"), "torchvision")


def families_by_name() -> dict[str, Pipeline]:
    """Return every family that can be built with what is installed."""
    found: dict[str, Pipeline] = {}
    for name, row in _rows().items():
        if (package := NEEDED.get(name)) and importlib.util.find_spec(package) is None:
            unavailable[name] = f"needs {package}"
        elif row[0] not in diffusers_names():
            unavailable[name] = f"needs a diffusers with {row[0]}"
        else:
            found[name] = Pipeline(*row)
    return dict(sorted(found.items()))


def _rows() -> Table:
    rows: Table = {}
    for module in pkgutil.iter_modules(families.__path__):
        try:
            table: Table = getattr(importlib.import_module(f"families.{module.name}"), "FAMILIES", {})
        except (ImportError, RuntimeError) as error:  # a package that its tokenizers or files are made with is missing
            unavailable[module.name] = str(error)
            continue
        if twice := rows.keys() & table.keys():
            raise ValueError(f"two families are called {twice}")
        rows |= table
    return rows


def kinds_of(pipeline: Pipeline) -> frozenset[str]:
    """Return all that can make a difference to how a family's pipeline is loaded.

    These are the classes of its parts, and of parts inside them, the functions that make others, and what else its
    index has: components that are absent, several models in one component, plain values.
    """
    return frozenset(kind for part in pipeline.parts.values() for kind in _kinds(part))


def _kinds(part: Any) -> Iterator[str]:
    if isinstance(part, Part):
        yield part.name
        for value in part.settings.values():
            yield from (kind for kind in _kinds(value) if kind != "a plain value")
    elif isinstance(part, list) and any(isinstance(each, Part) for each in part):
        yield "several in one component"
        for each in part:
            yield from _kinds(each)
    elif isinstance(part, functools.partial):
        yield part.func.__name__
    elif callable(part):
        yield part.__name__
    else:
        yield "nothing" if part is None else "a plain value"


def one_of_each_kind(pipelines: Mapping[str, Pipeline]) -> list[str]:
    """Return names of few families that have every kind of part between them, the same ones each time.

    The family with the most kinds that are still missing is taken until none is missing. Then those go that the later
    ones have made superfluous.
    """
    kinds = {name: kinds_of(pipeline) for name, pipeline in sorted(pipelines.items())}
    every = frozenset().union(*kinds.values())
    chosen: list[str] = []
    while missing := every.difference(*(kinds[name] for name in chosen)):
        chosen.append(max(kinds, key=lambda name: len(kinds[name] & missing)))
    for name in list(chosen):
        if not every.difference(*(kinds[other] for other in chosen if other != name)):
            chosen.remove(name)
    return sorted(chosen)
