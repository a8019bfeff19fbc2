"""The libraries' own blocks, which a model has by the dozen: those that are built as others were are copies.

A transformer is one block many times: attention, norms, a feed-forward network, for the same arguments the same. While
a model is built without weights, two of them that turned out alike tell what the others will be; see ``module_form``.

    BasicTransformerBlock(640, 10, 64)  -> built -> its class is met: from here on its constructor is watched
    BasicTransformerBlock(640, 10, 64)  -> built -> may have been the only one
    BasicTransformerBlock(640, 10, 64)  -> built -> noted
    BasicTransformerBlock(640, 10, 64)  -> built -> agrees with the one that was noted
    BasicTransformerBlock(640, 10, 64)  -> a copy

Built each time is what draws, logs or warns while it is built; what has values, hooks, or objects that are more than
their settings; what is given anything but plain values, classes, functions and transformers' configurations, which have
to be as they were; what any other code has patched.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Hashable, Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Any

from . import attempt, generators, repeated_modules, seam_check
from .module_form import Form, Mould, is_atomic, library_of
from .repeated_modules import Same, surroundings

Function = Callable[..., Any]

_HOOKS = ("_global_module_registration_hooks", "_global_buffer_registration_hooks")
# Whose functions classes have beside their own: decorators, dataclasses, what transformers adds to torch's modules.
_KNOWN = (
    *("torch", "diffusers", "transformers", "accelerate", "huggingface_hub", "warpload"),
    *("abc", "contextlib", "dataclasses", "functools", "typing"),
)


@contextlib.contextmanager
def copied(said: Callable[[], int]) -> Iterator[None]:
    """Have blocks and layers that repeat one another copied on this thread inside the block, which builds one model.

    Args:
        said: returns how much was logged and warned of so far.
    """
    import torch

    if not repeated_modules.can_be_copied() or any(_hooks(name) for name in _HOOKS):
        yield
        return
    with contextlib.ExitStack() as replaced:
        replaced.enter_context(repeated_modules.copied())
        blocks = _Blocks(replaced, said)
        replaced.enter_context(repeated_modules.constructor_of(torch.nn.Module).replaced(blocks.begun))
        yield


@contextlib.contextmanager
def copied_as_ever() -> Iterator[None]:
    """Do the same for stock's own call, whose log records and warnings nobody holds back."""
    with attempt.counted() as said, copied(said):
        yield


def _hooks(name: str) -> Any:
    return seam_check.read("torch.nn.modules.module", name)


class _Blocks:
    """The blocks of one model.

    Args:
        replaced: where constructors are put back in the end.
        said: see ``copied``.
    """

    def __init__(self, replaced: contextlib.ExitStack, said: Callable[[], int]) -> None:
        self._replaced, self._said = replaced, said
        self._met: set[Any] = set()
        self._own: dict[Any, bool] = {}
        self._noted: dict[Hashable, _Noted] = {}

    def begun(self, below: Function, module: Any, *arguments: Any, **keywords: Any) -> None:
        """Replace ``torch.nn.Module.__init__``: each class is met there while its first module is built."""
        below(module, *arguments, **keywords)
        cls = type(module)
        if cls not in self._met:
            self._met.add(cls)
            self._meet(cls)

    def _meet(self, cls: Any) -> None:
        owner = next(each for each in cls.__mro__ if "__init__" in vars(each))
        if not library_of(owner) or not library_of(cls):
            return
        constructor = repeated_modules.constructor_of(owner)
        if not constructor.wanted_here():
            self._replaced.enter_context(constructor.replaced(functools.partial(self._construct, owner)))

    def _construct(self, owner: Any, below: Function, module: Any, *arguments: Any, **keywords: Any) -> None:
        states: list[Any] = []
        try:
            if vars(module):  # it is begun already
                raise _UnknownArgumentError
            key = (owner, type(module), _key(arguments, states), _key(keywords.items(), states), *surroundings())
        except _UnknownArgumentError:
            below(module, *arguments, **keywords)
            return
        noted = self._noted.setdefault(key, _Noted())
        if noted.mould is not None and noted.states == [_state(each) for each in states]:
            noted.mould.give(module)
            return
        noted.times += 1
        if noted.times == 1 or noted.is_hopeless:  # most blocks are the only ones of their kind
            below(module, *arguments, **keywords)
            return
        drawn, said = generators.states(), self._said()
        below(module, *arguments, **keywords)
        if not generators.same(drawn, generators.states()) or self._said() != said:
            noted.is_hopeless = True
        else:
            noted.add(Form.of(module), [_state(each) for each in states], self._is_own)

    def _is_own(self, cls: Any) -> bool:
        """Tell whether all that a class's modules are built with is its library's, so that nobody misses a call."""
        for each in cls.__mro__:
            if each not in self._own:
                self._own[each] = _is_librarys(each)
        return all(self._own[each] for each in cls.__mro__)


class _Noted:
    """What is known of the blocks that are built with the same arguments.

    Attributes:
        times: how many there were.
        mould: what gives others, once that is known.
        states: of the configurations among the arguments.
        is_hopeless: each has to be built.
    """

    def __init__(self) -> None:
        self.times = 0
        self.mould: Mould | None = None
        self.states: list[Any] = []
        self.is_hopeless = False
        self._form: Form | None = None

    def add(self, form: Form | None, states: list[Any], is_own: Callable[[Any], bool]) -> None:
        """Take in what one more turned out as."""
        if form is None or not all(map(is_own, form.classes())):
            self.is_hopeless = True
        elif self._form is None or self.states != states:
            self._form, self.states, self.mould = form, states, None
        else:
            self.mould = self._form.agreed(form)
            self.is_hopeless = self.mould is None


class _UnknownArgumentError(Exception):
    """A block is given what nobody can tell to be the same as the last time."""


def _key(values: Any, states: list[Any]) -> tuple[Any, ...]:
    """Return arguments as a key; configurations, which can change, go into the list too."""
    import torch

    key: list[Any] = []
    for value in values:
        if type(value) is tuple:
            key.append(_key(value, states))
        elif is_atomic(value):
            key.append((type(value), value))
        elif isinstance(value, type | FunctionType | BuiltinFunctionType | torch.dtype | torch.device):
            key.append(Same(value))
        elif isinstance(value, _configuration()):
            key.append(Same(value))
            states.append(value)
        else:
            raise _UnknownArgumentError
    return tuple(key)


def _configuration() -> Any:
    module = sys.modules.get("transformers.configuration_utils")
    return getattr(module, "PreTrainedConfig", None) or getattr(module, "PretrainedConfig", ())


def _state(value: Any) -> Any:
    """Return what a configuration has, with copies of what can change."""
    if isinstance(value, _configuration()):
        own = object.__getattribute__(value, "__dict__")
        return (Same(value), {name: _state(each) for name, each in own.items()})
    return value.copy() if type(value) in (dict, list, set) else value


def _is_librarys(cls: Any) -> bool:
    """Tell whether a class's own functions are those that its library gave it, or ours that stand before them."""
    known = (*_KNOWN, cls.__module__.partition(".")[0])
    for name, value in vars(cls).items():
        if name == "__init__":
            value = repeated_modules.present(cls)
        settings = getattr(getattr(value, "__func__", value), "__globals__", None)
        if settings is not None and str(settings.get("__name__")).partition(".")[0] not in known:
            return False
    return True
