"""The native weights of a pipeline's components: planned and under way early, put right once the classes are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _core, engine
from ..dtypes import FLOATING_POINT
from ..errors import WarploadError

if TYPE_CHECKING:
    import torch


class ComponentWeights:
    """One component's tensors, from the moment its headers are read.

    The dtypes that a load begins with are a guess made before the class was imported: ``require`` mends it tensor by
    tensor, so a wrong guess costs time and never a bit.

    Attributes:
        path: the file or index.
        described: name -> (dtype code in the file, shape).
        sharded: whether the path is an index.
    """

    def __init__(self, path: Path, checkpoint: _core.Checkpoint) -> None:
        self.path = path
        self.checkpoint = checkpoint
        self.described = {name: (code, shape) for name, code, shape, _ in checkpoint.tensors()}
        self.sharded = path.name.endswith(".json")
        self._planned = {name: code for name, (code, _) in self.described.items()}
        self._tensors: dict[str, torch.Tensor] = {}
        self._loads: list[tuple[_core.LoadHandle, int]] = []
        self._zero_copy = True

    def plan(self, code: str | None, zero_copy: bool) -> _core.SegmentRequest:
        """Return the request for the load that begins early, with floating-point tensors cast to ``code``."""
        self._zero_copy = zero_copy
        kept = {}
        for name, (own, _) in self.described.items():
            if code is None or own not in FLOATING_POINT or own == code:
                continue
            if _core.is_cast_supported(own, code):
                self._planned[name] = code
            else:
                kept[name] = own
        return _core.SegmentRequest(self.checkpoint, dtype=code, tensor_dtypes=kept, zero_copy=zero_copy)

    def attach(self, handle: _core.LoadHandle, segment: int) -> None:
        """Tie this component to its segment of a load under way."""
        self._loads.append((handle, segment))

    def cast_names(self) -> list[str]:
        """Return the names of the tensors that are cast on their way."""
        return [name for name, code in self._planned.items() if code != self.described[name][0]]

    def require(self, wanted: Mapping[str, str]) -> None:
        """Load those tensors anew whose dtype is not the wanted one.

        Raises:
            InvalidArgumentError: a cast is not supported; check with ``can_become`` first.
        """
        wrong = {name: code for name, code in wanted.items() if self._planned[name] != code}
        if not wrong:
            return
        request = _core.SegmentRequest(self.checkpoint, tensor_dtypes=wrong, only=set(wrong), zero_copy=self._zero_copy)
        handle = engine.start([request])
        self._materialise()
        self._tensors.update(engine.torch_tensors(handle, 0))  # what was loaded before is dropped here
        self._planned.update(wrong)
        self._loads.append((handle, 0))

    def can_become(self, name: str, code: str | None) -> bool:
        """Tell whether the core can deliver the tensor in that dtype."""
        own = self.described[name][0]
        return code is not None and (own == code or _core.is_cast_supported(own, code))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors by name; their bytes may still be under way."""
        self._materialise()
        return dict(self._tensors)

    def wait(self) -> None:
        """Wait until all bytes of this component have arrived; raises the first worker's error."""
        for handle, segment in self._loads:
            handle.wait_segment(segment)

    def release(self) -> None:
        """Let go of the tensors and the loads: from here on the modules own them."""
        self._tensors.clear()
        self._loads.clear()

    def _materialise(self) -> None:
        if not self._tensors:
            handle, segment = self._loads[0]
            self._tensors.update(engine.torch_tensors(handle, segment))


class WeightSet:
    """The weights of several components, loaded by one plan into one arena."""

    def __init__(self) -> None:
        self._weights: dict[str, ComponentWeights] = {}
        self._errors: dict[str, WarploadError] = {}
        self._handle: _core.LoadHandle | None = None

    def begin(self, wanted: Sequence[tuple[str, Path, str | None]], zero_copy: bool) -> None:
        """Open, plan and start: (component, file or index, dtype code of the floating-point tensors) each.

        A component that cannot be opened starts nothing: its error waits until it turns out to be needed. What an
        earlier call began is forgotten.
        """
        self.close()
        for name, path, _ in wanted:
            try:
                self._weights[name] = ComponentWeights(path, engine.open_checkpoint(path))
            except WarploadError as error:
                self._errors[name] = error
        if self._errors:
            return
        requests = [self._weights[name].plan(code, zero_copy) for name, _, code in wanted]
        self._handle = engine.start(requests)
        for segment, (name, _, _) in enumerate(wanted):
            self._weights[name].attach(self._handle, segment)

    def raise_errors(self, needed: Iterable[str]) -> None:
        """Raise the error of the first needed component that could not be opened."""
        for name in needed:
            if name in self._errors:
                raise self._errors[name]

    def wait(self, names: Iterable[str]) -> None:
        """Wait until the bytes of these components have arrived; raises the first worker's error."""
        for name in names:
            self._weights[name].wait()

    def get(self, name: str, path: Path) -> ComponentWeights | None:
        """Return a component's weights if they come from that path."""
        weights = self._weights.get(name)
        return weights if weights is not None and weights.path == path else None

    @property
    def started(self) -> bool:
        """Whether bytes are on their way."""
        return self._handle is not None

    def close(self) -> None:
        """Drop everything: what is still under way is cancelled and drained."""
        for weights in self._weights.values():
            weights.release()
        self._weights.clear()
        self._errors.clear()
        self._handle = None
