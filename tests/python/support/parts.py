"""Parts of pipelines as data: a class by its name and its settings. Called, a part is built."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import diffusers
import torch
import transformers


class Part:
    """A model, scheduler, tokenizer or processor that is not built yet.

    Its class is looked up when it is built: a version of the libraries that lacks one can build the others.

    Attributes:
        kind: the name of the class in diffusers or transformers, or its path where neither shows it.
        settings: what the class is constructed with; a model of transformers by its usual configuration, unless that is
            among them as ``config``. Parts among them are built first.
        finish: what is done to the built object, or None.
    """

    def __init__(self, kind: str, /, **settings: Any) -> None:
        self.kind = kind
        self.settings = settings
        self.finish: Callable[[Any], object] | None = None

    @property
    def name(self) -> str:
        """The class's name without its path."""
        return self.kind.rpartition(".")[2]

    @property
    def type(self) -> type:
        """The class itself; AttributeError where the installed libraries lack it."""
        path, _, name = self.kind.rpartition(".")
        if path:
            return getattr(import_module(path), name)
        return getattr(diffusers if hasattr(diffusers, name) else transformers, name)

    def but(self, **changes: Any) -> Part:
        """Return the part with other settings; a dictionary among them changes the dictionary that is there."""
        return self.of(self.kind, **changes)

    def of(self, kind: str, /, **changes: Any) -> Part:
        """Return a part of another class that takes the same settings, with changes."""
        made = Part(kind, **_changed(self.settings, changes))
        made.finish = self.finish
        return made

    def then(self, finish: Callable[[Any], object]) -> Part:
        """Return the part with something to be done to the object once it is built."""
        made = self.but()
        made.finish = finish
        return made

    def __call__(self, seed: int | str | None = None, **changes: Any) -> Any:
        """Build it, with changes. A model's values are drawn by the seed, its class's name where none is given."""
        settings = {name: built(value, f"{seed}.{name}") for name, value in _changed(self.settings, changes).items()}
        kind = self.type
        if issubclass(kind, transformers.PreTrainedModel) and "config" not in settings:
            made = kind(kind.config_class(**settings))
        else:
            made = kind(**settings)
        if isinstance(made, torch.nn.Module):
            randomised(made, self.name if seed is None else seed)
        if self.finish is not None:
            self.finish(made)
        return made


class Pipeline:
    """A pipeline that is not built yet; called, it is built, with changes.

    Attributes:
        kind: the name of its class in diffusers.
        parts: what it is constructed with, by name; of several dictionaries later ones replace what earlier ones have.
    """

    def __init__(self, kind: str, *parts: Mapping[str, Any]) -> None:
        self.kind = kind
        self.parts: dict[str, Any] = {}
        for each in parts:
            self.parts |= each

    def __call__(self, **changes: Any) -> Any:
        """Build it: each part with its name as the seed, so that two of one class differ."""
        parts = {name: built(part, name) for name, part in {**self.parts, **changes}.items()}
        return getattr(diffusers, self.kind)(**parts)


def randomised(model: torch.nn.Module, seed: int | str) -> torch.nn.Module:
    """Give each parameter values of its own, so that no two tensors can be taken for each other."""
    generator = torch.Generator().manual_seed(seed if isinstance(seed, int) else zlib.crc32(seed.encode()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.eval()


def built(value: Any, name: str) -> Any:
    """Return a component for what a table has in its place.

    A part is built, with its name as the seed, and so is each of a list of parts. Functions, such as those that make
    tokenizers, are called. What is left is a plain value.
    """
    if isinstance(value, Part):
        return value(seed=name)
    if isinstance(value, list) and any(isinstance(each, Part) for each in value):
        return [built(each, f"{name}.{number}") for number, each in enumerate(value)]
    return value() if callable(value) else value


def _changed(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: {**settings[name], **changes[name]} for name in changes if isinstance(settings.get(name), dict)}
    return {**settings, **changes, **both}
