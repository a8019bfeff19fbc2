"""Weights that were saved as pickles: which files they are, and what stock's libraries call the same as safetensors.

A pickle is a program. The core opens none; stock reads those that hold nothing but tensors (``weights_only``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = frozenset({".bin", ".ckpt", ".pt", ".pth"})

# What the libraries save weights as -> what they call the same as safetensors.
_STEMS = {
    "diffusion_pytorch_model": "diffusion_pytorch_model",
    "pytorch_model": "model",
    "adapter_model": "adapter_model",
    "pytorch_lora_weights": "pytorch_lora_weights",
}
# diffusion_pytorch_model.fp16-00001-of-00002.bin, pytorch_model.bin.index.fp16.json
_WEIGHTS = re.compile(rf"({'|'.join(_STEMS)})((?:[.-][\w-]+)*)\.bin(\.index(?:\.\w+)?\.json)?")


def safetensors_name(name: str) -> str | None:
    """Return what a file or an index of pickled weights is called as safetensors; None for any other file."""
    found = _WEIGHTS.fullmatch(name)
    if found is None:
        return None
    stem, further, index = found.groups()
    return f"{_STEMS[stem]}{further}.safetensors{index or ''}"


def weights_in(folder: Path) -> Iterator[Path]:
    """Yield the files of pickled weights that lie in a folder, without their indexes."""
    for file in sorted(folder.iterdir()):
        if file.suffix == ".bin" and safetensors_name(file.name) is not None and file.is_file():
            yield file


def why_not_native(place: Path) -> str:
    """Say why the core loads nothing from a file or folder without safetensors, and what its user can do about that.

    Args:
        place: a file, or a model's folder.
    """
    pickles = [place] if place.suffix in SUFFIXES and place.is_file() else []
    if place.is_dir():
        pickles = list(weights_in(place))
    if not pickles:
        return "no safetensors"
    size = sum(file.stat().st_size for file in pickles)
    named = pickles[0].name + (f" and {len(pickles) - 1} more" if len(pickles) > 1 else "")
    return f"no safetensors, but {named} ({bytes_told(size)}): the core loads them after `warpload convert`"


def bytes_told(size: int) -> str:
    """Return a size as people read it."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}"
    return f"{size / 1e3:.2f} kB"
