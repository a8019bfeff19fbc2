"""A file that stock converts: tensors for the conversion, and what the core then loads of them, whole or in pieces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import engine, errors, mounts, prefetch_part
from ..dtypes import torch_dtypes
from ..whole_file import take_prefetched

if TYPE_CHECKING:
    import torch

    from .file_tensors import FileTensor, Source

# How much of a tensor of the file has to be wanted for all of it to be loaded.
_MOST_OF = 0.95
_REPLACED = "the file was replaced or written to since its header was read"


class ConvertedFile:
    """A file that is being converted.

    Its header is read by one who opens it, its bytes are mapped by another: both have to have met the same file.

    Args:
        path: the file.
        zero_copy: whether tensors of a model may be views of it.

    Attributes:
        path: the file.
        states: what tells it from another file of that name.
        checkpoint: the open file.
        codes: the dtypes of its tensors, by name.
        zero_copy: whether tensors of a model may be views of it, and the file system allows that.

    Raises:
        FormatError: its header breaks the format's rules.
        IoError: it is missing or unreadable.
    """

    def __init__(self, path: str, *, zero_copy: bool) -> None:
        files = [Path(path)]
        self.path = path
        self.states = prefetch_part.states_of(files)  # first: what changes from here on is noticed
        self.checkpoint = engine.open_checkpoint(path)
        self.codes = {name: code for name, code, _, _ in self.checkpoint.tensors()}
        self.zero_copy = zero_copy and not mounts.forbid_mapping(files)
        self._prefetched = take_prefetched(files, None, None, not self.zero_copy) or {}

    def tensors(self) -> dict[str, FileTensor]:
        """Return its tensors for stock to convert; nothing of them is read, or backed with memory ahead.

        Raises:
            FormatError: torch cannot represent one of them.
            IoError: the file is not the one any more whose header was read.
        """
        import torch

        from .file_tensors import Source

        described = self.checkpoint.tensors()
        for name, code, shape, _ in described:
            engine.check_representable(name, code, shape, self.checkpoint)
        memory = self._mapped()
        tensors = {}
        for name, code, shape, _ in described:
            _, begin, end = self.checkpoint.locate(name)
            dtype = torch_dtypes()[code]
            own = engine.shape_in_torch(code, shape)
            tensor = of_memory(memory[begin:end], own, dtype) if end > begin else torch.empty(own, dtype=dtype)
            tensors[name] = Source(self, name, tensor).as_file_tensor()
        return tensors

    def _mapped(self) -> Any:
        """Return a private mapping of the file whose header was read, as a storage of torch's."""
        import torch

        if self.states is None:
            raise self._changed(_REPLACED)
        _, _, size, *_ = self.states[0]
        try:
            memory: Any = torch.UntypedStorage.from_file(self.path, False, size)
        except RuntimeError:
            self._check_same()  # it may have shrunk, or be gone
            raise
        self._check_same()
        return memory

    def _check_same(self) -> None:
        if prefetch_part.states_of([Path(self.path)]) != self.states:
            raise self._changed(_REPLACED)

    def check_size(self) -> None:
        """Refuse a file that was written to while it was converted, as far as its size tells.

        Another file under its name does no harm: this one is mapped, and held open.

        Raises:
            IoError: it grew or shrank: behind its end the mapping has no memory.
        """
        now = prefetch_part.states_of([Path(self.path)])
        if now is None or self.states is None:
            return
        device, node, size, *_ = now[0]
        *mine, opened, _, _ = self.states[0]
        if mine == [device, node] and size != opened:
            raise self._changed("the file grew or shrank while it was converted")

    def _changed(self, reason: str) -> errors.WarploadError:
        cure = "do not write to a checkpoint while it is in use; load it again"
        return errors.make("IoError", reason, path=self.path, cure=cure)

    def take(self, name: str) -> torch.Tensor | None:
        """Return a tensor that was prefetched as it is in the file, once."""
        return self._prefetched.pop(name, None)


def of_memory(
    memory: torch.UntypedStorage, shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return the contiguous tensor that begins where a storage does."""
    import torch

    return torch.empty(0, dtype=dtype, device=device).set_(memory, 0, tuple(shape), ())


@dataclass(frozen=True)
class Piece:
    """Consecutive elements of a tensor of a file, for one seat of a model.

    Attributes:
        begin: the first element.
        shape: of the piece.
        owner: what has memory of its own in stock; pieces of one owner may share some.
    """

    begin: int
    shape: tuple[int, ...]
    owner: Any

    @property
    def end(self) -> int:
        """The element behind the last."""
        return self.begin + math.prod(self.shape)


@dataclass
class Whole:
    """A tensor of a file in one dtype, from which pieces are cut.

    Attributes:
        source: the tensor.
        code: the dtype.
        pieces: what is cut from it.
        tensor: all of it, once it is loaded.
    """

    source: Source
    code: str
    pieces: list[Piece] = field(default_factory=list)
    tensor: torch.Tensor | None = None

    @property
    def is_as_in_file(self) -> bool:
        """Tell whether it is not cast."""
        return self.code == self.source.code

    def has_room_for(self, piece: Piece) -> bool:
        """Tell whether nobody else has memory of a piece."""
        others = (other for other in self.pieces if other.owner is not piece.owner)
        return all(piece.end <= other.begin or other.end <= piece.begin for other in others)

    def can_be_loaded(self) -> bool:
        """Tell whether the core delivers it, and nearly all of it is wanted, which does not matter to a view."""
        if self.source.is_touched:
            return False  # the file has what was before
        if self.is_as_in_file and self.source.file.zero_copy:
            return True
        wanted = sum(piece.end - piece.begin for piece in self.pieces)
        return wanted >= _MOST_OF * self.source.tensor.numel() and self.source.can_be_read_as(self.code)

    def cut(self, piece: Piece) -> torch.Tensor:
        """Return a piece, with a storage of exactly its size."""
        assert self.tensor is not None
        whole = self.tensor
        if piece.end - piece.begin == whole.numel():
            return whole.view(piece.shape)
        size = whole.element_size()
        memory = whole.untyped_storage()[piece.begin * size : piece.end * size]
        return of_memory(memory, piece.shape, whole.dtype, whole.device)


def load(wholes: Iterable[Whole], device: torch.device | None) -> None:
    """Load tensors of files, all of them at once.

    Args:
        wholes: the tensors.
        device: the device whose arena they go to, or None for the host's memory.

    Raises:
        WarploadError: of the files, the memory or the device.
    """
    left: list[Whole] = []
    for whole in wholes:
        if device is None and whole.is_as_in_file:
            whole.tensor = whole.source.file.take(whole.source.name)
        if whole.tensor is None:
            left.append(whole)
    rounds: list[dict[str, Whole]] = []  # a request has each tensor once
    for whole in left:
        free = next((each for each in rounds if whole.source.name not in each), None)
        if free is None:
            rounds.append(free := {})
        free[whole.source.name] = whole
    requests = []
    for each in rounds:
        file = next(iter(each.values())).source.file
        dtypes = {name: whole.code for name, whole in each.items()}
        zero_copy = file.zero_copy and device is None
        requests.append(
            engine.request(file.checkpoint, device, tensor_dtypes=dtypes, only=set(dtypes), zero_copy=zero_copy)
        )
    for each, loaded in zip(rounds, engine.load(requests, [device] * len(requests)) if requests else [], strict=True):
        for name, whole in each.items():
            whole.tensor = loaded[name]
