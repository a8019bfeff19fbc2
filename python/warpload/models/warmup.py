"""The memory that transformers takes and gives back before it loads, so that torch's allocator has it at hand.

Around tensors that lie in the arena already it would double the peak.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

_spared: ContextVar[bool] = ContextVar("warpload_warmup_spared", default=False)


@contextlib.contextmanager
def spared() -> Iterator[None]:
    """Leave the warm-up out on this thread inside the block."""
    token = _spared.set(True)
    try:
        yield
    finally:
        _spared.reset(token)


def caching_allocator_warmup(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``transformers.modeling_utils.caching_allocator_warmup``."""

    @functools.wraps(original)
    def warm_up(*arguments: Any, **keywords: Any) -> Any:
        return None if _spared.get() else original(*arguments, **keywords)

    return warm_up
