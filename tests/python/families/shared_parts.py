"""Registration of the pipelines that are built from the same parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers

from warpload.stock.diffusers_names import diffusers_names

from .registry import family, unavailable

Parts = Callable[[], dict[str, Any]]


def register(parts: Parts, pipelines: dict[str, str], needs: str | None = None) -> None:
    """Register pipelines of the same parts: `pipelines` has the name of each one's class in diffusers.

    The names are looked up when a pipeline is built, so that importing the families stays fast, and a class that a
    version of diffusers lacks is the matter of its own family alone. `needs` is a package that they need.
    """
    for name, class_name in pipelines.items():
        if class_name in diffusers_names():
            family(name, needs)(builder_of(class_name, parts))
        else:
            unavailable[name] = f"needs a diffusers with {class_name}"


def builder_of(class_name: str, parts: Parts) -> Callable[[], Any]:
    def build() -> Any:
        return getattr(diffusers, class_name)(**parts())

    return build
