"""``warpload.to_device``: a module, or a pipeline, that is in memory already."""

from __future__ import annotations

from typing import Any

import torch

from .. import devices
from ..dtypes import as_dtype
from ..errors import InvalidArgumentError
from . import modules, pipeline_to


def to_device(module: Any, device: str | int | torch.device, dtype: torch.dtype | str | None = None) -> Any:
    """Bring a module, or a pipeline of diffusers, to a device, in place, as ``module.to(device, dtype)`` does.

    Every tensor that lies in the CPU's memory goes through the core, cast on its way where ``dtype`` says so. Tensors
    that share memory share it afterwards. What the core does not move (sparse tensors, tensor subclasses, devices other
    than CUDA's) is moved by torch.

    Args:
        module: a ``torch.nn.Module``, or a pipeline.
        device: where to.
        dtype: the dtype of all floating-point parameters and buffers, as ``torch.float16``, ``"float16"`` or ``"F16"``;
            None keeps each one's own. As for ``module.to`` it is a floating-point or complex one.

    Returns:
        The module.

    Raises:
        OutOfMemoryError: it does not fit (a ``torch.OutOfMemoryError`` on a GPU); the module is as it was.
        DeviceError: the driver reported an error, or there is no such GPU; the module is as it was.
        InvalidArgumentError: the first argument is neither a module nor a pipeline, or there is no such dtype.
        TypeError: the dtype is one of integers; the module is as it was.
    """
    wanted = as_dtype(dtype)
    devices.require(device)
    if isinstance(module, torch.nn.Module):
        if (target := devices.arena_device(device)) is not None:
            modules.move([module], target, wanted)
        return module.to(device, wanted)
    if not hasattr(module, "components"):
        raise InvalidArgumentError(f"{type(module).__name__} is neither a module nor a pipeline")
    return pipeline_to.move(module, device, wanted)
