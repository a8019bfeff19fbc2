"""transformers' table of how keys are renamed, by kind of model: made into objects for the kinds that are loaded.

The library builds the whole table with the first model: about a thousand renames, a regular expression each, for some
two hundred kinds of models. The function that builds it is called here with other names for the classes of renames, so
that what comes out are the arguments that each would be made with. Whoever asks for a kind gets renames that are made
from them, as he would get copies of the library's. The library's own table stays as it is: it builds it where anybody
else asks, and is asked itself as soon as it has one.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable
from types import FunctionType
from typing import Any

from . import seam_check

logger = logging.getLogger("warpload")

_MODULE = "transformers.conversion_mapping"


def get_checkpoint_conversion_mapping(stock: Callable[..., Any], model_type: Any) -> Any:
    """Replace the library's function of that name.

    Args:
        stock: the library's.
        model_type: a kind of models, or the name of a class.

    Returns:
        The renames, of which nobody else has any; None where there are none.
    """
    if not seam_check.is_whole("repetitions") or seam_check.read(_MODULE, "_checkpoint_conversion_mapping_cache"):
        return stock(model_type)
    table = _table(seam_check.read(_MODULE, "_build_checkpoint_conversion_mapping"))
    return stock(model_type) if table is None else copy.deepcopy(table.get(model_type))


class _Noted:
    """What a rename is to be made with; a copy of it is a rename.

    Whoever wants to know more of it has it made; copies are of that one then.
    """

    def __init__(self, cls: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._made_with = (cls, arguments, keywords)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if "_made" in vars(self):
            return copy.deepcopy(self._made, memo)
        cls, arguments, keywords = copy.deepcopy(self._made_with, memo)
        return cls(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_made_with":
            object.__setattr__(self, name, value)
        else:
            setattr(self._made, name, value)

    @functools.cached_property
    def _made(self) -> Any:
        cls, arguments, keywords = self._made_with
        return cls(*arguments, **keywords)

    def lists(self) -> list[int]:
        """Return which lists it has: a rename changes those that it is made with."""
        _, arguments, keywords = self._made_with
        return [id(each) for each in (*arguments, *keywords.values()) if isinstance(each, list)]


class _Noting:
    """Stands for a class of renames."""

    def __init__(self, cls: Any, noted: list[_Noted]) -> None:
        self._cls, self._all = cls, noted

    def __call__(self, *arguments: Any, **keywords: Any) -> _Noted:
        self._all.append(_Noted(self._cls, arguments, keywords))
        return self._all[-1]


_UNKNOWN: Any = object()
_tables: dict[Any, dict[str, Any] | None] = {}  # one, of the function that the library has


def _table(build: Any) -> dict[str, Any] | None:
    """Return what the function builds, with what is noted for renames; None where only the library can tell."""
    table: dict[str, Any] | None = _tables.get(build, _UNKNOWN)
    if table is _UNKNOWN:
        table = None
        if isinstance(build, FunctionType) and build.__globals__.get("__name__") == _MODULE:
            try:
                table = _noted(build)
            except Exception as error:  # it asks more of a rename than this one knows of
                logger.debug("transformers builds its whole table of conversions: %s", error)
        _tables.clear()
        _tables[build] = table
    return table


def _noted(build: FunctionType) -> dict[str, Any] | None:
    base = seam_check.read("transformers.core_model_loading", "WeightTransform")
    names = dict(build.__globals__)
    noted: list[_Noted] = []
    for name, value in build.__globals__.items():
        if isinstance(value, type) and issubclass(value, base):
            names[name] = _Noting(value, noted)
    function = FunctionType(build.__code__, names, build.__name__, build.__defaults__, build.__closure__)
    table: dict[str, Any] = function()
    lists = [each for note in noted for each in note.lists()]
    return table if len(lists) == len(set(lists)) else None
