"""What one call of ``from_pretrained`` of a model asks for, as far as both libraries mean the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from . import hub
from .refusal import NotNativeError

if TYPE_CHECKING:
    import torch

    from ..models.weights import ModelWeights
    from .attempt import Attempt

# Keyword arguments that say where files come from. A model that is found on the disk has no use for them.
FETCHING = frozenset({"cache_dir", "force_download", "local_files_only", "proxies", "revision", "token"})
# Arguments without meaning where nothing is offloaded.
OFFLOADING = frozenset({"max_memory", "offload_buffers", "offload_folder", "offload_state_dict"})


class Call:
    """One call; the subclasses know each library's rules.

    Attributes:
        library: the one whose errors the caller catches.
        feature: of the table of seams, what placing a model of that library needs.
        left_to_stock: kinds of oddities of files with which stock puts the model together.
        cls: the class that is called.
        source: a folder or a repository's id.
        kwargs: the keyword arguments.
        stock: the library's own function, of that class.
        location: the source and the subfolder, as a path; empty where the source is none.
        label: what the report calls the model, unless the pipeline has a name for it.
        snapshot: what the cache has of it, where the source is a repository; known once the folder was looked for.
    """

    library: ClassVar[str]
    feature: ClassVar[str]
    left_to_stock: ClassVar[frozenset[str]]

    def __init__(self, cls: Any, source: Any, kwargs: dict[str, Any], stock: Callable[..., Any]) -> None:
        self.cls, self.source, self.kwargs, self.stock = cls, source, kwargs, stock
        subfolder = kwargs.get("subfolder") or ""
        self.location = os.path.join(os.fspath(source), subfolder) if isinstance(source, str | os.PathLike) else ""
        self.label = subfolder or cls.__name__
        self.snapshot: hub.Snapshot | None = None

    # -- what each library says ----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Refuse arguments that only the library itself knows what to do with, before any file is looked at."""
        raise NotImplementedError

    def check_folder(self, folder: Path) -> None:
        """Refuse a model by what lies in its folder besides the weights."""
        raise NotImplementedError

    def weights_file(self, folder: Path) -> Path | None:
        """Return the file or index that the library takes, or None where it has to look further."""
        raise NotImplementedError

    def code(self, dtype: torch.dtype | None, folder: Path) -> str | None:
        """Return the dtype that floating-point tensors take, or None where each keeps its own."""
        raise NotImplementedError

    def device_map(self) -> dict[str, Any] | None:
        """Return the device map, which puts the whole model on one device, or None where there is none."""
        raise NotImplementedError

    def build(
        self,
        folder: Path,
        dtype: torch.dtype | None,
        device_map: dict[str, Any] | None,
        weights: ModelWeights,
        attempt: Attempt,
    ) -> tuple[Any, str]:
        """Return the model, or a tuple of the model and what goes with it, and what did not match its checkpoint."""
        raise NotImplementedError

    def by_stock(self) -> Any:
        """Let the library load the model, one at a time like all."""
        raise NotImplementedError

    # -- what both mean the same by ------------------------------------------------------------------------------------

    def asks_nobody(self) -> bool:
        """Tell whether stock would take what is there without asking the Hub for the rest."""
        return bool(self.kwargs.get("local_files_only")) or hub.is_offline()

    def dtype(self) -> torch.dtype | None:
        """Return the dtype that the call asks for, or None where it asks for none.

        Raises:
            NotNativeError: the dtype is no ``torch.dtype``, or one that the library has rules of its own for.
        """
        import torch

        dtype = first_of(self.kwargs, "dtype", "torch_dtype")
        if dtype is None:
            return None
        if not isinstance(dtype, torch.dtype):
            raise NotNativeError(f"dtype {dtype!r} is not a torch.dtype")
        if not dtype.is_floating_point or dtype.itemsize < 2:
            raise NotNativeError(f"dtype {dtype}")
        return dtype

    def refuse(self, **plain: Any) -> None:
        """Refuse arguments that have another value than the plain one.

        Args:
            plain: name -> the value with which the argument changes nothing.

        Raises:
            NotNativeError: an argument has another value.
        """
        for name, value in plain.items():
            given = self.kwargs.get(name, value)
            if given is not None and given != value:
                raise NotNativeError(f"{name}={given!r}")

    def others(self, known: frozenset[str]) -> dict[str, Any]:
        """Return the arguments that are not in the list."""
        return {name: value for name, value in self.kwargs.items() if name not in known}


def first_of(arguments: Mapping[str, Any], *names: str) -> Any:
    """Return the first of several arguments that is given: an argument's name, then those that it had before."""
    return next((value for name in names if (value := arguments.get(name)) is not None), None)


def whole_device(device_map: Any) -> dict[str, Any] | None:
    """Return a device map that puts the whole model on one device, as stock spells it, or None for None.

    Raises:
        NotNativeError: the device map spreads the model, or names no device.
    """
    import torch

    if device_map is None:
        return None
    if isinstance(device_map, Mapping):
        if set(device_map) != {""} or device_map[""] == "disk":
            raise NotNativeError(f"device_map={device_map!r}")
        return dict(device_map)
    if isinstance(device_map, str):
        try:
            return {"": torch.device(device_map)}
        except RuntimeError:
            raise NotNativeError(f"device_map={device_map!r}") from None
    if isinstance(device_map, int) and device_map < 0:
        raise NotNativeError(f"device_map={device_map!r}")
    return {"": device_map}
