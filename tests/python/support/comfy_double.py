"""What ComfyUI's ``comfy.utils`` is to a custom node: a double with its signature, its rules for names and its errors.

ComfyUI is on no package index. ``style`` is how it reads safetensors: ``"safe_open"`` as it does, ``"load_file"`` as it
did before 2025, ``"other"`` a version that nobody knows.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

from .integration_pages import ROOT

NODE = ROOT / "integrations" / "comfyui" / "warpload_loader"


def comfy_utils(style: str = "safe_open", disable_mmap: bool = False) -> Any:
    """Return a new module ``comfy.utils``, which is not in ``sys.modules``."""
    module: Any = types.ModuleType("comfy.utils")
    module.DISABLE_MMAP = disable_mmap
    if style != "other":
        module.safetensors = safetensors
    readers = {"safe_open": _by_safe_open, "load_file": _by_load_file, "other": _by_safe_open}
    module.load_torch_file = _load_torch_file(module, readers[style])
    return module


def _load_torch_file(module: Any, read: Callable[..., Any]) -> Callable[..., Any]:
    def load_torch_file(ckpt: str, safe_load: bool = False, device: Any = None, return_metadata: bool = False) -> Any:
        where = torch.device("cpu") if device is None else device
        metadata = None
        if Path(ckpt).suffix.lower() in (".safetensors", ".sft"):
            try:
                found, metadata = read(module, ckpt, where)
            except Exception as error:
                raise _as_comfy_says(error, ckpt) from error
        else:
            found = torch.load(ckpt, map_location=where, weights_only=True)
        for tensor in found.values():
            tensor.untyped_storage()._comfy_source_path = ckpt
        return (found, metadata) if return_metadata else found

    return load_torch_file


def _by_safe_open(module: Any, ckpt: str, device: Any) -> Any:
    with getattr(module, "safetensors", safetensors).safe_open(ckpt, framework="pt", device=device.type) as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        if module.DISABLE_MMAP:
            found = {name: tensor.to(device=device, copy=True) for name, tensor in found.items()}
        return found, file.metadata()


def _by_load_file(module: Any, ckpt: str, device: Any) -> Any:
    return module.safetensors.torch.load_file(ckpt, device=device.type), None


def _as_comfy_says(error: Exception, ckpt: str) -> Exception:
    """Return its own error where the words of the package's are among those that it knows."""
    message = error.args[0] if error.args else ""
    if "HeaderTooLarge" in message:  # of a message that is no text this is a TypeError, there as here
        return ValueError(f"{message}\n\nFile path: {ckpt}\n\nThe safetensors file is corrupt or invalid.")
    if "MetadataIncompleteBuffer" in message:
        return ValueError(f"{message}\n\nFile path: {ckpt}\n\nThe safetensors file is corrupt/incomplete.")
    return error


def stand_in(monkeypatch: pytest.MonkeyPatch, utils: Any | None) -> None:
    """Let ``comfy.utils`` be that module; None where there is no ComfyUI."""
    comfy: Any = types.ModuleType("comfy")
    comfy.utils = utils
    monkeypatch.setitem(sys.modules, "comfy", comfy if utils is not None else None)
    monkeypatch.setitem(sys.modules, "comfy.utils", utils)


def load_node(monkeypatch: pytest.MonkeyPatch, utils: Any | None) -> Any:
    """Import the custom node as ComfyUI does: by its folder's path, under a name of no package that is installed.

    Args:
        monkeypatch: takes the modules out again.
        utils: what ``comfy.utils`` is meanwhile; None where there is no ComfyUI.
    """
    stand_in(monkeypatch, utils)
    name = str(NODE).replace(".", "_x_")
    for part in ("", ".nodes", ".reading"):
        monkeypatch.delitem(sys.modules, name + part, raising=False)
    spec = importlib.util.spec_from_file_location(name, NODE / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module
