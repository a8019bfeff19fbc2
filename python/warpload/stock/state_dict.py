"""A state dict of native tensors for transformers, which takes each with the dtype that it wants."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.dlpack import from_dlpack

from .unexpected import is_the_callers

if TYPE_CHECKING:
    from ..models.weights import ModelWeights


class _Given:
    """What a library is given in place of a tensor; notes what goes wrong with it, which the library may swallow."""

    def __init__(self, faults: list[str]) -> None:
        self._faults = faults

    def __getattr__(self, name: str) -> Any:  # asked only for what is not there
        fault = f"{type(self).__name__} has no {name}"
        if not name.startswith("_"):  # protocols are asked of everything
            self._faults.append(f"AttributeError: {fault}")
        raise AttributeError(fault)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_the_callers(error):
                self._faults.append(f"{type(error).__name__}: {error}")
            raise


class _OnItsWay(_Given):
    """A tensor that was cast while it was read, for a library that says in taking it which dtype it wants.

    Where that is another one than was foreseen, it gets the file's own to cast: casting twice could round twice.
    """

    def __init__(self, faults: list[str], weights: ModelWeights, name: str, tensor: torch.Tensor) -> None:
        super().__init__(faults)
        self._weights, self._name, self._tensor = weights, name, tensor
        self.dtype, self.shape = tensor.dtype, tensor.shape

    def is_floating_point(self) -> bool:
        return self._tensor.is_floating_point()

    def __getitem__(self, index: Any) -> Any:
        with self._noting():
            return self if index is Ellipsis else _taken(self._weights.in_own_dtype(self._name)[index])

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        with self._noting():
            foreseen = dtype is None or dtype == self._tensor.dtype
            tensor = self._tensor if foreseen else self._weights.in_own_dtype(self._name)
            return _taken(tensor).to(device=device, dtype=dtype)


class _AsItIs(_Given):
    """A tensor that is as in its file."""

    def __init__(self, faults: list[str], tensor: torch.Tensor) -> None:
        super().__init__(faults)
        self._tensor = tensor
        self.dtype, self.shape = tensor.dtype, tensor.shape

    def is_floating_point(self) -> bool:
        return self._tensor.is_floating_point()

    def __getitem__(self, index: Any) -> torch.Tensor:
        with self._noting():
            return _taken(self._tensor[index])


def _taken(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor as one that was read on this thread: under inference mode it is an inference tensor."""
    return from_dlpack(tensor) if torch.is_inference_mode_enabled() else tensor


def state_dict(weights: ModelWeights, inference: bool, faults: list[str]) -> dict[str, Any]:
    """Return what the library takes for a state dict; it reads a slice of each, as of a file's.

    Args:
        weights: the tensors.
        inference: whether the caller is in inference mode, so that it matters on which thread a tensor is taken.
        faults: takes what goes wrong where the library takes them.
    """
    found: dict[str, Any] = dict(sorted(weights.tensors().items()))
    if inference:
        found = {name: _AsItIs(faults, tensor) for name, tensor in found.items()}
    tensors = weights.tensors()
    return found | {name: _OnItsWay(faults, weights, name, tensors[name]) for name in weights.cast_names()}
