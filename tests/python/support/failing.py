"""What fails in another process: functions and a data set that every start method can import there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import warpload


def load(file: Path) -> list[str]:
    """Load a file whose error is to reach the process that asked for it."""
    return list(warpload.load_file(file))


class FailingDataset(torch.utils.data.Dataset[Any]):
    """Its only item is a file that cannot be loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return load(self.file)
