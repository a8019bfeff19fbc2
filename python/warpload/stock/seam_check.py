"""Whether the seams are as the table knows them, asked once, when a library is first used.

Where a symbol is missing, or lacks a parameter that we give it or a word that we rely on, the features that need it are
turned off and stock does that part: a warning names the symbol and the library's version, and every report says so.

    library imported --> check() --> whole: replaced where the table says so; read() returns it
                                 `-> broken: warned of once; require(feature) raises, is_whole(feature) is false
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CellType, CodeType, ModuleType
from typing import Any

from .refusal import NotNativeError
from .seams import FEATURES, MODULES, SEAMS, Seam

logger = logging.getLogger("warpload")

_checked: set[Seam] = set()
_broken: dict[Seam, str] = {}


def check(module: ModuleType) -> None:
    """Check the seams of a module that has been imported; each is checked once, and warned of once.

    With the first module of a library its other ones are known to be there, or not.
    """
    library = module.__name__.partition(".")[0]
    for seam in SEAMS:
        if seam in _checked or seam.library != library:
            continue
        if seam.module == module.__name__:
            fault = _fault(seam, module)
        elif seam.optional or _is_there(seam.module):
            continue
        else:
            fault = "is missing"
        _checked.add(seam)
        if fault:
            _break(seam, fault)


@functools.cache
def _is_there(module: str) -> bool:
    """Tell whether a library that is imported has a module, without importing it."""
    if module in sys.modules:
        return True
    library, *parts = module.split(".")
    folders = getattr(sys.modules[library], "__path__", [])
    places = [Path(folder, *parts) for folder in folders]
    return any(place.is_dir() or place.with_suffix(".py").is_file() for place in places)


def _fault(seam: Seam, module: ModuleType) -> str:
    owners = seam.owners(module)
    if not owners:
        return "" if seam.optional else "is missing"
    for owner in owners:
        function = getattr(owner, seam.attribute)
        if seam.parameters and (missing := _lacks(function, seam.parameters)):
            return f"takes no {', '.join(missing)}"
        if unknown := set(seam.mentions) - words(function):
            return f"knows no {', '.join(sorted(each.strip() for each in unknown))}"
    return ""


def _bare(function: Any) -> Any:
    return inspect.unwrap(getattr(function, "__func__", function))


def _code_of(function: Any) -> CodeType | None:
    code: CodeType | None = getattr(_bare(function), "__code__", None)
    return code


def words(function: Any) -> set[str]:
    """Return what a function's code names: attributes, functions, and strings; a wrapper's, and what it wraps.

    torch.compile leaves one around ``torch.nn.Module.__init__`` that says nothing of what it wraps but in its closure.
    """
    found: set[str] = set()
    waiting, seen = [function], set()
    while waiting:
        code = _code_of(each := waiting.pop())
        if code is None or code in seen:
            continue
        seen.add(code)
        found.update(_words(code))
        waiting += [held for held in map(_content, _bare(each).__closure__ or ()) if callable(held)]
    return found


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _lacks(function: Any, names: Iterable[str]) -> list[str]:
    """Return those of the names that a function does not take, be it by name or out of its ``**kwargs``."""
    code = _code_of(function)
    if code is None:
        try:
            return sorted(set(names) - inspect.signature(function).parameters.keys())
        except (TypeError, ValueError):  # it does not say
            return sorted(names)
    if code.co_flags & inspect.CO_VARARGS and code.co_flags & inspect.CO_VARKEYWORDS:
        return []  # it passes on whatever it is given, as other people's wrappers do
    taken = set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    if code.co_flags & inspect.CO_VARKEYWORDS:
        taken |= {each for each in code.co_consts if isinstance(each, str)}
    return sorted(set(names) - taken)


def _words(code: CodeType) -> list[str]:
    found: list[str] = []
    constants: list[Any] = [code]
    while constants:
        value = constants.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, tuple):  # the keys of a dictionary
            constants += value
        elif isinstance(value, CodeType):
            found += value.co_names
            constants += value.co_consts
    return found


def _break(seam: Seam, fault: str) -> None:
    reason = f"{seam} {fault} in {seam.library} {version(seam.library)}"
    _broken[seam] = reason
    lost = "; ".join(FEATURES[feature] for feature in seam.features)
    logger.warning("%s: %s (a version of warpload that knows this one would be faster)", reason, lost)


def version(library: str) -> str:
    """Return the version of a library, as its distribution has it."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"


def is_broken(seam: Seam) -> bool:
    """Tell whether a seam was checked and is not as we know it."""
    return seam in _broken


def why_off(feature: str) -> str:
    """Return what is missing for a feature, as far as is known by now, or the empty string."""
    return next((reason for seam, reason in _broken.items() if feature in seam.features), "")


def is_whole(feature: str) -> bool:
    """Tell whether nothing that a feature needs is known to be missing."""
    return not why_off(feature)


def require(feature: str) -> None:
    """Refuse to go on without what a feature needs.

    Raises:
        NotNativeError: a seam is missing; names it and the library's version.
    """
    if reason := why_off(feature):
        raise NotNativeError(reason, said=True)


def turned_off() -> dict[str, str]:
    """Return the features that are turned off, each with the reason."""
    return {feature: reason for seam, reason in reversed(_broken.items()) for feature in seam.features}


def read(module: str, name: str) -> Any:
    """Return the symbol of a seam as it is now; imports its module.

    Raises:
        NotNativeError: it is missing; names it and the library's version.
    """
    return getattr(_owner(module, name), name.rpartition(".")[2])


@functools.cache
def _owner(module: str, name: str) -> Any:
    seam = next(seam for seam in SEAMS if (seam.module, seam.name) == (module, name))
    found = importlib.import_module(module)
    check(found)
    if seam in _broken:
        raise NotNativeError(_broken[seam], said=True)
    (owner,) = seam.owners(found)
    return owner


def replaced_in(module: str) -> list[Seam]:
    """Return the seams of a module that are replaced."""
    return [seam for seam in SEAMS if seam.module == module and seam.by]


@functools.cache
def replacement(seam: Seam) -> Callable[..., Any]:
    """Return our function that is called instead of a seam's, with stock's before the arguments of the call."""
    module, function = seam.by.split(":")
    package = __package__.rpartition(".")[0]
    found: Callable[..., Any] = getattr(importlib.import_module(f"{package}.{module}"), function)
    return found


def imported_modules() -> Iterable[ModuleType]:
    """Return the modules with seams that are imported by now."""
    for name in MODULES:
        if (module := sys.modules.get(name)) is not None:
            yield module
