"""One contender's load in a process of its own, which ends in time, and with this one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warpload.measuring.fresh_process import run_process

from . import contender
from .processes import die_with_parent


def run_contender(options: Sequence[str], *, seconds: float, overlay: Path | None = None) -> dict[str, Any]:
    """Run contender.py in a fresh process and return its result.

    Args:
        options: of its command line.
        seconds: after which it is killed.
        overlay: folder of packages that come before the installed ones.

    Raises:
        OutOfTimeError: it was killed after that time.
        ContenderError: it failed.
    """
    changes = {}
    if overlay is not None:
        changes["PYTHONPATH"] = os.pathsep.join(filter(None, [str(overlay), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, contender.__file__, *options]
    result, _ = run_process(command, limit=seconds, environment=changes, prepare=die_with_parent())
    return result
