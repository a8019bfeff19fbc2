"""Tensors of a file while stock converts it: they remember which bytes of which tensor of the file they are.

A conversion renames, splits, joins and reshapes. What it gets are views of the mapped file, of a class of their own:

    FileTensor      chunk, split, [...], reshape, T, ...  ->  FileTensor, the same memory
                    cat, clone, contiguous                ->  DeferredCopy: knows its pieces, has no memory
    DeferredCopy    a shape, a dtype                      ->  answered
    either          anything else                         ->  torch's own result, of plain tensors

So that no result can differ from stock's: before an operation that is not known to leave memory alone, what was
deferred of that memory is copied, and from then on nothing of it is deferred, nor read from the file again.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .. import _core
from ..stock import seam_check

Function = Callable[..., Any]

# What tells of a tensor without its memory.
_TELLING = frozenset(
    {
        *(getattr(torch.Tensor, name).__get__ for name in ("shape", "dtype", "ndim", "layout", "requires_grad")),
        *(torch.Tensor.nbytes.__get__, torch.Tensor.itemsize.__get__),  # type: ignore[attr-defined]
        *(torch.Tensor.size, torch.Tensor.dim, torch.Tensor.numel, torch.Tensor.nelement, torch.Tensor.stride),
        *(torch.Tensor.storage_offset,),
        *(torch.Tensor.is_floating_point, torch.is_floating_point, torch.Tensor.is_complex, torch.is_complex),
        *(torch.Tensor.is_contiguous, torch.Tensor.element_size, torch.Tensor.__len__, torch.numel),
    }
)
# What leaves memory alone: the result is a view of it, or new.
_VIEWING = frozenset(
    {
        *(getattr(torch.Tensor, name).__get__ for name in ("T", "mT")),
        *(torch.chunk, torch.split, torch.tensor_split, torch.narrow, torch.select, torch.unbind, torch.reshape),
        *(torch.flatten, torch.squeeze, torch.unsqueeze, torch.permute, torch.transpose, torch.t, torch.swapaxes),
        *(
            getattr(torch.Tensor, name)
            for name in (
                *("chunk", "split", "tensor_split", "narrow", "select", "unbind", "view", "view_as", "reshape"),
                *("reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose", "t"),
                *("swapaxes", "movedim", "expand", "expand_as", "detach", "contiguous", "__getitem__"),
                *("to", "float", "half", "bfloat16", "double"),
            )
        ),
    }
)
_JOINING = frozenset({torch.cat, torch.concat, torch.concatenate})
_CLONING = frozenset({torch.clone, torch.Tensor.clone})


def _alone() -> Any:
    """Return a block in which torch's functions do not ask the classes of this module."""
    return seam_check.read("torch._C", "DisableTorchFunctionSubclass")()


class Source:
    """One tensor of a file that is being converted.

    Attributes:
        file: what it is from.
        name: its name there.
        tensor: the plain tensor, a view of a mapping of the file.
        is_touched: whether an operation has had its memory that may have changed it, or kept it.
    """

    def __init__(self, file: Any, name: str, tensor: torch.Tensor) -> None:
        self.file = file
        self.name = name
        self.tensor = tensor
        self.is_touched = False
        self._deferred: list[weakref.ref[DeferredCopy]] = []

    @property
    def code(self) -> str:
        """The dtype in the file."""
        own: str = self.file.codes[self.name]
        return own

    def can_be_read_as(self, code: str) -> bool:
        """Tell whether the core delivers the tensor in a dtype."""
        return self.code == code or _core.is_cast_supported(self.code, code)

    def as_file_tensor(self) -> FileTensor:
        """Return the tensor for a conversion."""
        return _viewed(self.tensor, self)

    def defer(self, copy: DeferredCopy) -> None:
        """Note a copy that is not made yet."""
        self._deferred.append(weakref.ref(copy))

    def touch(self) -> None:
        """Make all copies before somebody may change the memory."""
        self.is_touched = True
        for each in self._deferred:
            if (copy := each()) is not None:
                copy.made()
        self._deferred.clear()


class _Remembering(torch.Tensor):
    """What a conversion is given, or makes of that."""

    @classmethod
    def __torch_function__(
        cls, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do what torch would, and remember; a copy may wait."""
        with _alone():
            return _done(func, args, kwargs or {})


class FileTensor(_Remembering):
    """A view of a tensor of a file.

    Attributes:
        source: that tensor.
    """

    source: Source

    def plain(self) -> torch.Tensor:
        """Return the same memory as a tensor of torch's own class."""
        with _alone():
            return self.as_subclass(torch.Tensor)


class DeferredCopy(_Remembering):
    """A copy of pieces of a file that nobody has made yet: a tensor on the meta device.

    Attributes:
        pieces: what is copied, one behind the other.
        along: which dimension.
    """

    pieces: list[FileTensor]
    along: int
    _copy: torch.Tensor | None

    def is_made(self) -> bool:
        """Tell whether the copy has been made, so that somebody may have changed it."""
        return self._copy is not None

    def made(self) -> torch.Tensor:
        """Return the copy; each time the same."""
        with _alone():
            if self._copy is None:
                self._copy = torch.empty_strided(self.shape, self.stride(), dtype=self.dtype, device="cpu")
                self.copy_into(self._copy)
            return self._copy

    def copy_into(self, target: torch.Tensor) -> None:
        """Write the elements into a tensor, cast to its dtype."""
        with _alone():
            if len(self.pieces) == 1:
                target.copy_(self.pieces[0].plain())
                return
            begin = 0
            for piece in self.pieces:
                length = piece.size(self.along)
                target.narrow(self.along, begin, length).copy_(piece.plain())
                begin += length


def plain(value: Any) -> Any:
    """Return a value without the classes of this module: tensors as torch's own, in lists and dictionaries too."""
    return _each(lambda leaf: leaf.plain() if type(leaf) is FileTensor else _made(leaf), value)


def _each(function: Callable[[Any], Any], value: Any) -> Any:
    """Return a value with what a function makes of it, or of all that is in its lists, tuples and dictionaries."""
    if type(value) in (list, tuple):
        return type(value)(_each(function, each) for each in value)
    return {key: _each(function, each) for key, each in value.items()} if type(value) is dict else function(value)


def _made(value: Any) -> Any:
    return value.made() if type(value) is DeferredCopy else value


def _done(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function of torch's; the classes of this module are not asked meanwhile."""
    if func in _TELLING:
        return func(*args, **kwargs)
    if func is torch.Tensor.detach and type(args[0]) is DeferredCopy:
        return args[0]
    if (copy := _deferred(func, args, kwargs)) is not None:
        return copy
    if func in _VIEWING:
        args, kwargs = _each(_made, args), _each(_made, kwargs)
        result = func(*args, **kwargs)
        given = args[0] if args else None
        return _remembering(result, given.source) if type(given) is FileTensor else result
    for source in set(_sources((args, kwargs))):
        source.touch()
    if _is_in_place(func):  # which may be of what only the object has, such as its shape
        return func(*_each(_made, args), **_each(_made, kwargs))
    return func(*plain(args), **plain(kwargs))


def _is_in_place(func: Function) -> bool:
    name = str(getattr(func, "__name__", ""))
    return name in ("__set__", "__setitem__", "__delete__") or (name.endswith("_") and not name.endswith("__"))


def _sources(value: Any) -> Iterator[Source]:
    if type(value) is FileTensor:
        yield value.source
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _sources(each)
    elif type(value) is dict:
        yield from _sources(list(value.values()))


def _viewed(tensor: torch.Tensor, source: Source) -> FileTensor:
    with _alone():
        view = tensor.as_subclass(FileTensor)
    view.source = source
    return view


def _remembering(result: Any, source: Source) -> Any:
    """Return the result of a function that leaves memory alone, where views know what they are of."""
    if isinstance(result, list | tuple):
        return type(result)(_remembering(each, source) for each in result)
    if type(result) is not torch.Tensor or _memory(result) != _memory(source.tensor):
        return result
    return _viewed(result, source)


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _deferred(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> DeferredCopy | None:
    """Return what stands for a copy, or None where the function makes none or it cannot wait."""
    dim = 0
    if func in _JOINING:
        if len(args) not in (1, 2) or kwargs.keys() - {"dim"} or type(args[0]) not in (list, tuple):
            return None
        pieces, dim = list(args[0]), args[1] if len(args) == 2 else kwargs.get("dim", 0)
    elif func in _CLONING or func is torch.Tensor.contiguous:
        pieces = list(args)
    else:
        return None
    if kwargs.keys() - {"dim"} or not pieces or not all(map(_can_wait, pieces)) or type(dim) is not int:
        return None
    if func is torch.Tensor.contiguous:
        if len(pieces) != 1 or pieces[0].is_contiguous():
            return None
    elif not all(piece.is_contiguous() for piece in pieces):
        return None
    return _standing_for(func, args, kwargs, pieces, dim)


def _can_wait(piece: Any) -> bool:
    return type(piece) is FileTensor and not piece.source.is_touched and piece.numel() > 0


def _standing_for(
    func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], pieces: list[FileTensor], dim: int
) -> DeferredCopy | None:
    outlines = [torch.empty_strided(each.shape, each.stride(), dtype=each.dtype, device="meta") for each in pieces]
    first = outlines if func in _JOINING else outlines[0]
    try:
        outline = func(first, *args[1:], **kwargs)
    except (RuntimeError, IndexError):  # the real one says what is wrong
        return None
    if not outline.is_contiguous() or any(each.dtype != outline.dtype for each in pieces):
        return None
    copy: DeferredCopy = outline.as_subclass(DeferredCopy)
    copy.pieces, copy.along, copy._copy = pieces, dim % max(outline.ndim, 1), None
    for piece in pieces:
        piece.source.defer(copy)
    return copy
