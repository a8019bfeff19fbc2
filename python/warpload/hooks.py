"""Where diffusers and transformers are made to ask the core: a short list of functions, replaced while it is wanted.

A replacement does nothing of its own unless ``active()``: code that kept a reference to one, and other threads, get
stock's behaviour. A library that is not imported yet is left alone until it is.

    install()        accelerated()            active() is true
       |                  |                   - after install(), everywhere
       +--- hold() -------+                   - inside accelerated(), on that thread
              |
     first: replace in the modules that are there, watch for the others
     last:  put everything back
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from . import forked

# Takes what is replaced and returns its replacement.
Wrapper = Callable[[Any], Any]


@dataclass(frozen=True)
class Target:
    """One attribute to replace.

    Attributes:
        owner: the class that has it, the empty string for the module itself, or ``"*"`` for every class of the module
            that has it.
        name: the attribute.
        wrapper: ``"module:function"`` below this package that makes the replacement.
    """

    owner: str
    name: str
    wrapper: str


_READ = Target("", "load_state_dict", "models.reader:load_state_dict")
_READ_SAFETENSORS = Target("", "safetensors", "models.reader:safetensors")
_READ_OPENED = Target("", "safe_open", "models.reader:safe_open")


def _adapter(*names: str) -> tuple[Target, ...]:
    return tuple(Target("*", name, "models.adapters:load_adapter") for name in names)


_TARGETS: dict[str, tuple[Target, ...]] = {
    "accelerate.big_modeling": (Target("", "init_on_device", "models.construction:init_on_device"),),
    "diffusers.configuration_utils": (
        Target("ConfigMixin", "from_config", "models.construction:from_config"),
        Target("ConfigMixin", "load_config", "pipelines.snapshot:load_config"),
    ),
    "diffusers.loaders.ip_adapter": (_READ, _READ_OPENED, *_adapter("load_ip_adapter")),
    "diffusers.loaders.lora_base": (_READ, _READ_SAFETENSORS),
    "diffusers.loaders.lora_pipeline": _adapter("load_lora_weights", "lora_state_dict"),
    "diffusers.loaders.peft": _adapter("load_lora_adapter"),
    "diffusers.loaders.single_file": (
        Target("FromSingleFileMixin", "from_single_file", "models.single_file:from_single_file"),
    ),
    "diffusers.loaders.single_file_model": (
        Target("FromOriginalModelMixin", "from_single_file", "models.single_file:from_single_file"),
    ),
    "diffusers.loaders.single_file_utils": (_READ,),
    "diffusers.loaders.textual_inversion": (_READ, _READ_SAFETENSORS, *_adapter("load_textual_inversion")),
    "diffusers.loaders.unet": (_READ, _READ_SAFETENSORS, *_adapter("load_attn_procs")),
    "diffusers.models.auto_model": (Target("AutoModel", "from_pretrained", "pipelines.snapshot:auto_model"),),
    "diffusers.models.model_loading_utils": (
        _READ,
        Target("", "ThreadPoolExecutor", "models.reader:thread_pool"),
    ),
    "diffusers.models.modeling_utils": (
        _READ,
        Target("", "no_init_weights", "models.construction:begins"),
        Target("ModelMixin", "_set_default_torch_dtype", "models.construction:begins"),
        Target("ModelMixin", "from_pretrained", "models.loading:diffusers_from_pretrained"),
    ),
    "diffusers.modular_pipelines.modular_pipeline": (
        Target("ModularPipeline", "load_components", "models.adapters:load_components"),
    ),
    "diffusers.modular_pipelines.modular_pipeline_utils": (
        Target("ComponentSpec", "load", "models.adapters:load_component"),
    ),
    "diffusers.pipelines.auto_pipeline": tuple(
        Target(f"AutoPipelineFor{task}", "from_pretrained", "pipelines.snapshot:auto_pipeline")
        for task in ("Image2Image", "Inpainting", "Text2Audio", "Text2Image")
    ),
    "diffusers.pipelines.pipeline_utils": (
        Target("DiffusionPipeline", "from_pretrained", "pipelines.loading:from_pretrained"),
        Target("DiffusionPipeline", "download", "pipelines.loading:download"),
        Target("DiffusionPipeline", "register_modules", "pipelines.loading:register_modules"),
    ),
    "transformers.modeling_utils": (
        _READ_OPENED,
        Target("", "caching_allocator_warmup", "models.warmup:caching_allocator_warmup"),
        Target("PreTrainedModel", "from_pretrained", "models.loading:transformers_from_pretrained"),
        Target("PreTrainedModel", "get_init_context", "models.construction:begins"),
    ),
}


@dataclass(frozen=True)
class _Replaced:
    owner: Any
    name: str
    before: Any
    after: Any


_lock = forked.Lock()
_holders = forked.Users()
_installed: object = None  # the holder that ``install`` added
_replaced: dict[str, list[_Replaced]] = {}
_accelerated: ContextVar[bool] = ContextVar("warpload_accelerated", default=False)


def active() -> bool:
    """Tell whether loads on this thread are to go through the core."""
    return _installed is not None or _accelerated.get()


def install() -> None:
    """Make loads of the whole process go through the core, until ``uninstall``; a second call changes nothing."""
    global _installed
    with _lock:
        if _installed is None:
            _installed = _hold()


def uninstall() -> None:
    """Undo ``install``; without one before, it changes nothing."""
    global _installed
    with _lock:
        if _installed is not None:
            holder, _installed = _installed, None
            _release(holder)


@contextlib.contextmanager
def accelerated() -> Iterator[None]:
    """Make loads on this thread go through the core inside the block."""
    with _lock:
        holder = _hold()
    token = _accelerated.set(True)
    try:
        yield
    finally:
        _accelerated.reset(token)
        with _lock:
            _release(holder)


def _hold() -> object:
    holder = _holders.add()
    _replace_everywhere()
    return holder


def _replace_everywhere() -> None:
    if _watcher not in sys.meta_path:
        sys.meta_path.insert(0, _watcher)
    for name in _TARGETS:  # each time: another thread may have been in the midst of importing one before
        if (module := sys.modules.get(name)) is not None and not _is_initialising(module):
            _replace_in(module)


def _release(holder: object) -> None:
    _holders.remove(holder)
    if len(_holders) == 0:
        _put_back_everywhere()


def _put_back_everywhere() -> None:
    if _watcher in sys.meta_path:
        sys.meta_path.remove(_watcher)
    for name in reversed(list(_replaced)):
        for replaced in reversed(_replaced[name]):
            if vars(replaced.owner).get(replaced.name) is replaced.after:  # else someone has replaced ours
                setattr(replaced.owner, replaced.name, replaced.before)
        del _replaced[name]  # last, so that a child of a fork in between can go on


@forked.anew_in_child
def _forget_other_threads() -> None:
    _holders.lost(but=_installed)
    if len(_holders) == 0:
        _put_back_everywhere()  # which another thread may have been in the midst of


def _is_initialising(module: ModuleType) -> bool:
    return bool(getattr(module.__spec__, "_initializing", False))


def _replace_in(module: ModuleType) -> None:
    with _lock:
        if len(_holders) == 0:
            return
        # Where a fork has caught another thread in the midst of this, the child goes on.
        done = _replaced.setdefault(module.__name__, [])
        names = {(replaced.owner, replaced.name) for replaced in done}
        for target in _TARGETS[module.__name__]:
            for owner in _owners(module, target):
                if (owner, target.name) in names:
                    continue
                before = vars(owner)[target.name]
                after = _wrapped(before, target.wrapper)
                # A function that came from another of our modules may be the replacement already.
                before = getattr(before, "__warpload_original__", before)
                done.append(_Replaced(owner, target.name, before, after))  # first, so that it can always be put back
                setattr(owner, target.name, after)


def _owners(module: ModuleType, target: Target) -> list[Any]:
    """Return who has the target: nobody in another version of the library, which does without."""
    own: list[Any] = [getattr(module, target.owner, None) if target.owner else module]
    if target.owner == "*":
        own = [each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__]
    return [each for each in own if each is not None and vars(each).get(target.name) is not None]


def _wrapped(before: Any, wrapper: str) -> Any:
    module, function = wrapper.split(":")
    wrap: Wrapper = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    if isinstance(before, classmethod):
        return classmethod(wrap(before.__func__))
    if hasattr(before, "__warpload_original__"):
        return before
    after = wrap(before)
    after.__warpload_original__ = before
    return after


class _Watcher(importlib.abc.MetaPathFinder):
    """Finds nothing itself; has the other finders' loaders tell when one of our modules has been executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _TARGETS:
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
