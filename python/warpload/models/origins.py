"""Where the parameters of models that the core placed come from: file, tensor and dtype, noted when they are placed.

A parameter and a tensor of the file belong together if they have the same memory, whatever the libraries call them.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import prefetch_part
from ..stock import module_tree

if TYPE_CHECKING:
    import torch

    from .weights import ModelWeights


class Placed(NamedTuple):
    """One parameter.

    Attributes:
        tensor: its name in the file.
        code: the dtype that this was read as.
        parameter: refers to it.
        version: how often it had been changed in place, as torch counts; None where torch does not.
        part: which elements of the tensor it has, from the first to the one behind the last; None where it has all.
    """

    tensor: str
    code: str
    parameter: weakref.ref[torch.nn.Parameter]
    version: int | None
    part: tuple[int, int] | None = None

    def cut(self, tensor: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """Return the parameter's part of the file's tensor."""
        return tensor if self.part is None else tensor.flatten()[slice(*self.part)].reshape(shape)


@dataclass(frozen=True)
class Origin:
    """The file of one model.

    Attributes:
        path: the file or index.
        states: what tells it from another file of that name; None where it was gone already.
        placed: by the names of the parameters in the model.
        made: the names of the parameters that were made of the file's tensors when it was converted.
    """

    path: Path
    states: list[tuple[int, ...]] | None
    placed: dict[str, Placed]
    made: frozenset[str] = frozenset()


_origins: weakref.WeakKeyDictionary[Any, Origin] = weakref.WeakKeyDictionary()


def note(loaded: Any, weights: ModelWeights) -> None:
    """Note where the parameters of a model that was just placed come from.

    Args:
        loaded: the model, or a tuple that begins with it.
        weights: its tensors.
    """
    model = loaded[0] if isinstance(loaded, tuple) else loaded
    files = {tensor.data_ptr(): name for name, tensor in weights.tensors().items() if tensor.numel()}
    codes = weights.codes()
    placed: dict[str, Placed] = {}
    for prefix, module in module_tree.walk(model):
        for name, parameter in module._parameters.items():
            if parameter is None or (tensor := files.get(parameter.data_ptr())) is None:
                continue
            placed[prefix + name] = Placed(tensor, codes[tensor], weakref.ref(parameter), version_of(parameter))
    _origins[model] = Origin(weights.path, prefetch_part.states_of([weights.path]), placed)


def note_converted(model: Any, origin: Origin) -> None:
    """Note where the parameters of a model come from that was placed from a file which stock has converted."""
    _origins[model] = origin


def of(model: Any) -> Origin | None:
    """Return where a model's parameters come from, or None where the core did not place them."""
    return _origins.get(model)


def version_of(parameter: torch.Tensor) -> int | None:
    """Return how often a tensor was changed in place, or None where torch does not count."""
    return None if parameter.is_inference() else parameter._version
