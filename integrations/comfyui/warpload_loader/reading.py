"""What stands for the package ``safetensors`` in ``comfy.utils``, and in no other module.

``comfy.utils.load_torch_file`` stays ComfyUI's own, and so does all that it decides: which names are safetensors, what
becomes of ``--disable-mmap``, of metadata, of errors. Only what it reads with is another: so whoever has imported the
function by its name reads through warpload, too. What warpload refuses the safetensors package is asked for, whose
errors ComfyUI knows.
"""

from __future__ import annotations

import logging
import types
from typing import Any

import warpload

logger = logging.getLogger("warpload.comfyui")

_TORCH = ("pt", "torch", "pytorch")


def begin(module: types.ModuleType) -> bool:
    """Let a module read safetensors through warpload.

    Args:
        module: ``comfy.utils``.

    Returns:
        Whether it reads with a name ``safetensors`` of its own; where it does not, nothing is changed.
    """
    found = getattr(module, "safetensors", None)
    if isinstance(found, Safetensors):
        return True
    if not isinstance(found, types.ModuleType):
        return False
    module.safetensors = Safetensors(found)  # type: ignore[attr-defined]
    return True


def end(module: types.ModuleType) -> None:
    """Let the module read as it did before ``begin``."""
    found = getattr(module, "safetensors", None)
    if isinstance(found, Safetensors):
        module.safetensors = found.genuine  # type: ignore[attr-defined]


class _Stead(types.ModuleType):
    """A module with some names of ours; all others are those of the genuine one."""

    def __init__(self, genuine: types.ModuleType) -> None:
        super().__init__(genuine.__name__, genuine.__doc__)
        self.genuine = genuine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.genuine, name)


class Safetensors(_Stead):
    """The package: ``safe_open``, which ComfyUI reads with, and ``torch.load_file``, which it read with before 2025."""

    def __init__(self, genuine: types.ModuleType) -> None:
        super().__init__(genuine)
        self.torch = _Torch(genuine.torch)

    def safe_open(self, filename: Any, framework: str, device: Any = "cpu", **others: Any) -> Any:
        """Open a file; its tensors are read all at once when the first is asked for."""
        if framework in _TORCH:
            try:
                return File(self.genuine, filename, device, **others)
            except warpload.WarploadError as error:
                _tell(filename, error)
        return self.genuine.safe_open(filename, framework=framework, device=device, **others)


class _Torch(_Stead):
    def load_file(self, filename: Any, device: Any = "cpu", **others: Any) -> Any:
        """Return the tensors of a file."""
        try:
            return warpload.load_file(filename, device=device, **others)
        except (warpload.FormatError, warpload.IoError) as error:
            _tell(filename, error)
            return self.genuine.load_file(filename, device=device, **others)


class File:
    """An open file: each of its tensors is handed out as it was read with all others, and read anew if asked for again.

    A lack of memory is raised as it is, a ``torch.OutOfMemoryError`` on a GPU, which ComfyUI understands.
    """

    def __init__(self, genuine: types.ModuleType, filename: Any, device: Any, **others: Any) -> None:
        self._opened = warpload.safe_open(filename, framework="pt", device=device, **others)
        self._genuine, self._asked = genuine, (filename, device, others)
        self._tensors: dict[str, Any] | None = None

    def __enter__(self) -> File:
        self._opened.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._tensors = None
        self._opened.__exit__(*exception)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def get_tensor(self, name: str) -> Any:
        """Return a tensor."""
        if self._tensors is None:
            self._tensors = self._read()
        found = self._tensors.pop(name, None)
        return self._opened.get_tensor(name) if found is None else found

    def _read(self) -> dict[str, Any]:
        filename, device, others = self._asked
        try:
            return warpload.load_file(filename, device=device, **others)
        except (warpload.FormatError, warpload.IoError) as error:
            _tell(filename, error)
            self._opened = self._genuine.safe_open(filename, framework="pt", device=device, **others)
            return {}


def _tell(filename: Any, error: Exception) -> None:
    logger.warning("%s is read by the safetensors package: %s", filename, error)
