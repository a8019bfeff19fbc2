"""transformers' tensors that are where they have to be already: taken as they are, and not by threads.

While it places tensors transformers has a pool of threads read each of them, and bring it to its device and dtype. Of
those that the core has loaded a thread would only take another view, and handing them over takes longer than that.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from . import seam_check
from .confined import Confined

_take = Confined(lambda: sys.modules["transformers.core_model_loading"], "spawn_materialize")


@contextlib.contextmanager
def taken_without_threads() -> Iterator[None]:
    """Have transformers take the tensors that it is given by itself, on this thread inside the block.

    The library's own threads compute gradients whatever its caller does, and have not got his inference mode: where
    that makes a difference they go on.
    """
    import torch

    there = "transformers.core_model_loading" in sys.modules and seam_check.is_whole("repetitions")
    if not there or not _take.exists() or not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        yield
        return
    with _take.replaced(_in_turn):
        yield


def _in_turn(below: Callable[..., Any], thread_pool: Any, tensor: Any, *arguments: Any, **keywords: Any) -> Any:
    """Replace ``spawn_materialize``: without a pool it returns what is called when the tensor is needed."""
    return below(None, tensor, *arguments, **keywords)
