"""The libraries as another version of them might be: a symbol renamed, or moved, in all of their own code.

They go on working, by the new name, while whoever knows the old one finds nothing.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

LIBRARIES = ("accelerate", "diffusers", "huggingface_hub", "peft", "safetensors", "torch", "transformers")

Of = Callable[[str], bool]  # tells by a module's name whether something is renamed there


def of(*libraries: str) -> Of:
    """Return what tells the modules of some libraries."""
    return lambda module: module.partition(".")[0] in libraries


@contextlib.contextmanager
def renamed(name: str, within: Of) -> Iterator[None]:
    """Have another name in place of one inside the block: of attributes, of functions, of classes, in strings."""
    new = f"{name}_as_newer_versions_call_it"
    _rename(name, new, within)
    try:
        yield
    finally:
        _rename(new, name, within)


@contextlib.contextmanager
def moved(owner: type, name: str) -> Iterator[None]:
    """Have a class inherit what is its own, inside the block."""
    value, bases = vars(owner)[name], owner.__bases__
    owner.__bases__ = (type("Moved", (), {name: value}), *bases)
    type.__delattr__(owner, name)
    try:
        yield
    finally:
        type.__setattr__(owner, name, value)
        owner.__bases__ = bases


def _rename(old: str, new: str, within: Of) -> None:
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and within(module.__name__) and old in vars(module):
            vars(module)[new] = vars(module).pop(old)
    for each in gc.get_objects():
        if type(each) is FunctionType and within(str(each.__globals__.get("__name__"))):
            each.__code__ = _with_name(each.__code__, old, new)
        elif (
            issubclass(type(each), type)
            and (within(str(each.__module__)) or each is logging.Logger)
            and old in vars(each)
        ):
            value = vars(each)[old]
            type.__delattr__(each, old)
            type.__setattr__(each, new, value)


def _with_name(code: CodeType, old: str, new: str) -> CodeType:
    def of_constant(value: Any) -> Any:
        if isinstance(value, CodeType):
            return _with_name(value, old, new)
        return new if isinstance(value, str) and value == old else value

    names = tuple(new if each == old else each for each in code.co_names)
    constants = tuple(map(of_constant, code.co_consts))
    same = names == code.co_names and all(map(lambda a, b: a is b, constants, code.co_consts))
    return code if same else code.replace(co_names=names, co_consts=constants)
