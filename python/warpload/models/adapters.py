"""Adapters (LoRA, textual inversion, IP adapters): stock loads them.

The core reads the safetensors files that stock's code asks for; the call's report says who read each.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from .. import collector, context
from ..context import LoadContext
from ..report import LoadReport
from ..stock import repeated_adapters, repeated_modules, repeated_renames, replacing, torch_modes
from .loaded import is_ours
from .stock_load import source_name, why_nothing_was_read

logger = logging.getLogger("warpload")

Function = Callable[..., Any]


def load_adapter(stock: Function, self: Any, *arguments: Any, **keywords: Any) -> Any:
    """Replace a method of diffusers that loads an adapter's files, such as ``load_lora_weights``."""
    source = arguments[0] if arguments else next(iter(keywords.values()), None)
    with _adapter_of(self, source, keywords, named=arguments[0] if arguments else None):
        return stock(self, *arguments, **keywords)


def load_into_transformers(stock: Function, self: Any, *arguments: Any, **keywords: Any) -> Any:
    """Replace ``load_adapter`` of transformers' models, which diffusers calls for text encoders."""
    source = arguments[0] if arguments else keywords.get("peft_model_id")
    given = keywords.get("adapter_state_dict")
    with _adapter_of(self, source, keywords) as ours, _renames(given if ours else None):
        return stock(self, *arguments, **keywords)


def load_into_peft(stock: Function, self: Any, *arguments: Any, **keywords: Any) -> Any:
    """Replace ``load_adapter`` of peft's models."""
    source = arguments[0] if arguments else keywords.get("model_id")
    with _adapter_of(self, source, keywords):
        return stock(self, *arguments, **keywords)


def load_peft_model(stock: Function, cls: Any, *arguments: Any, **keywords: Any) -> Any:
    """Replace ``from_pretrained`` of peft's models, whose first argument is the model that gets the adapter."""
    model = arguments[0] if arguments else keywords.get("model")
    source = arguments[1] if len(arguments) > 1 else keywords.get("model_id")
    with _adapter_of(model, source, keywords):
        return stock(cls, *arguments, **keywords)


def _renames(keys: Any) -> contextlib.AbstractContextManager[None]:
    return repeated_renames.compiled_when_asked(keys) if keys else contextlib.nullcontext()


def _is_in_ours(owner: Any) -> bool:
    """Tell whether what gets an adapter is, or has in it, a model that the core loaded."""
    import torch

    if isinstance(owner, torch.nn.Module):
        return any(map(is_ours, owner.modules()))
    components = {} if isinstance(owner, type) else getattr(owner, "components", {})
    return any(is_ours(each) for each in components.values() if isinstance(each, torch.nn.Module))


_AS_SOURCE: Any = object()


@contextlib.contextmanager
def _adapter_of(owner: Any, source: Any, keywords: dict[str, Any], named: Any = _AS_SOURCE) -> Iterator[bool]:
    """Let the block be the load of an adapter, and tell whether it, or what it is a part of, goes through the core.

    Args:
        owner: what gets the adapter: a pipeline or a model, or a class where nothing does.
        source: what is loaded, for the report.
        keywords: of the call.
        named: what the file's name is taken from, where the call gives none; by default the source.
    """
    if not replacing.active() and not _is_in_ours(owner):
        yield False
        return
    outer = context.current()
    if outer is not None and outer.report.kind == "adapter":
        yield True
        return
    report = LoadReport(source_name(source), kind="adapter")
    with replacing.accelerated(), context.began(report) as load, report.stage("load"), _once():
        try:
            yield True
        finally:
            names = _file_names(source if named is _AS_SOURCE else named, keywords)
            _tell(load, dict.fromkeys(names, f"stock: {why_nothing_was_read(keywords)}"))


@contextlib.contextmanager
def _once() -> Iterator[None]:
    """Spare stock, inside the block, what it would do again for each of an adapter's layers."""
    with contextlib.ExitStack() as spared:
        spared.enter_context(collector.suspended())
        if torch_modes.interposed() is None:  # else a mode is to see each operation
            spared.enter_context(repeated_adapters.copied())
            spared.enter_context(repeated_modules.copied())
        yield


def _file_names(source: Any, keywords: dict[str, Any]) -> list[str]:
    """Return the names of an adapter's files as far as the call says them."""
    named = keywords.get("weight_name")
    given = named if isinstance(named, list | tuple) else [named or source]
    return [os.path.basename(os.path.normpath(each)) for each in given if isinstance(each, str | os.PathLike)]


def _tell(load: LoadContext, otherwise: dict[str, str]) -> None:
    """Tell who read each file; ``otherwise`` holds where nobody has asked the core."""
    report = load.report
    report.bytes += sum(load.reading.sizes)
    for name, who in (load.reading.readers or otherwise).items():
        report.components[name] = who
        if who == "native":
            report.placed_by_stock[name] = "an adapter"
        else:
            logger.warning("%s of %s is loaded by %s", name, report.source, who)
