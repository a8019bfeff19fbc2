"""Files of a quantised model: planned with the models beside it, and handed to the library's own quantiser.

Quantisers know what packed tensors, scales and states mean; the core does not. So stock's code runs, and where it asks
for a file it gets the tensors of the plan, each in the file's own dtype: views of the mapping, whose pages are on their
way since before the library was imported. Source tensors that are quantised while they are loaded are views, too, and
take no memory of the process's own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .. import mounts
from ..errors import WarploadError
from ..stock import model_files
from ..stock.call import Call
from ..stock.refusal import NotNativeError
from .joint_load import JointLoad
from .native_load import find_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..open_file import Began
    from .weights import ModelWeights


class PlannedFiles:
    """The files of one model that stock places.

    Nothing is opened before stock asks for a file: what it refuses before (a package that is missing, a wrong
    configuration) costs no reading.

    Args:
        call: the call of ``from_pretrained``.
        joint: the load whose plan the model is in, or gets one in.
    """

    def __init__(self, call: Call, joint: JointLoad) -> None:
        self._claim: Callable[[], ModelWeights | None] | None = lambda: _claimed(call, joint)
        self._weights: ModelWeights | None = None
        self._files: set[str] = set()

    def has(self, filename: str | os.PathLike[str]) -> Began | None:
        """Return the load, and the segment in it, that holds all tensors of a file, or None where none does.

        Args:
            filename: as stock spells it.
        """
        if self._claim is not None:
            claim, self._claim = self._claim, None
            self._weights = claim()
            if self._weights is not None:
                self._files = {os.path.realpath(file) for file in model_files.shards_of(self._weights.path)}
        if self._weights is None or os.path.realpath(filename) not in self._files:
            return None
        self._weights.wait_arrival()
        return self._weights.began


def _claimed(call: Call, joint: JointLoad) -> ModelWeights | None:
    """Return the weights, or None where stock's reader is to have each file by itself, and to say what is wrong."""
    try:
        path = call.weights_file(find_folder(call))
        if path is None or not can_be_planned(joint, path):
            return None
        weights = joint.claim(call.label, path, None)
    except (NotNativeError, WarploadError):
        return None
    if weights.oddities or not weights.is_mapped():
        joint.refuse(weights)
        return None
    return weights


def can_be_planned(joint: JointLoad, path: Path) -> bool:
    """Tell whether a model's files may be mapped: a copy of what is to be quantised would need all of its memory."""
    return joint.zero_copy and not mounts.forbid_mapping(model_files.shards_of(path))
