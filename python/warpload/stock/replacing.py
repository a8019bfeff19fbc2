"""How seams are replaced: in the modules that are imported, and in others when they come; and put back.

A replacement does nothing of its own unless a load is to go through the core (``active``): code that kept a reference
to one, and other threads, get stock's behaviour. A library that is not imported yet is left alone until it is.

    install()        accelerated()      a model of ours is alive            active() is true
       |                  |                      |                          - after install(), everywhere
       +--- hold("loads") +           hold("models alive")                  - inside accelerated(), on that thread
                 |                               |
     first: replace the seams of that kind in the modules that are there, watch for the others
     last:  put them back
"""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .. import forked
from . import seam_check, seams
from .seams import Seam


@dataclass(frozen=True, eq=False)
class _Replaced:
    seam: Seam
    owner: Any
    before: Any
    after: Any


_lock = forked.Lock()
_holders: dict[str, forked.Users] = {held: forked.Users() for seam in seams.SEAMS for held in seam.held}
_installed: object = None  # the holder that ``install`` added
_replaced: list[_Replaced] = []
_done: set[tuple[str, str]] = set()  # kind of holders and module: what of it there is to replace is replaced
_accelerated: ContextVar[bool] = ContextVar("warpload_accelerated", default=False)


def active() -> bool:
    """Tell whether loads on this thread are to go through the core."""
    return _installed is not None or _accelerated.get()


def installed() -> bool:
    """Return whether ``install`` is on, so that loads by diffusers' and transformers' own classes go through the core.

    What ``accelerated`` does inside its block is not counted.
    """
    return _installed is not None


def install() -> None:
    """Make loads by diffusers' and transformers' own classes go through the core, on all threads, until ``uninstall``.

    A second call changes nothing.
    """
    global _installed
    with _lock:
        if _installed is None:
            _installed = hold("loads")


def uninstall() -> None:
    """Undo ``install``: loads are stock's own again. Without a call of ``install`` before, nothing changes."""
    global _installed
    with _lock:
        if _installed is not None:
            holder, _installed = _installed, None
            release("loads", holder)


@contextlib.contextmanager
def accelerated() -> Iterator[None]:
    """Make loads by diffusers' and transformers' own classes on this thread go through the core inside the block."""
    holder = hold("loads")
    token = _accelerated.set(True)
    try:
        yield
    finally:
        _accelerated.reset(token)
        release("loads", holder)


def hold(held: str) -> object:
    """Replace the seams of one kind until ``release`` is called with what this returns.

    Args:
        held: the kind, as the table of seams says.
    """
    with _lock:
        holder = _holders[held].add()
        if _watcher not in sys.meta_path:
            sys.meta_path.insert(0, _watcher)
        for module in seam_check.imported_modules():  # each time: another thread may have been importing one before
            done = (held, module.__name__) in _done
            if not done and not getattr(module.__spec__, "_initializing", False):
                _replace_in(module)
        return holder


def release(held: str, holder: object) -> None:
    """Put the seams of one kind back, unless others hold them too."""
    with _lock:
        _holders[held].remove(holder)
        _put_back()


def _is_held(seam: Seam) -> bool:
    return any(len(_holders[held]) > 0 for held in seam.held)


def _put_back() -> None:
    """Put back the replaced functions that nobody holds."""
    if not any(map(len, _holders.values())) and _watcher in sys.meta_path:
        sys.meta_path.remove(_watcher)
    _done.difference_update([done for done in _done if len(_holders[done[0]]) == 0])
    for replaced in reversed(_replaced[:]):
        if not _is_held(replaced.seam):
            name = replaced.seam.attribute
            if vars(replaced.owner).get(name) is replaced.after:  # else someone has replaced ours
                setattr(replaced.owner, name, replaced.before)
            with contextlib.suppress(ValueError):  # a model that is collected meanwhile has put it back
                _replaced.remove(replaced)  # last, so that a child of a fork in between can go on


@forked.anew_in_child
def _keep_only_this_thread() -> None:
    _holders["loads"].lost(but=_installed)  # whichever thread loaded a model, it is alive in the child too
    _put_back()  # which another thread may have been in the midst of


def _replace_in(module: ModuleType) -> None:
    """Replace what is held of a module that has been imported."""
    seam_check.check(module)
    if not (replaceable := seam_check.replaced_in(module.__name__)):  # no lock: torch may be in the midst of its import
        return
    with _lock:
        # Where a fork has caught another thread in the midst of this, the child goes on.
        done = {(it.owner, it.seam) for it in _replaced if it.seam.module == module.__name__}
        for seam in replaceable:
            if not _is_held(seam) or seam_check.is_broken(seam):
                continue
            for owner in seam.owners(module):
                if (owner, seam) not in done:
                    _replace(seam, owner)
        _done.update((held, module.__name__) for held, users in _holders.items() if len(users) > 0)


def _replace(seam: Seam, owner: Any) -> None:
    found = vars(owner)[seam.attribute]
    # A function that came from another module of the table may be replaced already.
    before = getattr(found, "__warpload_original__", found)
    after = found if before is not found else _wrapped(seam, before)
    _replaced.append(_Replaced(seam, owner, before, after))  # first, so that it can always be put back
    setattr(owner, seam.attribute, after)


def _wrapped(seam: Seam, before: Any) -> Any:
    """Return what calls our function instead, with the function that it stands for and the call's own arguments."""
    if isinstance(before, classmethod):
        return classmethod(_wrapped(seam, before.__func__))

    @functools.wraps(before, updated=() if isinstance(before, type) else functools.WRAPPER_UPDATES)
    def replaced(*arguments: Any, **keywords: Any) -> Any:
        if seam.always or active():
            return seam_check.replacement(seam)(before, *arguments, **keywords)
        return before(*arguments, **keywords)

    replaced.__warpload_original__ = before  # type: ignore[attr-defined]
    return replaced


class _Watcher(importlib.abc.MetaPathFinder):
    """Finds nothing itself; has the other finders' loaders tell when one of the table's modules has been executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in seams.MODULES:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _TellingLoader(spec.loader)
                return spec
        return None


class _TellingLoader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps its real loader, for those who ask it for sources.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _replace_in(module)


_watcher = _Watcher()
