"""What stands for a name that a module takes out of one that is put off: ``from scipy.optimize import minimize``.

    asked for by     while its module is put off
    call             the module comes, and the function is called
    isinstance(...)  False: of a class that nobody has, there are no objects
    decorator        noted, and done when the module comes
    all else         the module comes

When the module comes, by whoever it is asked for, the real object takes its place in every module that has it. Until
then modules that have one are watched: whoever asks them for it from outside gets the real object.
"""

from __future__ import annotations

import functools
import logging
import operator
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any, TypeGuard

from .. import forked
from .deferred import DEFERRALS
from .deferred_module import Arrival, become_plain

logger = logging.getLogger("warpload")

_lock = forked.Lock()

# The libraries whose modules have stand-ins (of torch none has), and what they make of code that comes with a model.
_HOLDERS = frozenset(asker.partition(".")[0] for line in DEFERRALS for asker in line.askers) - {"torch"} | {
    "diffusers_modules",
    "transformers_modules",
}


class StandIn:
    """An object of a module that is put off.

    Args:
        arrival: the module.
        path: of the object in it, with dots.
    """

    def __init__(self, arrival: Arrival, path: str) -> None:
        self._arrival, self._path = arrival, path

    def _real(self) -> Any:
        return operator.attrgetter(self._path)(self._arrival.wait())

    def settle(self, module: ModuleType) -> dict[int, Any]:
        """Do what was put off until the module is there; return what takes whose place, by the id of what goes."""
        return {id(self): operator.attrgetter(self._path)(module)}

    def come(self) -> None:
        """Have the module come, which puts the real object into this one's place."""
        self._arrival.wait()

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call the real object."""
        return self._real()(*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._real())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._real())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._real(),)

    def __getitem__(self, item: Any) -> Any:
        return self._real()[item]

    def __or__(self, other: Any) -> Any:
        return self._real() | other

    def __ror__(self, other: Any) -> Any:
        return other | self._real()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return operator.attrgetter(self._path), (self._arrival.wait(),)

    def __eq__(self, other: object) -> bool:
        return self is other or bool(self._real() == other)

    def __hash__(self) -> int:
        return hash(self._real())

    def __repr__(self) -> str:
        return repr(self._real())


class ClassStandIn(StandIn):
    """A class, of which there are no objects while nobody has it."""

    def __instancecheck__(self, instance: Any) -> bool:
        return (self._arrival.done or self._arrival.is_begun()) and isinstance(instance, self._real())

    def __subclasscheck__(self, subclass: type) -> bool:
        return (self._arrival.done or self._arrival.is_begun()) and issubclass(subclass, self._real())


class Decorator(StandIn):
    """A decorator, whose work is put off."""

    def __init__(self, arrival: Arrival, path: str) -> None:
        super().__init__(arrival, path)
        self._put_off: list[Any] = []
        self._came: Any = None

    def settle(self, module: ModuleType) -> dict[int, Any]:
        """Do what was put off, in the order in which it was asked for."""
        settled = super().settle(module)
        real = settled[id(self)]
        with _lock:
            put_off, self._put_off, self._came = self._put_off, [], real
        for each in put_off:
            settled.update(self._do(each, real))
        return settled

    def _is_noted(self, work: Any) -> bool:
        """Take note of work, unless it can be done by now."""
        with _lock:
            if self._came is None:
                self._put_off.append(work)
            return self._came is None

    def _do(self, work: Any, real: Any) -> dict[int, Any]:
        raise NotImplementedError


class Registering(Decorator):
    """A decorator that takes note of what it is given, and returns it."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Take note of an object, or register it."""
        if not keywords and len(arguments) == 1 and callable(arguments[0]) and self._is_noted(arguments[0]):
            return arguments[0]
        return super().__call__(*arguments, **keywords)

    def _do(self, work: Any, real: Any) -> dict[int, Any]:
        real(work)
        return {}


class Wrapping(Decorator):
    """A decorator that wraps functions, which makes no difference while its module is not there."""

    def __call__(self, function: Any = None, *arguments: Any, **keywords: Any) -> Any:
        """Wrap a function, later on if need be."""
        if function is None and self._came is None:
            return lambda function: self(function, *arguments, **keywords)
        if isinstance(function, FunctionType):
            wrapped = _Wrapped(function, lambda decorator: decorator(function, *arguments, **keywords))
            if self._is_noted(wrapped):
                return wrapped.passing
        return super().__call__(function, *arguments, **keywords)

    def _do(self, work: Any, real: Any) -> dict[int, Any]:
        return {id(work.passing): work.wrap(real)}


class _Wrapped:
    """A function that is to be wrapped when a module comes.

    Attributes:
        passing: the function that stands for it, also where it was taken from there before.
    """

    def __init__(self, function: FunctionType, decorate: Callable[[Any], Any]) -> None:
        self._function, self._decorate = function, decorate
        self._now: Any = function

        @functools.wraps(function)
        def passing(*arguments: Any, **keywords: Any) -> Any:
            return self._now(*arguments, **keywords)

        self.passing = passing

    def wrap(self, decorator: Any) -> Any:
        """Return the function as wrapped, which those have from here on that had it before."""
        self._now = self._decorate(decorator)
        *path, last = self._function.__qualname__.split(".")
        owner: Any = sys.modules.get(self._function.__module__)
        for part in path:
            owner = None if owner is None else _namespace(owner).get(part)
        for holder in (owner, self._function):  # torch keeps it at the function
            for name in [last, *vars(self._function)] if holder is not None else ():
                if _namespace(holder).get(name) is self.passing:
                    setattr(holder, name, self._now)
        return self._now


class Part:
    """A module below one that is put off; it is asked for nothing but some names."""

    def __init__(self, arrival: Arrival, name: str, known: dict[str, StandIn]) -> None:
        self._arrival, self._name, self._known = arrival, name, known

    def __getattr__(self, name: str) -> Any:
        return self._known.get(name) or getattr(getattr(self._arrival.wait(), self._name), name)


KINDS: dict[str, type[StandIn]] = {
    "class": ClassStandIn,
    "function": StandIn,
    "registering": Registering,
    "wrapping": Wrapping,
}


class Here(threading.local):
    """What this thread is doing.

    Attributes:
        depth: how many imports of ours it is in.
        asked: a module, and who asks for it, where another one than the code that imports it.
        look_ups: of those imports.
        found: whether a module was looked for since modules were last watched: only new ones can have got stand-ins.
    """

    def __init__(self) -> None:
        self.found = False
        self.depth = 0
        self.asked: tuple[str, str] = ("", "")
        self.look_ups: Any = None


here = Here()


class WatchedModule(ModuleType):
    """A module that has stand-ins, which nobody else is to get."""

    def __getattribute__(self, name: str) -> Any:
        if here.depth == 0:
            namespace = _namespace(self)
            values = list(namespace.values()) if name == "__dict__" else [namespace.get(name)]
            for value in values:
                if _stands_in(value):
                    value.come()
        return ModuleType.__getattribute__(self, name)  # by now it may be a plain module


WatchedModule.__name__ = WatchedModule.__qualname__ = "module"


def _stands_in(value: Any) -> TypeGuard[StandIn]:
    return issubclass(type(value), StandIn)


def _has_stand_ins(module: ModuleType) -> bool:
    return any(issubclass(cls, StandIn) for cls in set(map(type, list(_namespace(module).values()))))


def _namespace(owner: Any) -> Mapping[str, Any]:
    """Return what a module or a class has itself; nobody notices."""
    if isinstance(owner, ModuleType):
        namespace: dict[str, Any] = object.__getattribute__(owner, "__dict__")
        return namespace
    return getattr(owner, "__dict__", {})


def _holders() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _HOLDERS and isinstance(module, ModuleType):
            yield module


def watch() -> None:
    """Watch all modules that have got stand-ins by now."""
    if not here.found:
        return
    here.found = False
    for module in _holders():
        if type(module) is ModuleType and _has_stand_ins(module):
            module.__class__ = WatchedModule


def settle(stand_ins: Iterable[StandIn], came: ModuleType) -> None:
    """Do what was put off until a module has come, and put its objects where stand-ins are."""
    real: dict[int, Any] = {}
    for each in stand_ins:
        try:
            real.update(each.settle(came))
        except Exception as error:  # of those who ask for what is not there, each hears that for itself
            logger.warning("%s of %s could not be put into place: %s", each._path, came.__name__, error)
    for module in _holders():
        namespace = _namespace(module)
        for name, value in list(namespace.items()):
            if id(value) in real:
                setattr(module, name, real[id(value)])
        if not _has_stand_ins(module):
            become_plain(module, WatchedModule)
