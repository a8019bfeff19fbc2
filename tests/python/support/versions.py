"""Which versions of the libraries the tests run with."""

from __future__ import annotations

from pathlib import Path

import diffusers
import torch
import transformers

CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"


def is_pinned() -> bool:
    """Tell whether diffusers and transformers are those that constraints.txt pins; older ones lack some classes."""
    lines = [line.partition(";")[0] for line in CONSTRAINTS.read_text().splitlines()]
    pinned = dict(line.split("==") for line in lines if "==" in line)
    return (diffusers.__version__, transformers.__version__) == (pinned["diffusers"], pinned["transformers"])


# What torch raises for a device's error; torch 2.6 has no class of its own for it.
TORCHS_DEVICE_ERROR: type[RuntimeError] = getattr(torch, "AcceleratorError", RuntimeError)
