"""``warpload.prefetch``: the bytes of what will be loaded, on their way before anything is imported.

Looks at nothing but its arguments: the files are found on the prefetch's own thread, by ``foreseen_parts``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import devices, dtypes, errors, forked, prefetched, strings
from ..options import LoadOptions, check_seconds
from ..options import current as current_options
from ..prefetch_run import Prefetch

if TYPE_CHECKING:
    import torch

    from ..prefetch_part import Part

    Dtype = torch.dtype | str | None
    Device = torch.device | str | int | None

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Order:
    """What a call of ``prefetch`` asks for; equal where two ask for the same.

    Attributes:
        source: a path or several, absolute, or a repository's id.
        is_repository: whether it is an id: there is nothing at the path.
        codes: component (the empty string for all) -> the dtype's code, or None.
        devices: component (the empty string for all) -> the device, spelled as text.
        one_device: whether one name of a device was given for all.
        current_gpu: what a bare ``"cuda"`` is on the caller's thread.
        variant, subfolder, revision, cache_dir: as for ``from_pretrained``.
        zero_copy: whether tensors may be views of their files.
        without: components that are not loaded.
        options: how to load.
    """

    source: tuple[str, ...]
    is_repository: bool
    codes: tuple[tuple[str, str | None], ...]
    devices: tuple[tuple[str, str | int | None], ...]
    one_device: bool
    current_gpu: int
    variant: str | None
    subfolder: str | None
    revision: str | None
    cache_dir: str | None
    zero_copy: bool
    without: frozenset[str]
    options: LoadOptions


def prefetch(
    source: StrPath | Sequence[StrPath],
    dtype: Dtype | Mapping[str, Dtype] = None,
    device: Device | Mapping[str, Device] = None,
    *,
    variant: str | None = None,
    subfolder: str | None = None,
    revision: str | None = None,
    cache_dir: StrPath | None = None,
    disable_mmap: bool = False,
    without: Collection[str] = (),
    expires: float | None = None,
    options: LoadOptions | None = None,
) -> Prefetch:
    """Put the bytes of a pipeline, a model or files on their way, and return at once.

    May be the first line of a script: nothing is imported for it, while the script imports what it likes. The next
    load of the same files that wants the same takes them, whichever way it is called: ``from_pretrained`` of a pipeline
    or of a model, through ``warpload.NAME`` or after ``install()``, and ``load_file``.

    Examples:
        >>> warpload.prefetch("sdxl", dtype="float16", device="cuda")
        >>> import torch, diffusers
        >>> pipe = warpload.DiffusionPipeline.from_pretrained("sdxl", dtype=torch.float16, device_map="cuda")

    What moves: on the CPU, bytes that are cast (or copied, with ``disable_mmap``) go to their place; those that are
    not come into the page cache, as the load maps the files. For a GPU, the context and the pinned slots are made, and
    filled, at once. The GPU's memory is of torch's allocator: the bytes go there as soon as somebody has imported
    torch, which ``prefetch`` never does; until then they come into the page cache.

    Each part of a prefetch is taken once, by one load. Where a load wants another dtype or device, or a file has
    changed since, it reads by itself as ever, and what it did not take is dropped; ``last_report()`` and the log say
    so. What no load has taken after ``expires`` seconds is dropped, too. A call that asks for the same as a prefetch
    under way returns that one, which lasts as long as the later call wants.

    Nothing that goes wrong with files, memory or a GPU is raised here: the log and ``reason`` of what is returned say
    it, and the load raises what it would have raised.

    Args:
        source: what will be loaded: the folder of a pipeline or a model; a repository's id on the Hub, of which the
            cache has to hold a complete snapshot, as nothing is asked or fetched here; or what ``load_file`` takes, a
            ``.safetensors`` file, several, or an index.
        dtype: as the load will be asked for it: a ``torch.dtype`` or the name of one (``"float16"``, ``"F16"``), or for
            pipelines a dictionary of these by component with a ``"default"``. None is what the load makes of None.
        device: where the load will be sent by ``device_map``, or ``device`` of ``load_file``: a ``torch.device``, a
            name, a GPU's number, or for pipelines a dictionary of these by component with a ``"default"``; None is the
            CPU.
        variant: as for ``from_pretrained``.
        subfolder: as for a model's ``from_pretrained``.
        revision: as for ``from_pretrained``.
        cache_dir: as for ``from_pretrained``.
        disable_mmap: as the load will be called.
        without: components of a pipeline that the load will be given, or not have.
        expires: seconds from now after which what no load has taken is dropped; ``math.inf`` is never. By default
            that is ``LoadOptions.prefetch_seconds``, 60.
        options: how to load; by default those of the block that this is called in, or the environment's.

    Returns:
        A handle, which may be ignored: it says how far the prefetch is, waits for it, or drops it.

    Raises:
        InvalidArgumentError: an argument is none of these.
    """
    chosen = options or current_options()
    seconds = chosen.prefetch_seconds if expires is None else expires
    check_seconds("expires", seconds)
    several = isinstance(source, Sequence) and not isinstance(source, str | bytes)
    given: Sequence[Any] = source if several else [source]  # type: ignore[assignment]
    texts = [os.fspath(strings.checked_path(each)) for each in given]
    is_repository = not several and not os.path.lexists(texts[0])
    order = Order(
        source=tuple(texts if is_repository else map(os.path.abspath, texts)),
        is_repository=is_repository,
        codes=_by_component(dtype, _code),
        devices=_by_component(device, _device),
        one_device=isinstance(device, str),
        current_gpu=devices.current_gpu(),
        variant=variant,
        subfolder=subfolder,
        revision=revision,
        cache_dir=None if cache_dir is None else os.fspath(cache_dir),
        zero_copy=not disable_mmap,
        without=frozenset(without),
        options=chosen,
    )
    begun = Prefetch(", ".join(texts), order, float(seconds), functools.partial(_may_have, order))
    return prefetched.begin(begun, functools.partial(_parts, order), chosen)


def _by_component(given: Any, understood: Callable[[Any], Any]) -> tuple[tuple[str, Any], ...]:
    """Return what was given for each component, in an order of its own; the empty string is for all of them."""
    if not isinstance(given, Mapping):
        return (("", understood(given)),)
    return tuple(sorted((str(name), understood(each)) for name, each in given.items()))


def _code(dtype: Any) -> str | None:
    return dtypes.code_as_given(dtype)


def _device(device: Any) -> str | int | None:
    """Return a device by its name, which needs no torch; whether there is such a device is found out later."""
    if device is None or isinstance(device, str):
        return device
    if isinstance(device, int) and not isinstance(device, bool) and device >= 0:
        return device
    if type(device).__module__ == "torch" and type(device).__name__ == "device":
        return str(device)
    raise errors.make(
        "InvalidArgumentError",
        f"device is {device!r}, which is no device",
        cure="'cpu', 'cuda', 'cuda:1', a torch.device, a GPU's number, or a dictionary of these by component",
    )


def _may_have(order: Order, path: str) -> bool:
    """Tell whether a file of that absolute path may be among those that are asked for."""
    if order.is_repository:
        return f"models--{order.source[0].replace('/', '--')}" in path.split(os.sep)
    return any(path == each or path.startswith(each + os.sep) for each in _spellings(order.source))


def _spellings(paths: Sequence[str]) -> set[str]:
    return {spelled for path in paths for spelled in (path, os.path.realpath(path))}


def _parts(order: Order) -> list[Part]:
    with forked.held_up():
        # Not on the thread of the caller, who has no time.
        from ..stock import imports_ahead

        if order.is_repository or os.path.isdir(order.source[0]):
            imports_ahead.begin()  # a pipeline or a model, for which all of it is imported
        from ..stock import hub
        from . import foreseen_parts

        if order.is_repository:
            hub.is_offline()  # imports what knows the cache
    return foreseen_parts.parts_of(order)
