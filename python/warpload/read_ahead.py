"""Files brought into the page cache before anybody reads them: those that a load maps, and those that have to wait."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from . import _core

_STEP = 16 * 2**20  # bytes that are asked for between two looks at whether it is enough


def read_ahead(files: Iterable[Path], is_enough: Callable[[], bool]) -> int:
    """Have the system read files into its page cache, one after the other, no more than there is free memory for.

    Bytes that are there already cost next to nothing. What cannot be read is passed over: whoever needs it says why.

    Args:
        files: in the order in which they will be used.
        is_enough: ends it where it returns true; asked every few MiB.

    Returns:
        The bytes that were asked for.
    """
    left, asked = available_bytes(), 0
    for file in files:
        with contextlib.suppress(OSError), file.open("rb", buffering=0) as opened:
            size = os.fstat(opened.fileno()).st_size
            for begin in range(0, size, _STEP):
                step = min(_STEP, size - begin)
                if is_enough() or step > left:
                    return asked
                _core.ask_ahead(opened.fileno(), begin, begin + step)
                left, asked = left - step, asked + step
    return asked


def available_bytes() -> int:
    """Return the memory that the system can give without writing anything out, no more than a container's limit leaves.

    It is 0 where the system does not say.
    """
    return _core.available_memory()
