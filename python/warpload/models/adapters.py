"""Adapters (LoRA, textual inversion, IP adapters): stock loads them.

The core reads the safetensors files that stock's code asks for; the call's report says who read each.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from .. import context
from ..context import LoadContext
from ..report import LoadReport
from .stock_load import source_name, why_nothing_was_read

logger = logging.getLogger("warpload")

Function = Callable[..., Any]


def load_adapter(stock: Function, self: Any, *arguments: Any, **keywords: Any) -> Any:
    """Replace a method of diffusers that loads an adapter's files, such as ``load_lora_weights``."""
    outer = context.current()
    if outer is not None and outer.report.kind == "adapter":
        return stock(self, *arguments, **keywords)
    source = source_name(arguments[0] if arguments else next(iter(keywords.values()), None))
    with context.began(LoadReport(source, kind="adapter")) as load, load.report.stage("load"):
        try:
            return stock(self, *arguments, **keywords)
        finally:
            names = _file_names(arguments[0] if arguments else None, keywords)
            _tell(load, dict.fromkeys(names, f"stock: {why_nothing_was_read(keywords)}"))


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
