"""Modes of torch that a caller may be in, under which only stock's own operations give stock's result.

Most modes need no thought: gradients on or off, inference, autocast, another default dtype and so on mean the same to
tensors that the core made. A mode that sees every operation (``FakeTensorMode``, functional transforms, a user's own
``TorchDispatchMode`` or ``TorchFunctionMode``) may answer each with something else: it has to see stock's.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def interposed() -> str | None:
    """Name the mode on this thread that sees every operation, or return None where there is none."""
    if "torch" not in sys.modules:  # nobody has entered a mode
        return None
    import torch
    from torch.utils._device import DeviceContext
    from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

    for mode in (*_get_current_dispatch_mode_stack(), *_function_modes()):
        if not isinstance(mode, DeviceContext):
            return type(mode).__name__
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a functional transform"
    return None


def default_device() -> torch.device | None:
    """Return the device on which torch makes tensors on this thread, or None where nobody has chosen one.

    ``torch.set_default_device`` and ``with torch.device(...)`` choose.
    """
    if "torch" not in sys.modules:
        return None
    import torch
    from torch.utils._device import DeviceContext

    chosen = [mode.device for mode in _function_modes() if isinstance(mode, DeviceContext)]
    return torch.device(chosen[-1]) if chosen else None


def _function_modes() -> list[Any]:
    import torch

    modes: list[Any] = torch.overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return modes
