"""Which versions of the libraries the tests run with."""

from __future__ import annotations

from pathlib import Path

import diffusers
import transformers

CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"


def is_pinned() -> bool:
    """Tell whether diffusers and transformers are those that constraints.txt pins; older ones lack some classes."""
    pinned = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    return (diffusers.__version__, transformers.__version__) == (pinned["diffusers"], pinned["transformers"])
