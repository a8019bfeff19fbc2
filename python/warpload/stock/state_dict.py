"""A state dict of native tensors for transformers, which takes each with the dtype that it wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.dlpack import from_dlpack

if TYPE_CHECKING:
    from ..models.weights import ModelWeights


class _OnItsWay:
    """A tensor that was cast while it was read, for a library that says in taking it which dtype it wants.

    Where that is another one than was foreseen, it gets the file's own to cast: casting twice could round twice.
    """

    def __init__(self, weights: ModelWeights, name: str, tensor: torch.Tensor) -> None:
        self._weights, self._name, self._tensor = weights, name, tensor
        self.dtype, self.shape = tensor.dtype, tensor.shape

    def is_floating_point(self) -> bool:
        return self._tensor.is_floating_point()

    def __getitem__(self, index: Any) -> Any:
        return self if index is Ellipsis else _taken(self._weights.in_own_dtype(self._name)[index])

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        foreseen = dtype is None or dtype == self._tensor.dtype
        tensor = self._tensor if foreseen else self._weights.in_own_dtype(self._name)
        return _taken(tensor).to(device=device, dtype=dtype)


class _AsItIs:
    """A tensor that is as in its file."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self.dtype, self.shape = tensor.dtype, tensor.shape

    def is_floating_point(self) -> bool:
        return self._tensor.is_floating_point()

    def __getitem__(self, index: Any) -> torch.Tensor:
        return _taken(self._tensor[index])


def _taken(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor as one that was read on this thread: under inference mode it is an inference tensor."""
    return from_dlpack(tensor) if torch.is_inference_mode_enabled() else tensor


def state_dict(weights: ModelWeights, inference: bool) -> dict[str, Any]:
    """Return what the library takes for a state dict; it reads a slice of each, as of a file's.

    Args:
        weights: the tensors.
        inference: whether the caller is in inference mode, so that it matters on which thread a tensor is taken.
    """
    found: dict[str, Any] = dict(sorted(weights.tensors().items()))
    if inference:
        found = {name: _AsItIs(tensor) for name, tensor in found.items()}
    tensors = weights.tensors()
    return found | {name: _OnItsWay(weights, name, tensors[name]) for name in weights.cast_names()}
