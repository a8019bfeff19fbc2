"""Imports that are put off while our facade has the libraries imported, on the thread that does it; see ``deferred``.

with imports_put_off():    import diffusers  --> asks for torch._dynamo --> found, and put off
                                             --> takes a name out of it --> a stand-in
afterwards                 torch.compile     --> torch._dynamo comes    --> what was noted is done,
                                                                            stand-ins are replaced
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import platform
import sys
from collections.abc import Iterator, Sequence
from types import CodeType, FrameType, ModuleType
from typing import Any

from .. import forked, options
from . import at_once, deferred_module, looked_up_once, seam_check, stand_in
from .deferred import DEFERRALS, Deferral
from .looked_up_once import LookUps
from .stand_in import KINDS, Part, StandIn, here

_lock = forked.Lock()
_users = forked.Users()


@contextlib.contextmanager
def imports_put_off() -> Iterator[None]:
    """Put the imports of the table off that this thread does inside the block.

    Raises:
        InvalidArgumentError: the environment asks for what does not exist.
    """
    if not (options.current().lazy_imports and _is_possible()):
        yield
        return
    with _lock:
        user = _users.add()
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
    try:
        with _deeper():
            yield
    finally:
        with _lock:
            _users.remove(user)
            _leave_if_idle()
        if here.depth == 0 and deferred_module.all_put_off():
            stand_in.watch()


def _is_possible() -> bool:
    if not (possible := deferred_module.is_possible()):
        at_once.note("lazy imports", f"the import system of Python {platform.python_version()} is not as we know it")
    return possible


@contextlib.contextmanager
def _deeper() -> Iterator[None]:
    here.depth += 1
    try:
        if here.depth > 1:
            yield
        else:
            with LookUps() as here.look_ups:
                yield
    finally:
        here.depth -= 1


@forked.anew_in_child
def _leave_if_idle() -> None:
    _users.lost()
    if len(_users) == 0 and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what is put off, as the other finders do, and has it wait."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if here.depth == 0 or target is not None:
            return None
        here.found = True
        if fullname == looked_up_once.SCANNING:
            return self._told_of(fullname, path)
        if fullname not in _MODULES or deferred_module.of(fullname):
            return None
        frame = sys._getframe(1)
        if _line_for(fullname, frame) is None:
            self._note_if_unknown(fullname, path, frame)
            return None
        spec = deferred_module.found_by_others(self, fullname, path) or self._found_by_package(fullname)
        # What another hook has found, it is to execute when it expects to.
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            _PutOff(spec)
        return spec

    def _note_if_unknown(self, fullname: str, path: Sequence[str] | None, frame: FrameType) -> None:
        """Take note of an asker whose words are not those of the table, where what it asks for is installed."""
        asker = _asker(fullname, frame)
        for line in _lines(fullname, asker):
            if deferred_module.found_by_others(self, fullname, path) is not None:
                _note(line, fullname, asker, f"does not name {' and '.join(line.words)} where it asks for it")

    def _found_by_package(self, fullname: str) -> importlib.machinery.ModuleSpec | None:
        """Find what nobody finds below a package that is put off: it may know, or has its own error."""
        if (package := deferred_module.of(fullname.rpartition(".")[0])) is None:
            return None
        path = package.wait().__path__
        if fullname in sys.modules:
            return deferred_module.as_it_is(fullname)
        return deferred_module.found_by_others(self, fullname, path)

    def _told_of(self, fullname: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
        """Find a module, and have its look-ups known once it is there."""
        spec = deferred_module.found_by_others(self, fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = deferred_module.Telling(spec.loader, here.look_ups.scans)
        return spec


_finder = _Finder()
_waiting: dict[str, _PutOff] = {}
_MODULES = frozenset(module for line in DEFERRALS for module in line.modules)


def _line_for(module: str, frame: FrameType) -> Deferral | None:
    """Return the line by which a module is put off for those who ask for it, if there is one."""
    asking = deferred_module.asker(frame)
    known = here.asked[0] == module
    for line in _lines(module, _asker(module, frame)):
        if known or (asking is not None and _knows(asking.f_code, line)):
            return line
    return None


def _lines(module: str, asker: str) -> Iterator[Deferral]:
    """Yield the lines that have a module put off for an asker."""
    yield from (line for line in DEFERRALS if module in line.modules and line.is_asker(asker))


def _note(line: Deferral, module: str, asker: str, how: str) -> None:
    """Take note of a line of the table that has put nothing off."""
    library = asker.partition(".")[0]
    version = f"{library} {seam_check.version(library)}"
    taken = f"{module} is imported at once, which takes about {line.saved} ms of the processor"
    at_once.note(f"lazy import of {line.modules[-1]}", f"{asker} of {version} {how}, so that {taken}")


def _asker(module: str, frame: FrameType) -> str:
    """Return who asks for a module."""
    if here.asked[0] == module:
        return here.asked[1]
    return deferred_module.name_of(deferred_module.asker(frame))


def _knows(code: CodeType, line: Deferral) -> bool:
    """Tell whether the code that asks names what the table says."""
    return set(line.words) <= {*code.co_names, *code.co_varnames}


class _PutOff:
    """One module that is put off: what is handed out instead of what it has, until it comes."""

    def __init__(self, spec: importlib.machinery.ModuleSpec) -> None:
        self._name = spec.name
        self._path = spec.submodule_search_locations or ()
        self._stand_ins: dict[str, StandIn] = {}
        self._arrival = deferred_module.put_off(spec, self._hand_out, self._settle)
        _waiting[self._name] = self

    def come_if_stood_for(self) -> None:
        """Have the module come if something stands for a part of it."""
        if self._stand_ins:
            with contextlib.suppress(Exception):  # of a broken library, which is for those to hear who use it
                self._arrival.wait()

    def _hand_out(self, attribute: str, frame: FrameType) -> Any:
        if attribute == "__path__":
            return list(self._path) if self._may_look_below(frame) else None
        asker = deferred_module.name_of(deferred_module.asker(frame))
        wanted = f"{self._name}.{attribute}"
        for line in DEFERRALS:
            names = {name: kind for name, kind in line.names.items() if f"{name}.".startswith(f"{wanted}.")}
            later = all(asker in line.asked.get(name, ()) for name in names)
            if names and line.is_asker(asker) and (here.depth > 0 or later):
                return self._instead(wanted, names, asker)
        for line in _lines(self._name, asker) if here.depth > 0 else ():
            _note(line, self._name, asker, f"asks it for {attribute}, of which the table does not know")
        return None

    def _instead(self, wanted: str, names: dict[str, str], asker: str) -> Any:
        """Return what stands for an attribute, or for a part that has some."""
        if names.get(wanted) == "module":
            return _put_off_for(wanted, asker)
        if wanted in names:
            return self._stand_in(wanted, names[wanted])
        known = {name[len(wanted) + 1 :]: self._stand_in(name, kind) for name, kind in names.items()}
        return Part(self._arrival, wanted.rpartition(".")[2], known)

    def _stand_in(self, name: str, kind: str) -> StandIn:
        found = self._stand_ins.get(name)
        if found is None:
            found = self._stand_ins[name] = KINDS[kind](self._arrival, name[len(self._name) + 1 :])
        return found

    def _may_look_below(self, frame: FrameType) -> bool:
        """Tell whether the package need not be there for what is imported from it: a stand-in, or a module below."""
        if not (child := deferred_module.imported_below(frame)):
            asker = deferred_module.name_of(frame)
            return any(line.is_asker(asker) and self._name in line.modules for line in DEFERRALS)
        if here.depth == 0:
            return False
        asker = _asker(child, frame)
        return _line_for(child, frame) is not None or any(asker in line.below.get(child, ()) for line in DEFERRALS)

    def _settle(self, module: ModuleType) -> None:
        _waiting.pop(self._name, None)
        stand_in.settle(self._stand_ins.values(), module)
        if self._name == "torch._dynamo":
            _bring_the_others()


def _put_off_for(module: str, asker: str) -> ModuleType:
    before, here.asked = here.asked, (module, asker)
    try:
        return importlib.import_module(module)
    finally:
        here.asked = before


def _bring_the_others() -> None:
    """Have all modules come for whose objects something stands: torch.compile is to trace the real ones."""
    for each in list(_waiting.values()):
        each.come_if_stood_for()
