"""Modules that are put off: in ``sys.modules`` under their names, executed when somebody first asks them for something.

The object is the module itself from the start. Its first use imports it into this same object, as importlib would:
found anew, by whichever hooks there are, under importlib's own lock of that module, taken out of ``sys.modules`` where
it fails. Then it is a plain module like any other.

    put off --> in sys.modules, empty --> first attribute --> found anew, executed --> plain module
                                                                     '--> what waited for it is told
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, ModuleType
from typing import Any

from .. import forked

# What a module that was found has before it is executed, and what nobody has who was not: to be asked for them changes
# nothing. ``inspect`` and ``warnings`` ask every module for some.
_BEFORE = frozenset(
    {"__cached__", "__class__", "__file__", "__loader__", "__name__", "__package__", "__spec__", "__warningregistry__"}
)
# The part of the import system that is Python; what it asks for, it asks for somebody else.
_IMPORTING = frozenset({"importlib", "importlib._bootstrap", "importlib._bootstrap_external"})
# What is private there and needed here: the lock of a module, and the function that imports one below a package.
_LOCK, _IMPORT_BELOW, _BELOW = "_ModuleLockManager", "_find_and_load_unlocked", "name"

_lock = forked.Lock()
_arrivals: dict[str, Arrival] = {}

# Called with an attribute that is asked for, and the frame that asks; returns what to hand out instead, or None.
HandOut = Callable[[str, FrameType], Any]


def is_possible() -> bool:
    """Tell whether this Python's import system has all of its own that is needed to put modules off."""
    imports = getattr(_bootstrap(), _IMPORT_BELOW, None)
    return callable(getattr(_bootstrap(), _LOCK, None)) and _BELOW in getattr(imports, "__code__", _NO_CODE).co_varnames


_NO_CODE = (lambda: None).__code__


def _bootstrap() -> Any:
    return importlib._bootstrap


def asker(frame: FrameType | None) -> FrameType | None:
    """Return the frame for which the import system works, looking from one of its own, or from any other one."""
    while frame is not None and frame.f_globals.get("__name__") in _IMPORTING:
        frame = frame.f_back
    return frame


def name_of(frame: FrameType | None) -> str:
    """Return the name of the module whose code runs in a frame."""
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))


def imported_below(frame: FrameType | None) -> str:
    """Return the module for whose import a frame asks its package where its modules are; empty for any other frame."""
    if frame is None or name_of(frame) not in _IMPORTING or frame.f_code.co_name != _IMPORT_BELOW:
        return ""
    return str(frame.f_locals.get(_BELOW, ""))


class Arrival:
    """One module that is put off.

    Args:
        spec: as other finders found it.
        hand_out: what answers some of those who ask it for something, so that it is not executed for them.
        arrived: called on the thread that has executed it, before any other thread sees it.
    """

    def __init__(
        self, spec: importlib.machinery.ModuleSpec, hand_out: HandOut, arrived: Callable[[ModuleType], None]
    ) -> None:
        self.name = spec.name
        self.is_package = spec.submodule_search_locations is not None
        self.hand_out = hand_out
        self.module: ModuleType = DeferredModule(self.name)
        self.instead: ModuleType | None = None  # what another hook made for it when it was executed
        self.done = False
        self._arrived = arrived
        self._thread: int | None = None

    def wait(self) -> ModuleType:
        """Have the module executed, unless it was or is by now, and return what ``sys.modules`` has for it.

        Raises:
            Exception: what its code raises; whoever asks next has it executed again, as with each import.
        """
        package, _, last = self.name.rpartition(".")
        path = importlib.import_module(package).__path__ if package else None  # first of all, as in each import
        try:
            lock = _importlibs_lock(self.name)
        except RuntimeError:  # two threads import each other's modules: each sees what there is, as importlib has it
            return self.module
        with lock:
            if not self.done and not self.is_here() and sys.modules.get(self.name, self.module) is self.module:
                self._execute(path)
                if package:
                    setattr(sys.modules[package], last, sys.modules[self.name])
        return sys.modules.get(self.name, self.module)

    def is_begun(self) -> bool:
        """Tell whether the module is being executed."""
        return self._thread is not None

    def is_here(self) -> bool:
        """Tell whether this thread is executing it."""
        return self._thread == threading.get_ident()

    def _execute(self, path: Sequence[str] | None) -> None:
        """Do what importlib does, in the object that is in ``sys.modules`` already; its lock is held."""
        spec = found_by_others(None, self.name, path)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"No module named {self.name!r}", name=self.name)
        made = importlib.util.module_from_spec(spec)
        self._thread = threading.get_ident()
        spec._initializing = True  # type: ignore[attr-defined]  # who imports it meanwhile waits
        try:
            if type(made) is ModuleType:
                self.module.__dict__.update(made.__dict__)
            module = sys.modules[self.name] = self.module if type(made) is ModuleType else made
            spec.loader.exec_module(module)
            self._arrived(module)
            self._end(module)
        except BaseException:
            sys.modules.pop(self.name, None)
            raise
        finally:
            self._thread = None
            spec._initializing = False  # type: ignore[attr-defined]
        become_plain(module, DeferredModule)

    def _end(self, module: ModuleType) -> None:
        with _lock:
            self.done = True
            if module is self.module:
                _arrivals.pop(self.name, None)
            else:
                self.instead = module


@contextlib.contextmanager
def _released(lock: Any) -> Iterator[None]:
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def _importlibs_lock(name: str) -> contextlib.AbstractContextManager[None]:
    """Take the import system's lock of a module, which this thread may take again.

    Raises:
        RuntimeError: to wait for it would be to wait for ever.
    """
    lock = getattr(_bootstrap(), _LOCK)(name)
    lock.__enter__()
    return _released(lock)


class DeferredModule(ModuleType):
    """A module that was found and not executed yet.

    It may be a plain one by the time that a method of this class goes on, so none says ``super()``.
    """

    def __getattribute__(self, name: str) -> Any:
        arrival = _arrival_of(self)
        if arrival is None or arrival.is_here() or name in _BEFORE or (name == "__path__" and not arrival.is_package):
            return ModuleType.__getattribute__(self, name)
        if (found := arrival.hand_out(name, sys._getframe(1))) is not None:
            return found
        module = _executed(self, arrival)
        if name == "__path__":
            _imported_meanwhile(imported_below(sys._getframe(1)))
        return ModuleType.__getattribute__(self, name) if module is None else getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        arrival = _arrival_of(self)
        importing = name_of(sys._getframe(1)) in _IMPORTING  # binds a submodule to its parent, or says what was found
        if arrival is None or arrival.is_here() or importing or name in _BEFORE:
            ModuleType.__setattr__(self, name, value)
        elif (module := _executed(self, arrival)) is not None:
            setattr(module, name, value)
        else:
            ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        arrival = _arrival_of(self)
        if arrival is not None and not arrival.is_here() and (module := _executed(self, arrival)) is not None:
            delattr(module, name)
        else:
            ModuleType.__delattr__(self, name)


def _executed(module: ModuleType, arrival: Arrival) -> ModuleType | None:
    """Return what a module is once it is executed; None where there is no more of it to be had.

    Two threads that import each other's modules see as much of them as there is, as importlib has it.
    """
    found = arrival.instead or arrival.wait()
    return None if found is module and type(module) is DeferredModule else found


DeferredModule.__name__ = DeferredModule.__qualname__ = "module"  # as messages name it


def become_plain(module: ModuleType, present: type[ModuleType]) -> None:
    """Make a plain module of one, unless it has been made something else."""
    if type(module) is present:
        module.__class__ = ModuleType


def _arrival_of(module: ModuleType) -> Arrival | None:
    arrival = _arrivals.get(object.__getattribute__(module, "__name__"))
    return arrival if arrival is not None and arrival.module is module else None


def as_it_is(name: str) -> importlib.machinery.ModuleSpec:
    """Return a spec by which the import system leaves a module as it is in ``sys.modules``."""
    return importlib.machinery.ModuleSpec(name, _Found(sys.modules[name]))


def put_off(spec: importlib.machinery.ModuleSpec, hand_out: HandOut, arrived: Callable[[ModuleType], None]) -> Arrival:
    """Put a module off that is about to be imported; see ``Arrival``.

    Its spec is changed, so that the import system takes the module for executed.
    """
    arrival = Arrival(spec, hand_out, arrived)
    spec.loader = _PuttingOff(spec.loader, arrival)
    return arrival


def of(name: str) -> Arrival | None:
    """Return a module that is put off still, by its name."""
    arrival = _arrivals.get(name)
    return None if arrival is None or arrival.done else arrival


class _PuttingOff(importlib.abc.Loader):
    """Has the import system take a module for executed that is not."""

    def __init__(self, loader: Any, arrival: Arrival) -> None:
        self._loader, self._arrival = loader, arrival

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._arrival.module

    def exec_module(self, module: ModuleType) -> None:
        _give_back(module, self._loader)
        with _lock:
            _arrivals[self._arrival.name] = self._arrival


class Telling(importlib.abc.Loader):
    """Tells when a module has been executed.

    Args:
        loader: executes it.
        tell: is called then.
    """

    def __init__(self, loader: Any, tell: Callable[[], None]) -> None:
        self._loader, self._tell = loader, tell

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Return what the loader makes."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Have the loader execute the module, and tell."""
        _give_back(module, self._loader)
        self._loader.exec_module(module)
        self._tell()


def _give_back(module: ModuleType, loader: Any) -> None:
    """Let a module have its real loader, for those who ask it for sources."""
    module.__loader__ = loader
    if module.__spec__ is not None:
        module.__spec__.loader = loader


def _imported_meanwhile(name: str) -> None:
    """Have the import of a module below a package find it as it is, if the package has imported it just now.

    The import system has asked whether it was there before it asked the package where it is.
    """
    if name in sys.modules:
        with _lock:
            _meanwhile.add((threading.get_ident(), name))
            if _finder not in sys.meta_path:
                sys.meta_path.insert(0, _finder)


class _Found(importlib.abc.Loader):
    """Leaves a module as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what was imported while its package was executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if (threading.get_ident(), fullname) in _meanwhile and target is None and fullname in sys.modules:
            with _lock:
                _meanwhile.remove((threading.get_ident(), fullname))
                if not _meanwhile:
                    sys.meta_path.remove(_finder)  # the search ends here
            return as_it_is(fullname)
        return None


def found_by_others(asking: Any, fullname: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    """Return what the finders other than the one that asks find for a module that is being imported."""
    for finder in list(sys.meta_path):
        if finder is not asking and hasattr(finder, "find_spec"):
            spec = finder.find_spec(fullname, path, None)
            if spec is not None:
                return spec
    return None


_finder = _Finder()
_meanwhile: set[tuple[int, str]] = set()  # thread and module: what was imported while its package was executed


def all_put_off() -> list[Arrival]:
    """Return the modules that are put off still."""
    return [arrival for arrival in list(_arrivals.values()) if not arrival.done]
