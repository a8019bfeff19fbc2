"""Whether anybody wants to see a bar: who watches, and what the libraries' own switches say.

    diffusers.utils.logging.disable_progress_bar()                  all loads but those of transformers' models alone
    transformers.utils.logging.disable_progress_bar()               loads of transformers' models alone
    huggingface_hub.utils.disable_progress_bars(), its variable     all loads; also by the name "warpload"

Nothing is imported to ask: a library that is not there has switched nothing off.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_TRUE = {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads its variables


def is_wanted(asked: bool | None, library: str) -> bool:
    """Tell whether a load that takes long is to show a bar.

    Args:
        asked: what the options say.
        library: whose switch counts: ``"diffusers"`` or ``"transformers"``.
    """
    if asked is None:
        return is_watched() and not is_switched_off(library)
    return asked


def is_watched() -> bool:
    """Tell whether a person sees what is written to the standard error: on a terminal, or in a notebook."""
    try:
        if sys.stderr.isatty():
            return True
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False
    return _is_notebook()


def is_switched_off(library: str) -> bool:
    """Tell whether the user has switched bars off, or is to see those of another process of the same job.

    Args:
        library: see ``is_wanted``.
    """
    if (enabled := _function(f"{library}.utils.logging", "is_progress_bar_enabled")) is not None and not enabled():
        return True
    is_first = _function("diffusers.utils.distributed_utils", "is_torch_dist_rank_zero")
    if is_first is not None and not is_first():
        return True
    if (disabled := _function("huggingface_hub.utils", "are_progress_bars_disabled")) is not None:
        return bool(disabled("warpload"))
    return os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS", "").upper() in _TRUE


def _function(module: str, name: str) -> Any:
    """Return a public function of a module that is imported, or None."""
    return getattr(sys.modules.get(module), name, None)


def _is_notebook() -> bool:
    if (get_shell := _function("IPython", "get_ipython")) is None:
        return False
    shell = get_shell()
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})
