"""Stand-ins for other loaders' packages, in a folder as `warpload bench --packages` takes it."""

from __future__ import annotations

from pathlib import Path

# What each does: fails in its load, changes one bit, is not there.
FAILS = """
class SafeTensorsFileLoader:
    def __init__(self, *arguments, **keywords):
        raise RuntimeError("the ring is broken")
"""
CHANGES_A_BIT = """
import torch
from safetensors.torch import load_file

class SafetensorsStreamer:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def stream_files(self, files, device):
        self.files = files

    def get_tensors(self):
        tensors = {name: tensor for file in self.files for name, tensor in load_file(file).items()}
        changed = tensors[max(tensors)].view(torch.uint8).view(-1)
        changed[-1] ^= 64  # a bit that no cast rounds away
        return tensors.items()
"""
IS_NOT_THERE = 'raise ImportError("a part of tensorizer is not there")\n'


def write_rival(packages: Path, contender: str, module: str, distribution: str, source: str) -> None:
    """Write one contender's package.

    Args:
        packages: the folder of all of them.
        contender: its name in the table of contenders.
        module: what it is imported as.
        distribution: what pip calls it.
        source: of the module.
    """
    folder = packages / contender
    metadata = folder / f"{distribution.replace('-', '_')}-7.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 7.0\n", encoding="utf-8")
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
