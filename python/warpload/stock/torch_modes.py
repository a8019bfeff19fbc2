"""Modes of torch that a caller may be in, under which only stock's own operations give stock's result.

Most modes need no thought: gradients on or off, inference, autocast, another default dtype and so on mean the same to
tensors that the core made. A mode that sees every operation (``FakeTensorMode``, functional transforms, a user's own
``TorchDispatchMode`` or ``TorchFunctionMode``) may answer each with something else: it has to see stock's.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .refusal import NotNativeError
from .seam_check import read

if TYPE_CHECKING:
    import torch


def interposed() -> str | None:
    """Say which mode on this thread sees every operation, or return None where there is none.

    With a torch that does not say, every thread is taken to be in one.
    """
    if "torch" not in sys.modules:  # nobody has entered a mode
        return None
    try:
        device_context = read("torch.utils._device", "DeviceContext")
        dispatch_modes = read("torch.utils._python_dispatch", "_get_current_dispatch_mode_stack")()
        for mode in (*dispatch_modes, *_function_modes()):
            if not isinstance(mode, device_context):
                return _seen_by(type(mode).__name__)
        inside = read("torch._C._functorch", "peek_interpreter_stack")() is not None
    except NotNativeError as missing:
        return str(missing)
    return _seen_by("a functional transform") if inside else None


def _seen_by(mode: str) -> str:
    return f"torch's operations are seen by {mode}"


def default_device() -> torch.device | None:
    """Return the device on which torch makes tensors on this thread, or None where nobody has chosen one.

    ``torch.set_default_device`` and ``with torch.device(...)`` choose.
    """
    if "torch" not in sys.modules:
        return None
    import torch

    try:
        device_context = read("torch.utils._device", "DeviceContext")
        chosen = [mode.device for mode in _function_modes() if isinstance(mode, device_context)]
    except NotNativeError:
        return None  # all is left to stock then, see ``interposed``
    return torch.device(chosen[-1]) if chosen else None


def _function_modes() -> list[Any]:
    modes: list[Any] = read("torch.overrides", "_get_current_function_mode_stack")()
    return modes
