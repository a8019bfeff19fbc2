"""transformers' renames of single keys, a regular expression each: compiled where somebody asks for it, and not before.

While it places tensors transformers makes a rename for each key of a checkpoint, to collect the key's tensors in. The
general one, which finds keys by patterns, is the same class, so that each is compiled; nobody ever searches with it.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import re
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any

from . import seam_check
from .confined import Confined

Function = Callable[..., Any]

_is_plain = re.compile(r"[\w.]+", re.ASCII).fullmatch


def _transform() -> Any:
    return sys.modules["transformers.core_model_loading"].WeightTransform


_constructor = Confined(_transform, "__init__")


@contextlib.contextmanager
def compiled_when_asked(keys: Collection[str]) -> Iterator[None]:
    """Have renames of these keys compiled only where they are searched with, on this thread inside the block.

    Args:
        keys: of a checkpoint, as transformers is given them.
    """
    there = "transformers.core_model_loading" in sys.modules and seam_check.is_whole("repetitions")
    if not there or not _constructor.exists():
        yield
        return
    with _constructor.replaced(_Renames(keys).construct):
        yield


class _Renames:
    """The renames of one checkpoint's keys: copies of one, where the first of them turns out as the library's own.

    Args:
        keys: of the checkpoint.
    """

    def __init__(self, keys: Collection[str]) -> None:
        self._keys = keys
        self._form: dict[str, Callable[[str, str], Any]] | None = None
        self._is_unknown = False

    def construct(self, below: Function, rename: Any, source_patterns: Any, target_patterns: Any) -> None:
        """Replace ``WeightTransform.__init__``."""
        plain = type(source_patterns) is str and type(target_patterns) is str and source_patterns in self._keys
        if not (plain and _is_plain(source_patterns) and _is_plain(target_patterns)) or self._is_unknown:
            below(rename, source_patterns, target_patterns)
        elif self._form is None:
            below(rename, source_patterns, target_patterns)
            form, copy = _form(below, type(rename)), object.__new__(type(rename))
            self._is_unknown = form is None or not _is_same(_fill(copy, form, source_patterns, target_patterns), rename)
            self._form = form
        else:
            _fill(rename, self._form, source_patterns, target_patterns)


def _form(below: Function, cls: Any) -> dict[str, Callable[[str, str], Any]] | None:
    """Return what makes each attribute of a rename of a plain key, or None where one is not known."""
    rename = object.__new__(cls)
    below(rename, "source", "target")
    form: dict[str, Callable[[str, str], Any]] = {}
    for name, value in _settings(rename).items():
        if name == "compiled_sources":
            form[name] = functools.partial(_WhenAsked, below, cls)
        elif value is None or type(value) in (bool, str):
            form[name] = functools.partial(_constant, value)
        elif type(value) is collections.defaultdict and not value:
            form[name] = functools.partial(_container, value.default_factory)
        elif value == ["source"]:
            form[name] = _source
        elif value == ["target"]:
            form[name] = _target
        else:
            return None
    return form


def _constant(value: Any, source: str, target: str) -> Any:
    return value


def _container(make: Any, source: str, target: str) -> Any:
    return collections.defaultdict(make)


def _source(source: str, target: str) -> list[str]:
    return [source]


def _target(source: str, target: str) -> list[str]:
    return [target]


def _fill(rename: Any, form: dict[str, Callable[[str, str], Any]], source: str, target: str) -> Any:
    for name, make in form.items():
        object.__setattr__(rename, name, make(source, target))
    return rename


def _is_same(ours: Any, theirs: Any) -> bool:
    ours, theirs = _settings(ours), _settings(theirs)
    patterns = [each.pop("compiled_sources").pattern for each in (ours, theirs)]
    return len(set(patterns)) == 1 and ours == theirs


def _settings(rename: Any) -> dict[str, Any]:
    """Return all attributes of a rename."""
    slots = [name for cls in type(rename).__mro__ for name in getattr(cls, "__slots__", ())]
    return {name: getattr(rename, name) for name in slots if hasattr(rename, name)} | getattr(rename, "__dict__", {})


class _WhenAsked:
    """A rename's compiled expression, made with the first use."""

    def __init__(self, below: Function, cls: Any, source: str, target: str) -> None:
        self._of = (below, cls, source, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    @functools.cached_property
    def _made(self) -> Any:
        below, cls, source, target = self._of
        rename = object.__new__(cls)
        below(rename, source, target)
        return rename.compiled_sources
