"""What a module was built to, noted so that others like it can be made without building them.

Form.of(module)     its settings, its containers, form of each parameter and buffer on the meta device, of each
                    module in it; taken right after it was built, as it changes afterwards
form.mould()        of a module without objects
form.agreed(other)  of any, where another one that was built alike has turned out alike: what both have is shared,
                    what each has its own one of is made anew
mould.give(module)  fills a new module's dictionary

A layer around another module, which each layer has its own one of, is noted as being around it, and given it.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

from . import seam_check

_ATOMS = frozenset({bool, float, int, str, type(None)})
_CONTAINERS = frozenset({dict, list, set, OrderedDict})
_MEMBERS = frozenset({"_parameters", "_buffers", "_modules"})
_LIBRARIES = ("diffusers", "transformers")
# Stands among the modules in one for that which it is around.
_AROUND: Any = object()
# Of modules, containers and tensors: what is larger repeats seldom, and the modules in it are noted by themselves.
_MOST_VALUES = 1500


class NotPlainError(Exception):
    """A module has what no copy can be made of."""


def is_atomic(value: Any) -> bool:
    """Tell whether a value is plain and cannot change."""
    return type(value) in _ATOMS or (type(value) is tuple and all(map(is_atomic, value)))


def told_apart(values: Any) -> tuple[Any, ...]:
    """Return plain values as a key that has their types, as 1, 1.0 and True are equal."""
    return tuple([(type(value), told_apart(value) if isinstance(value, tuple) else value) for value in values])


def library_of(cls: Any) -> str:
    """Return diffusers or transformers, where a class is theirs, or the empty string."""
    library = str(cls.__module__).partition(".")[0]
    return library if library in _LIBRARIES else ""


@functools.cache
def _attributes_of_all_modules() -> frozenset[str]:
    import torch

    return frozenset(vars(torch.nn.Module()))


class Form:
    """What one module was built to.

    Args:
        module: has just been built.
        seen: what was found in the module that it is in, which nothing else may be.
        around: a module in it that each has its own one of, or None.
        given: its dictionaries that the caller fills by himself.

    Raises:
        NotPlainError: a copy would not be as good.
    """

    def __init__(self, module: Any, seen: dict[int, Any], around: Any = None, given: Collection[str] = ()) -> None:
        _see(module, seen)
        self.cls: Any = type(module)
        if not _is_made_plainly(self.cls):  # type: ignore[arg-type]  # a class is hashable
            raise NotPlainError
        self.settings = dict(vars(module))
        self.containers: dict[str, tuple[type, tuple[Any, ...]]] = {}
        self.objects: list[str] = []
        self.parameters: dict[str, tuple[Any, ...] | None] = {}
        self.buffers: dict[str, tuple[Any, ...] | None] = {}
        self.children: dict[str, Any] = {}
        if not self.settings.keys() >= _MEMBERS:
            raise NotPlainError
        ordinary = _attributes_of_all_modules()
        for name, value in self.settings.items():
            if type(value) in _ATOMS or name in _MEMBERS:
                continue
            if type(value) in _CONTAINERS and (name in given or (name in ordinary and not value)):
                self.containers[name] = (type(value), ())
            elif not is_atomic(value):
                self._note(name, value, seen)
        for own, parameter in self._members("_parameters", seen):
            self.parameters[own] = None if parameter is None else _form(parameter, _parameter_class(), seen)
        for own, buffer in self._members("_buffers", seen):
            self.buffers[own] = None if buffer is None else _form(buffer, _tensor_class(), seen)
        for own, child in self._members("_modules", seen):
            if child is None:
                self.children[own] = None
            else:
                self.children[own] = _AROUND if child is around else Form(child, seen, around)

    def classes(self) -> set[Any]:
        """Return the classes of the module and of those in it."""
        return {self.cls}.union(*(child.classes() for child in self.children.values() if isinstance(child, Form)))

    @classmethod
    def of(cls, module: Any, around: Any = None, given: Collection[str] = ()) -> Form | None:
        """Note a module; None where a copy would not be as good.

        Args:
            module: has just been built.
            around: a module in it that each has its own one of, or None.
            given: its dictionaries that the caller fills by himself.
        """
        try:
            return cls(module, {}, around, given)
        except NotPlainError:
            return None

    def _note(self, name: str, value: Any, seen: dict[int, Any]) -> None:
        if type(value) in _CONTAINERS:
            items = tuple(value.items() if isinstance(value, dict) else value)
            if is_atomic(items):
                _see(value, seen)
                self.containers[name] = (type(value), items)
                return
        self.objects.append(name)

    def _members(self, name: str, seen: dict[int, Any]) -> list[tuple[str, Any]]:
        value = self.settings[name]
        if type(value) not in (dict, OrderedDict):
            raise NotPlainError
        _see(value, seen)
        self.containers[name] = (type(value), ())
        return list(value.items())

    def mould(self) -> Mould | None:
        """Return what gives others, or None where only one module cannot tell what is its own."""
        if self.objects:
            return None
        children = {name: each.mould() if isinstance(each, Form) else each for name, each in self.children.items()}
        if any(children[name] is None and each is not None for name, each in self.children.items()):
            return None
        return Mould(self, set(), {}, children)

    def agreed(self, other: Form) -> Mould | None:
        """Return what gives others like both; None where they differ."""
        try:
            return self._agreed(other, {})
        except NotPlainError:
            return None

    def _agreed(self, other: Form, seen: dict[int, Any]) -> Mould:
        if self._plain() != other._plain():
            raise NotPlainError
        objects: dict[str, Callable[[], Any]] = {}
        for name in self.objects:
            one, another = self.settings[name], other.settings[name]
            if one is not another:
                _see(one, seen)
                objects[name] = _object_maker(one, another)
        shared = {name for name in self.containers if self.settings[name] is other.settings[name]}
        if shared & _MEMBERS:
            raise NotPlainError
        children = {
            name: child._agreed(other.children[name], seen) if isinstance(child, Form) else child
            for name, child in self.children.items()
        }
        return Mould(self, shared, objects, children)

    def _plain(self) -> tuple[Any, ...]:
        """Return what two forms have to have the same of."""
        atoms = ((name, value) for name, value in self.settings.items() if is_atomic(value))
        containers = ((name, kind, told_apart(items)) for name, (kind, items) in self.containers.items())
        tensors = (list(self.parameters.items()), list(self.buffers.items()))
        children = [(name, isinstance(child, Form) or child) for name, child in self.children.items()]
        return (self.cls, list(self.settings), told_apart(atoms), list(containers), self.objects, tensors, children)


class Mould:
    """What gives modules of one form.

    Args:
        form: of one of them.
        shared: its containers that all of them have.
        objects: what makes the objects that each has its own one of.
        children: of the modules in it.
    """

    def __init__(
        self, form: Form, shared: set[str], objects: dict[str, Callable[[], Any]], children: dict[str, Any]
    ) -> None:
        self.cls = form.cls
        containers = {name: each for name, each in form.containers.items() if name not in shared}
        self._fresh: list[tuple[str, Callable[[], Any]]] = [
            (name, functools.partial(kind, items) if items else kind) for name, (kind, items) in containers.items()
        ]
        self._fresh += objects.items()
        own = {name for name, _ in self._fresh}
        self._settings = {name: None if name in own else value for name, value in form.settings.items()}
        self._parameters = [(name, _parameter_maker(each)) for name, each in form.parameters.items()]
        self._buffers = [(name, _buffer_maker(each)) for name, each in form.buffers.items()]
        self._children = list(children.items())

    def give(self, module: Any, around: Any = None) -> None:
        """Make a new module what the library would build it to.

        Args:
            module: has no attributes.
            around: the module that it is around, where it is around one.
        """
        # A default device asks for each tensor where it is to be; these say so themselves.
        with seam_check.read("torch._C", "DisableTorchFunction")():
            self._give(module, around)

    def _give(self, module: Any, around: Any) -> None:
        settings = vars(module)
        settings.update(self._settings)
        for name, make in self._fresh:
            settings[name] = make()
        tensors = settings["_parameters"]
        for name, make in self._parameters:
            tensors[name] = make()
        tensors = settings["_buffers"]
        for name, make in self._buffers:
            tensors[name] = make()
        modules = settings["_modules"]
        for name, child in self._children:
            modules[name] = child._made(around) if isinstance(child, Mould) else around if child is _AROUND else None

    def _made(self, around: Any) -> Any:
        module = object.__new__(self.cls)
        self._give(module, around)
        return module


def _parameter_maker(form: tuple[Any, ...] | None) -> Callable[[], Any]:
    if form is None:
        return _nothing
    make, parameter_class, wants_gradients = _buffer_maker(form), _parameter_class(), form[-1]
    return lambda: parameter_class(make(), wants_gradients)


def _buffer_maker(form: tuple[Any, ...] | None) -> Callable[[], Any]:
    import torch

    if form is None:
        return _nothing
    size, stride, dtype, *_ = form
    return functools.partial(torch.empty_strided, size, stride, dtype=dtype, device="meta")


def _nothing() -> None:
    return None


def _parameter_class() -> Any:
    import torch

    return torch.nn.Parameter


def _tensor_class() -> Any:
    import torch

    return torch.Tensor


def _form(tensor: Any, cls: Any, seen: dict[int, Any]) -> tuple[Any, ...]:
    """Return size, stride, dtype and whether it takes gradients."""
    _see(tensor, seen)
    if type(tensor) is not cls or not tensor.is_meta or vars(tensor) or tensor.grad_fn is not None:
        raise NotPlainError
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.requires_grad


def _see(value: Any, seen: dict[int, Any]) -> None:
    """Note that a value was found, which no copy may have twice."""
    if id(value) in seen or len(seen) > _MOST_VALUES:
        raise NotPlainError
    seen[id(value)] = value


@functools.lru_cache(maxsize=512)
def _is_made_plainly(cls: Any) -> bool:
    """Tell whether all that objects of a class have is in their dictionary."""
    return cls.__new__ is object.__new__ and not any(vars(each).get("__slots__") for each in cls.__mro__)


def _object_maker(one: Any, another: Any) -> Callable[[], Any]:
    """Return what makes objects like two of the libraries' that are no more than their class and plain settings."""
    for each in (one, another):
        cls: Any = type(each)
        if not (library_of(cls) and _is_made_plainly(cls) and all(map(is_atomic, vars(each).values()))):
            raise NotPlainError
    if type(one) is not type(another) or told_apart(vars(one).items()) != told_apart(vars(another).items()):
        raise NotPlainError
    return functools.partial(_object, type(one), dict(vars(one)))


def _object(cls: Any, settings: dict[str, Any]) -> Any:
    made = object.__new__(cls)
    vars(made).update(settings)
    return made
