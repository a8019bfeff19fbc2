"""The native weights of one model: planned and under way early, put right once the class is known."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _core, context, devices, engine, mounts
from ..dtypes import FLOATING_POINT
from ..errors import FormatError
from ..stock import kept_in_float32, model_files
from ..stock.refusal import NotNativeError

if TYPE_CHECKING:
    import torch

    from ..open_file import Began


# Of a model's memory on a device, how much may be left to tensors that turned out to be in the wrong dtype.
_MOST_WASTE = 0.01


class ModelWeights:
    """One model's tensors, from the moment its headers are read.

    The dtypes that a load begins with are a guess made before the class was imported: ``require`` mends it tensor by
    tensor, so a wrong guess costs time and never a bit.

    Attributes:
        path: the file or index.
        device: the device whose arena they go to, or None for the host's memory.
        described: name -> (dtype code in the file, shape).
        oddities: kind -> sentences, of what is odd about the files although they could be opened.
        sharded: whether the path is an index.
        label: what the timeline of a load calls the model.
    """

    def __init__(
        self, path: Path, checkpoint: _core.Checkpoint, device: torch.device | None = None, label: str = ""
    ) -> None:
        self.path = path
        self.device = device
        self.checkpoint = checkpoint
        self.described = {name: (code, shape) for name, code, shape, _ in checkpoint.tensors()}
        self.sharded = path.name.endswith(".json")
        self.label = label or path.parent.name
        self.oddities: dict[str, list[str]] = {}
        for kind, sentence in checkpoint.oddities:
            self.oddities.setdefault(kind, []).append(sentence)
        self._planned = {name: code for name, (code, _) in self.described.items()}
        self._tensors: dict[str, torch.Tensor] = {}
        self._loads: list[tuple[_core.LoadHandle, int]] = []
        self._zero_copy = True

    @classmethod
    def open(cls, path: Path, device: torch.device | None = None, label: str = "") -> ModelWeights:
        """Read and check the headers of a file, or of what an index lists, as stock understands it.

        Raises:
            FormatError: a header or the index breaks the format's rules.
            IoError: a file is missing or unreadable.
        """
        return cls(path, engine.open_checkpoint(path, as_published=True), device, label)

    def plan(
        self,
        code: str | None,
        zero_copy: bool,
        kept: Collection[str] = (),
        device: torch.device | devices.Place | None = None,
    ) -> _core.SegmentRequest:
        """Return the request for the load that begins early.

        Args:
            code: the dtype that floating-point tensors are cast to; None keeps each tensor's own.
            zero_copy: whether tensors that need no cast may be views of their file.
            kept: parts of names whose tensors are to be in float32 all the same.
            device: where to, if that is not this model's device; see ``take_over``.
        """
        self._zero_copy = zero_copy = zero_copy and not mounts.forbid_mapping(self._files())
        others = {}
        for name, (own, _) in self.described.items():
            if code is None or own not in FLOATING_POINT:
                continue
            wanted = "F32" if kept_in_float32.keeps(kept, name) else code
            self._planned[name] = wanted if own == wanted or _core.is_cast_supported(own, wanted) else own
            if self._planned[name] != code:
                others[name] = self._planned[name]
        device = self.device if device is None else device
        return engine.request(self.checkpoint, device, dtype=code, tensor_dtypes=others, zero_copy=zero_copy)

    def _files(self) -> Iterator[Path]:
        yield from model_files.shards_of(self.path)  # an index is read again only where it has to be known

    def attach(self, handle: _core.LoadHandle, segment: int) -> None:
        """Tie this model to its segment of a load under way."""
        self._loads.append((handle, segment))

    @property
    def began(self) -> Began:
        """Return the load that this model's tensors came with first, and its segment there."""
        return self._loads[0]

    def take_over(self, path: Path, device: torch.device | None, handle: _core.LoadHandle, segment: int) -> None:
        """Belong from now on to the load that takes a segment which was prefetched.

        Args:
            path: the file or index, as the load spells it.
            device: the device that the segment is on.
            handle: the load under way.
            segment: its segment.
        """
        self.path, self.device = path, device
        self.attach(handle, segment)

    def is_mapped(self) -> bool:
        """Tell whether all tensors of a load to the host's memory are views of their files, but for misaligned ones."""
        return self._zero_copy and not self.cast_names()

    def cast_names(self) -> list[str]:
        """Return the names of the tensors that are cast on their way."""
        return [name for name, code in self._planned.items() if code != self.described[name][0]]

    def codes(self) -> dict[str, str]:
        """Return the codes of the dtypes that the tensors are read as, by their names in the file."""
        return dict(self._planned)

    def require(self, wanted: Mapping[str, str]) -> None:
        """Load those tensors anew whose dtype is not the wanted one.

        Raises:
            InvalidArgumentError: a cast is not supported; check with ``can_become`` first.
            NotNativeError: torch cannot represent one of them.
        """
        wrong = {name: code for name, code in wanted.items() if self._planned[name] != code}
        if not wrong:
            return
        self._planned.update(wrong)
        if self.device is not None and sum(map(self._bytes, wrong)) > _MOST_WASTE * sum(
            map(self._bytes, self._planned)
        ):
            self._load_all_anew()
            return
        request = engine.request(
            self.checkpoint, self.device, tensor_dtypes=wrong, only=set(wrong), zero_copy=self._zero_copy
        )
        handle = engine.start([request], [self.device], [self.label])
        self._materialise()
        self._tensors.update(self._of(handle, 0))  # what was loaded before is released here
        self._loads.append((handle, 0))

    def _load_all_anew(self) -> None:
        """Release the arena's segment before a new one is taken: a part of a segment cannot be released by itself."""
        self.release()
        if self.device is not None:
            devices.release_spare(self.device)
        casts = {name: self._planned[name] for name in self.cast_names()}
        request = engine.request(self.checkpoint, self.device, tensor_dtypes=casts, zero_copy=self._zero_copy)
        self._loads.append((engine.start([request], [self.device], [self.label]), 0))

    def _bytes(self, name: str) -> int:
        return math.prod(self.described[name][1]) * _core.dtype_bits(self._planned[name]) // 8

    def can_become(self, name: str, code: str | None) -> bool:
        """Tell whether the core can deliver the tensor in that dtype."""
        own = self.described[name][0]
        return code is not None and (own == code or _core.is_cast_supported(own, code))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return all tensors by name; their bytes may still be under way.

        Raises:
            NotNativeError: torch cannot represent one of them.
        """
        self._materialise()
        return dict(self._tensors)

    def in_own_dtype(self, name: str) -> torch.Tensor:
        """Return a tensor as it is in the file, in the host's memory; its bytes have arrived."""
        (loaded,) = engine.load([engine.request(self.checkpoint, only={name}, zero_copy=self._zero_copy)], [None])
        return loaded[name]

    def wait_arrival(self) -> None:
        """Wait until all bytes of this model have arrived.

        Raises:
            WarploadError: the first error of its loads.
        """
        with context.span("wait", self.label):
            for handle, segment in self._loads:
                engine.wait_arrival(handle, segment, self.device)

    def release(self) -> None:
        """Release the memory of tensors that nobody is to have; what is not read of them yet is not read any more."""
        self._tensors.clear()
        for handle, segment in self._loads:
            handle.release_segment(segment)
        self._loads.clear()

    def hand_over(self) -> None:
        """Leave the tensors to the modules that have them; a load whose tensors nobody has is cancelled."""
        self._tensors.clear()
        self._loads.clear()

    def _materialise(self) -> None:
        if not self._tensors:
            handle, segment = self._loads[0]
            self._tensors.update(self._of(handle, segment))

    def _of(self, handle: _core.LoadHandle, segment: int) -> dict[str, torch.Tensor]:
        try:
            return engine.torch_tensors(handle, segment, self.checkpoint)
        except FormatError as error:  # stock may do without the tensor that torch cannot represent
            raise NotNativeError(str(error)) from None
