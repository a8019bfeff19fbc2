"""Where the core and the safetensors package (with torch) may disagree, and why. Everything else is a finding.

The tables map a pattern, of the refusal, to the reason.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

# The package loads it, the core refuses it.
CORE_REFUSES: dict[str, str] = {
    r"duplicate key": "of two entries of one name the package silently takes the last; see repeats_a_name",
    r"nested deeper than": "Python's parser, which reads an index for stock, takes any depth",
    r"more than \d+ dimensions": "a bound on what a hostile shape costs",
    r"(climbs out|is an absolute path|is a folder|is empty|NUL byte)": "an index may name files of its own folder only",
    r"the index maps this tensor to the shard": "an index of other shards: stock misses the tensor later",
    r"the tensor is in .* as well": "of two shards with one tensor stock silently takes the last",
    r"the weight_map is empty": "stock loads nothing and misses every tensor later",
    r"weight_map must be": "of two weight_maps stock takes the last, whatever the first is",
    r"the index is not valid JSON": "Python's parser takes NaN, Infinity and lone surrogates, which are no JSON",
}

# The core loads it, the package refuses it.
PACKAGE_REFUSES: dict[str, str] = {}


def reason(table: dict[str, str], refusal: str) -> str | None:
    """Return why a refusal by one of the two is known; None where it is not."""
    return next((why for pattern, why in table.items() if re.search(pattern, refusal)), None)


def repeats_a_name(file: Path) -> bool:
    """Tell whether a header that the package takes has two tensors of one name.

    It silently takes the last, whatever the first is; the core refuses what it comes across first.
    """
    content = file.read_bytes()
    header: list[tuple[str, Any]] = json.loads(
        content[8 : 8 + int.from_bytes(content[:8], "little")], object_pairs_hook=list
    )
    return len({name for name, _ in header}) < len(header)
