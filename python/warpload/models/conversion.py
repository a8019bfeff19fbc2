"""A single file that stock converts: the core reads and casts what the conversion makes of it, and places it.

file -> FileTensors -> stock's conversion -> the model's keys -> of each: which part of which tensor, which dtype
                                                                        |
        a view of the file              no cast                         |
        a piece of the file's tensor    cast by the core, all at once   v
        memory of its own               joined, transposed, in part; what torch has made
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import devices, engine, progress_bar
from ..dtypes import code_of
from ..stock import module_tree
from ..stock.refusal import NotNativeError, some_of
from . import converted_file, origins
from .converted_file import ConvertedFile, Piece, Whole

if TYPE_CHECKING:
    import torch

    from ..report import LoadReport
    from .file_tensors import Source


@dataclass(frozen=True)
class Goal:
    """How the tensors of one model are wanted.

    Attributes:
        dtype: of floating-point tensors; None gives each the dtype that its parameter was built with.
        kept: the parts of names whose tensors are in float32 all the same.
        device: where to.
    """

    dtype: torch.dtype | None
    kept: Sequence[str]
    device: torch.device

    def dtype_of(self, key: str, value: torch.Tensor, old: torch.Tensor) -> torch.dtype:
        """Return the dtype of one tensor, by stock's rules.

        Args:
            key: the model's key.
            value: what the conversion has made.
            old: the parameter or buffer without values.
        """
        import torch

        if self.dtype is None or not torch.is_floating_point(value):
            return old.dtype
        return torch.float32 if any(part in key.split(".") for part in self.kept) else self.dtype


# transformers' attribute of parameters, the one that accelerate takes over to what comes in their place.
_MARK = "_is_hf_initialized"
# A tensor of a file, the dtype that it is wanted in, and which part of it.
_Found: TypeAlias = "tuple[Source, str, Piece]"


@dataclass(frozen=True)
class _Wanted:
    """What one seat of a model is to have.

    Attributes:
        value: what the conversion has made.
        dtype: that it is to have.
        is_dense: whether it is to be contiguous whatever it was.
    """

    value: torch.Tensor
    dtype: torch.dtype
    is_dense: bool


class Conversion:
    """One call of ``from_single_file``.

    Args:
        report: of the call.
        zero_copy: whether tensors may be views of the file.
    """

    def __init__(self, report: LoadReport, *, zero_copy: bool) -> None:
        self._zero_copy = zero_copy
        self._report = report
        self._files: list[ConvertedFile] = []
        # What models have of the file as it is: stock's would have the same memory.
        self._shared: weakref.WeakKeyDictionary[Source, Whole] = weakref.WeakKeyDictionary()
        self._placed: weakref.WeakKeyDictionary[Any, NotNativeError | str] = weakref.WeakKeyDictionary()

    def open(self, path: str) -> ConvertedFile:
        """Open a file, whose tensors stock is to convert.

        Args:
            path: the file.

        Raises:
            FormatError: its header breaks the format's rules.
            IoError: it is missing or unreadable.
        """
        file = ConvertedFile(path, zero_copy=self._zero_copy)
        self._zero_copy = file.zero_copy
        self._files.append(file)
        return file

    def why_not_placed(self, model: Any) -> NotNativeError | str:
        """Say why stock has placed the tensors of a model, or return the empty string where they were placed here."""
        return self._placed.get(model, "a single file")

    def failed(self, model: Any, reason: str) -> None:
        """Note that nobody foresaw why a model's tensors could not be placed here."""
        self._placed[model] = NotNativeError(reason, unexpected=True)

    def place(self, model: Any, state_dict: Mapping[str, Any], goal: Goal) -> dict[str, Any]:
        """Put tensors into a model.

        Args:
            model: the model, without weights.
            state_dict: what the conversion has made, by the model's keys.
            goal: how they are wanted.

        Returns:
            What is left to stock.

        Raises:
            WarploadError: of the file, the memory or the device.
        """
        import torch

        progress_bar.build(type(model).__name__)
        seats = module_tree.seats(module_tree.walk(model))
        wanted: dict[str, _Wanted] = {}
        left: dict[str, Any] = {}
        for key, value in state_dict.items():
            if key not in seats:
                continue
            store, name, _ = seats[key]
            old = store[name]
            is_plain = type(old) in (torch.Tensor, torch.nn.Parameter)  # whose attributes count for nothing
            if isinstance(value, torch.Tensor) and value.shape == old.shape and (is_plain or not vars(old)):
                wanted[key] = _Wanted(value, goal.dtype_of(key, value, old), old.is_contiguous())
            else:
                left[key] = value
        found = {key: piece for key, each in wanted.items() if (piece := _piece(each)) is not None}
        settled = self._settled(wanted, found, goal.device)
        parameters: dict[str, torch.nn.Parameter] = {}
        for key, tensor in settled.items():
            store, name, is_parameter = seats[key]
            old = store[name]
            store[name] = type(old)(tensor, requires_grad=old.requires_grad) if is_parameter else tensor
            if is_parameter:
                parameters[key] = store[name]
                if (mark := old.__dict__.pop(_MARK, None)) is not None:
                    setattr(store[name], _MARK, mark)
        _note(model, parameters, found)
        self._placed[model] = f"no place for {some_of(set(left))}" if left else ""
        return left

    def _settled(
        self, wanted: Mapping[str, _Wanted], found: Mapping[str, _Found], device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Return the final tensors."""
        for file in self._files:
            file.check_size()
        arena = devices.arena_device(device)
        wholes: dict[tuple[Source, str], Whole] = {}
        cuts: dict[str, tuple[Whole, Piece]] = {}
        for key, (source, code, piece) in found.items():
            whole = self._whole(wholes, source, code, device)
            if not whole.is_as_in_file or device.type != "cpu":  # a copy each
                piece = Piece(piece.begin, piece.shape, object())
            if whole.has_room_for(piece):
                whole.pieces.append(piece)
                cuts[key] = (whole, piece)
        loaded = [whole for whole in wholes.values() if whole.tensor is None and whole.can_be_loaded()]
        converted_file.load(loaded, arena)
        if any(not whole.is_as_in_file for whole in loaded) or not self._zero_copy:
            self._report.threads = engine.worker_count()
        for whole in wholes.values():
            if whole.source.is_touched and whole.is_as_in_file and self._zero_copy:
                whole.tensor = whole.source.tensor
        values = {}
        for key, each in wanted.items():
            cut = cuts.get(key)
            if cut is not None and cut[0].tensor is not None:
                value = cut[0].cut(cut[1])
            else:
                value = _by_torch(each, self._zero_copy)
            values[key] = devices.bring(value, device)
        return values

    def _whole(self, wholes: dict[tuple[Source, str], Whole], source: Source, code: str, device: torch.device) -> Whole:
        if (source, code) not in wholes:
            whole = Whole(source, code)
            if whole.is_as_in_file and device.type == "cpu":
                whole = self._shared.setdefault(source, whole)
            wholes[source, code] = whole
        return wholes[source, code]


def _note(model: Any, parameters: Mapping[str, torch.nn.Parameter], found: Mapping[str, _Found]) -> None:
    """Note which tensors of the file, or parts of them, parameters are."""
    files = {source.file for source, _, _ in found.values()}
    if len(files) != 1:
        return
    (file,) = files
    placed: dict[str, origins.Placed] = {}
    for key in parameters.keys() & found.keys():
        source, code, piece = found[key]
        if not source.is_touched and source.can_be_read_as(code):
            part = None if piece.shape == tuple(source.tensor.shape) else (piece.begin, piece.end)
            parameter = parameters[key]
            version = origins.version_of(parameter)
            placed[key] = origins.Placed(source.name, code, weakref.ref(parameter), version, part)
    made = frozenset(parameters.keys() - placed.keys())
    origins.note_converted(model, origins.Origin(Path(file.path), file.states, placed, made))


def _piece(wanted: _Wanted) -> _Found | None:
    """Return which part of which tensor of the file is wanted, in which dtype; None where it is not just that."""
    from .file_tensors import DeferredCopy, FileTensor

    value: Any = wanted.value
    is_copy = type(value) is DeferredCopy and not value.is_made() and len(value.pieces) == 1
    whose, value = value, value.pieces[0] if is_copy else value
    if type(value) is not FileTensor:
        return None
    source = value.source
    code = code_of(wanted.dtype)
    if code is None or value.numel() == 0 or value.dtype != source.tensor.dtype or not value.is_contiguous():
        return None
    return source, code, Piece(int(value.storage_offset()), tuple(value.shape), whose if is_copy else source)


def _by_torch(wanted: _Wanted, may_share: bool) -> torch.Tensor:
    """Return what a seat is to have, cast by torch.

    Args:
        wanted: what that is.
        may_share: whether a plain tensor that is right as it is may be in the model: it may have the file's memory.
    """
    import torch

    from .file_tensors import DeferredCopy, FileTensor, plain

    value = wanted.value
    if type(value) is DeferredCopy and not value.is_made() and value.dtype != wanted.dtype:
        written = torch.empty_strided(value.shape, value.stride(), dtype=wanted.dtype, device="cpu")
        value.copy_into(written)
        return written
    given: torch.Tensor = plain(value)
    made = given.to(wanted.dtype)
    if wanted.is_dense:
        made = made.contiguous()
    if made is given and (type(value) is FileTensor or (type(value) is not DeferredCopy and not may_share)):
        return made.clone()
    return made
