"""Models are constructed one at a time, ours and those that stock constructs under our eyes.

torch's default dtype is one for the process, and stock's libraries patch what all threads share while they construct:
diffusers ``torch.nn.init``, transformers several functions, accelerate ``torch.nn.Module.register_parameter``. Two
threads that do so at once spoil each other's models, and leave a patch behind. So:

- whoever constructs holds ``construction_lock``; stock's own ``from_pretrained`` takes it where it begins to
  construct (what it looks up and downloads before that needs none) and keeps it to its end;
- accelerate's patch counts on the thread that asked for it, and on no other;
- code that is none of ours and patches all the same is named in the log; a model that lost tensors to it is built anew.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .. import context
from ..errors import WarploadError
from . import seam_check
from .confined import Confined
from .construction_lock import construction_lock
from .refusal import some_of
from .torch_modes import default_device

logger = logging.getLogger("warpload")

Function = Callable[..., Any]


def _module_class() -> Any:
    from torch.nn import Module

    return Module


_register_parameter = Confined(_module_class, "register_parameter")


# -- the lock ---------------------------------------------------------------------------------------------------------


class Turn:
    """One call of stock's that has the lock from where it begins to construct to its end.

    Attributes:
        what: is being constructed, for the log.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.held = contextlib.ExitStack()
        self.begun = False


@contextlib.contextmanager
def turn_when_begun(what: str) -> Iterator[None]:
    """Have the lock from where stock begins to construct, inside the block, until the block's end."""
    load = context.current()
    if load is None:  # nobody's load: a program's own order stands
        yield
        return
    outer, load.turn = load.turn, Turn(what)
    try:
        with load.turn.held:
            yield
    finally:
        load.turn = outer


def _begin() -> None:
    """Take the lock for the call of stock's that this is part of, if it has not got it.

    The threads with which stock reads shards have no load of their own: they construct nothing, and must not wait.
    """
    load = context.current()
    turn = None if load is None else load.turn
    if turn is not None and not turn.begun:
        turn.begun = True
        turn.held.enter_context(constructing(turn.what))


@contextlib.contextmanager
def constructing(what: str) -> Iterator[None]:
    """Hold the lock, and say so where other code has patched what models are constructed with.

    Args:
        what: is being constructed, for the log.
    """
    with construction_lock:
        if (patch := foreign_patch()) is not None:
            logger.warning("%s while %s is put together: build models one at a time beside warpload's", patch, what)
        yield


def foreign_patch() -> str | None:
    """Say which function that constructs models is patched by code that is none of ours, or None."""
    import torch

    parameter, buffer = registering()
    found = {
        "torch.nn.Module.register_parameter": parameter,
        "torch.nn.Module.register_buffer": buffer,
        "torch.nn.init.normal_": torch.nn.init.normal_,
        "torch.nn.init.kaiming_uniform_": torch.nn.init.kaiming_uniform_,
    }
    for name, function in found.items():
        if function is None:
            continue
        module, qualified = getattr(function, "__module__", ""), getattr(function, "__qualname__", repr(function))
        if f"{module}.{qualified}" not in (name, name.replace("torch.nn.Module", "torch.nn.modules.module.Module")):
            return f"{name} is patched process-wide, by {module}.{qualified},"
    return None


def registering() -> tuple[Any, Any]:
    """Return what registers parameters and buffers, as others see it."""
    import torch

    return _register_parameter.present(), vars(torch.nn.Module).get("register_buffer")


# -- models that are whole --------------------------------------------------------------------------------------------


def undisturbed(
    what: str,
    build: Callable[[], Any],
    holding: Callable[[str], contextlib.AbstractContextManager[None]] = constructing,
    *,
    device_map: Any = None,
) -> Any:
    """Build a transformers model; anew, where code beside us put parameters of it on the meta device meanwhile.

    A patch that is there before and afterwards may well be this thread's own (``with init_empty_weights():``): the
    model is then what stock makes of it.

    Args:
        what: is being built, for the log.
        build: builds it; a model, or a tuple of a model and what goes with it.
        holding: how the lock is held, ``constructing`` or ``turn_when_begun``.
        device_map: where the caller wants it; the meta device may be what he asks for.

    Raises:
        WarploadError: it has parameters on meta once more.
    """
    with holding(what):
        before = foreign_patch()
        built = build()
        lost = set() if "meta" in str(device_map) else _lost(built)
        if not lost or (before is not None and foreign_patch() == before):
            return built
        logger.error(
            "%s has no values in %s: code outside warpload patched torch.nn.Module.register_parameter meanwhile"
            " (such as accelerate's init_empty_weights on another thread); it is built anew",
            what,
            some_of(lost),
        )
        del built
        built = build()
        if lost := _lost(built):
            raise WarploadError(
                f"{what} has no values in {some_of(lost)}, though it was built twice: code outside warpload"
                " patches torch.nn.Module.register_parameter for the whole process; build models one at a time"
            )
        return built


def _lost(built: Any) -> set[str]:
    """Return the parameters and buffers without values, where stock would not have left them so."""
    model = built[0] if isinstance(built, tuple) else built
    if not hasattr(model, "named_parameters") or _register_parameter.wanted_here() or default_device() is not None:
        return set()
    devices = {str(device) for device in (getattr(model, "hf_device_map", None) or {}).values()}
    if len(devices) > 1 or "disk" in devices:  # what is offloaded has its values elsewhere
        return set()
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name for name, tensor in tensors if tensor.is_meta}


# -- what stock constructs with ---------------------------------------------------------------------------------------


def init_on_device(stock: Function, device: Any, include_buffers: bool | None = None) -> Any:
    """Replace ``accelerate.big_modeling.init_on_device``: it counts on this thread only."""
    if not seam_check.is_whole("construction"):
        return stock(device, include_buffers=include_buffers)
    if include_buffers is None:
        from_environment = seam_check.read("accelerate.utils", "parse_flag_from_env")
        include_buffers = from_environment("ACCELERATE_INIT_INCLUDE_BUFFERS", False)
    if include_buffers:  # it is torch's own context then, this thread's alone
        return stock(device, include_buffers=include_buffers)
    return parameters_on(device)


@contextlib.contextmanager
def parameters_on(device: Any, but: Callable[[], bool] = bool) -> Iterator[None]:
    """Bring each parameter that this thread registers inside the block to a device.

    Args:
        device: the device.
        but: tells whether the one that is registered now is to stay.
    """
    _begin()
    with _in_our_load(), _building(), _register_parameter.replaced(functools.partial(_register_on, device, but)):
        yield


def _building() -> contextlib.AbstractContextManager[None]:
    """Return what the load under way wants a model to be built in."""
    load = context.current()
    return contextlib.nullcontext() if load is None or load.building is None else load.building()


def often_elsewhere() -> contextlib.AbstractContextManager[None]:
    """Return a block in which ``parameters_on`` costs less, for code that goes through it many times."""
    return _register_parameter.kept()


def registers_elsewhere() -> bool:
    """Tell whether parameters that this thread registers now are brought to a device by ``parameters_on``."""
    return _register_parameter.wanted_here()


def _register_on(device: Any, but: Callable[[], bool], below: Function, module: Any, name: str, param: Any) -> None:
    """Register a parameter and bring it to the device, as accelerate does."""
    below(module, name, param)
    if param is None or but():
        return
    made = module._parameters[name]
    settings = made.__dict__
    settings["requires_grad"] = param.requires_grad
    # transformers' mark is no argument of a parameter's constructor.
    initialised = settings.pop("_is_hf_initialized", None)
    module._parameters[name] = type(made)(made.to(device), **settings)
    if initialised is not None:
        module._parameters[name]._is_hf_initialized = initialised


def _in_our_load() -> contextlib.AbstractContextManager[Any]:
    """Return the lock where this is part of a load of models; elsewhere a program's own order stands."""
    load = context.current()
    return construction_lock if load is not None and load.joint is not None else contextlib.nullcontext()


def begins(stock: Function, *arguments: Any, **keywords: Any) -> Any:
    """Replace a function with which stock begins to construct a model."""
    _begin()
    return stock(*arguments, **keywords)


# -- what was built and is not to be built again ----------------------------------------------------------------------


@dataclass(frozen=True)
class Built:
    """A diffusers model without weights that the core built and stock goes on with.

    Attributes:
        cls: its class.
        config: what it was built from.
        settings: the keyword arguments.
        model: the model.
    """

    cls: Any
    config: dict[str, Any]
    settings: dict[str, Any]
    model: Any

    def is_for(self, cls: Any, config: Any, settings: dict[str, Any]) -> bool:
        """Tell whether it is what these would be built to."""
        return (self.cls, self.config, self.settings) == (cls, config, settings)


def can_be_handed_over(cls: Any) -> bool:
    """Tell whether the class is built by diffusers' own ``from_config``, which ``from_config`` below stands before."""
    from diffusers.configuration_utils import ConfigMixin, LegacyConfigMixin

    own = getattr(cls.from_config, "__func__", None)
    return own is not None and own in (ConfigMixin.from_config.__func__, LegacyConfigMixin.from_config.__func__)


def from_config(stock: Function, cls: Any, config: Any = None, *arguments: Any, **keywords: Any) -> Any:
    """Replace ``diffusers.ConfigMixin.from_config``: stock goes on with a model that is built already.

    Building it again would draw, warn and count again.
    """
    load = context.current()
    built = None if load is None else load.built
    if load is not None and built is not None and not any(arguments) and built.is_for(cls, config, keywords):
        load.built = None
        return built.model
    with _in_our_load():
        return stock(cls, config, *arguments, **keywords)
