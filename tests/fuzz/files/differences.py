"""Where the core and the safetensors package (with torch) may disagree, and why. Everything else is a finding.

The tables map a pattern, of the refusal, to the reason.
"""

from __future__ import annotations

import re

# The package loads it, the core refuses it.
CORE_REFUSES: dict[str, str] = {
    r"duplicate key": "of two entries of one name the package silently takes the last",
    r"nested deeper than": "the core bounds the depth of what it skips, the package at 128",
    r"(climbs out|is an absolute path|is a folder|is empty|NUL byte)": "an index may name files of its own folder only",
    r"the index maps this tensor to the shard": "an index of other shards: stock misses the tensor later",
    r"the tensor is in .* as well": "of two shards with one tensor stock silently takes the last",
    r"the weight_map is empty": "stock loads nothing and misses every tensor later",
    r"weight_map must be": "of two weight_maps stock takes the last, whatever the first is",
    r"the index is not valid JSON": "Python's parser takes NaN, Infinity and lone surrogates, which are no JSON",
}

# Until the core reads headers as leniently as the package does. To be removed then.
CORE_REFUSES |= {
    r"unknown field": "unknown fields of an entry are skipped by the package",
    r"a tensor's entry must be an object": "the package takes an entry as the array of its fields",
    r"dtype must be a string, found an object": 'the package takes {"F32": null} for "F32"',
}

# Until errors of the conversion to torch know their file. To be removed then.
WITHOUT_FILE: dict[str, str] = {
    r"the installed torch has no dtype for": "found while tensors become torch's",
    r"torch's F4 takes two elements for one": "found while tensors become torch's",
}

# The core loads it, the package refuses it.
PACKAGE_REFUSES: dict[str, str] = {}


def reason(table: dict[str, str], refusal: str) -> str | None:
    """Return why a refusal by one of the two is known; None where it is not."""
    return next((why for pattern, why in table.items() if re.search(pattern, refusal)), None)
