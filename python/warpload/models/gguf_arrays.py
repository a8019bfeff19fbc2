"""The ``gguf`` package's ``dequantize``, by the core: transformers calls it for each tensor of a ``gguf_file``.

The package works in numpy, on one core and in several passes. What the core does not dequantise is the package's.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

from .. import _core, engine
from ..errors import InvalidArgumentError
from ..stock import torch_modes
from ..stock.confined import Confined

_dequantize = Confined(lambda: importlib.import_module("gguf"), "dequantize")


def dequantised_by_core() -> contextlib.AbstractContextManager[None]:
    """Let the core stand for ``gguf.dequantize`` on this thread inside the block; the bits are the same."""
    return _dequantize.replaced(_by_core)


def _by_core(package: Callable[..., Any], data: Any, qtype: Any) -> Any:
    """Return the numbers of an array of blocks, as a float32 array of its own."""
    import numpy as np

    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or not data.flags.c_contiguous or not data.size:
        return package(data, qtype)
    if not _is_supported(int(qtype)) or torch_modes.interposed() is not None:
        return package(data, qtype)
    described = [("w", "U8", list(data.shape), data.ctypes.data, data.nbytes)]
    checkpoint = _core.Checkpoint.from_memory(described, data, {"w": int(qtype)})
    (tensors,) = engine.load([engine.request(checkpoint, dtype="F32")], [None])
    return tensors["w"].numpy()


def _is_supported(number: int) -> bool:
    try:
        return _core.is_dequantization_supported(number, "F32")
    except InvalidArgumentError:  # no type of blocks: bfloat16
        return False
