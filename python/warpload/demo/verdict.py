"""What `warpload demo` says in the end: one sentence for people, and the same with every median as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import warpload
from warpload.demo.table import ROWS
from warpload.measuring.comparison import LOADERS, Comparison
from warpload.measuring.runs import median_seconds
from warpload.units import duration


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Return one sentence: how many times as fast, identical or not, and what stock loaded in both."""
    if not comparisons:
        return "Nothing was compared."
    if not all(each.is_of_the_core for each in comparisons):
        return "The core loaded nothing, so there is nothing to compare."
    speeds = " and ".join(map(_speed, comparisons))
    return f"From its start to a ready pipeline a script was {speeds}; {_equality(comparisons)}{_stocks(comparisons)}."


def _speed(comparison: Comparison) -> str:
    stock, own = (median_seconds(comparison.of(loader, "whole"), "total") for loader in LOADERS)
    times = stock / own if own > 0 else 1.0
    compared = f"{times:.1f} times as fast as" if times >= 1 else f"{1 / times:.1f} times as slow as"
    return f"{compared} with stock in {comparison.dtype} ({duration(own)}, stock {duration(stock)})"


def _equality(comparisons: Sequence[Comparison]) -> str:
    differing = sum(len(each.differences) for each in comparisons)
    if differing:
        return "1 tensor or component DIFFERS" if differing == 1 else f"{differing} tensors or components DIFFER"
    return f"all {max(each.tensor_count for each in comparisons):,} tensors are identical, bit for bit"


def _stocks(comparisons: Sequence[Comparison]) -> str:
    named = list(dict.fromkeys(name for each in comparisons for name in each.by_stock))
    return f"; stock loaded {', '.join(named)} in both" if named else ""


def as_dict(model: Path, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Return plain data for JSON.

    Returns:
        ``model``, ``warpload`` (its version), ``verdict``, ``identical``, and ``comparisons``: by dtype the median
        ``seconds`` of each row of the table by loader, ``tensors`` compared, ``differences``, and ``loaded_by_stock``
        with reasons.
    """
    return {
        "model": str(model),
        "warpload": warpload.__version__,
        "verdict": verdict(comparisons),
        "identical": all(each.is_of_the_core and not each.differences for each in comparisons),
        "comparisons": [_compared(each) for each in comparisons],
    }


def _compared(comparison: Comparison) -> dict[str, Any]:
    seconds = {
        name: {loader: median_seconds(comparison.of(loader, mode), *stages) for loader in LOADERS}
        for name, mode, stages in ROWS
        if all(comparison.of(loader, mode) for loader in LOADERS)
    }
    return {
        "dtype": comparison.dtype,
        "seconds": seconds,
        "tensors": comparison.tensor_count,
        "differences": list(comparison.differences),
        "loaded_by_stock": comparison.by_stock,
    }
