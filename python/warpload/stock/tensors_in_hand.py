"""transformers' tensors that are where they have to be already: taken as they are, and placed without detours.

While it places tensors transformers has a pool of threads read each of them, and bring it to its device and dtype. Of
those that the core has loaded a thread would only take another view, and handing them over takes longer than that.
For each it also compiles the device map, and looks for the module from the model's root; here the map of one device is
read, and modules are remembered. A tensor that is not the plain case is placed by the library's function.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from . import repeated_modules, seam_check
from .confined import Confined

Function = Callable[..., Any]

# What finds modules and takes parameters while one is placed.
_OF_A_MODULE = ("__getattr__", "__setattr__", "get_submodule", "register_parameter")


def _loading() -> Any:
    return sys.modules["transformers.core_model_loading"]


_take = Confined(_loading, "spawn_materialize")
_place = Confined(_loading, "set_param_for_module")
_find_device = Confined(_loading, "get_device")


@contextlib.contextmanager
def taken_as_they_are() -> Iterator[None]:
    """Have transformers take and place the tensors that it is given by itself, on this thread inside the block.

    The library's own threads compute gradients whatever its caller does, and have not got his inference mode: where
    that makes a difference all is left as it is.
    """
    import torch

    there = "transformers.core_model_loading" in sys.modules and seam_check.is_whole("repetitions")
    if not there or not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        yield
        return
    acts: dict[Confined, Function] = {_take: _in_turn, _find_device: _device}
    ways = [getattr(torch.nn.Module, each, None) for each in _OF_A_MODULE]
    if repeated_modules.can_be_copied() and all(map(_is_librarys, ways)):  # else each call may count to somebody
        acts[_place] = _Places().place
    with contextlib.ExitStack() as replaced:
        for function, act in acts.items():
            if _is_librarys(function.present()):
                replaced.enter_context(function.replaced(act))
        yield


def _is_librarys(function: Any) -> bool:
    """Tell whether a function is there, and nobody else's wrapper, who may count calls."""
    settings = getattr(function, "__globals__", {})
    return str(settings.get("__name__")).partition(".")[0] in ("torch", "transformers")  # torch's: a decorator


def _in_turn(below: Function, thread_pool: Any, tensor: Any, *arguments: Any, **keywords: Any) -> Any:
    """Replace ``spawn_materialize``: without a pool it returns what is called when the tensor is needed."""
    return below(None, tensor, *arguments, **keywords)


def _device(below: Function, device_map: Any, param_name: str, valid_torch_device: bool = False) -> Any:
    """Replace ``get_device``, which matches the name with the map: all names match a map of the whole model."""
    if type(device_map) is not dict or device_map.keys() != {""}:
        return below(device_map, param_name, valid_torch_device)
    device = device_map[""]
    return "cpu" if valid_torch_device and device == "disk" else device


class _Places:
    """Where the tensors of the models go that are loaded inside one block, one after the other."""

    def __init__(self) -> None:
        self._model: Any = None
        self._modules: dict[str, Any] = {}

    def place(self, below: Function, model: Any, target_name: str, param_value: Any, *others: Any) -> None:
        """Replace ``set_param_for_module``: a plain tensor becomes the parameter of a plain module's that it fits."""
        import torch

        path, _, name = target_name.rpartition(".")
        module = self._module(model, path)
        if len(others) != 2 or others[1] is not None or not _fits(module, name, param_value):
            below(model, target_name, param_value, *others)
            return
        parameter: Any = torch.nn.Parameter(param_value, requires_grad=param_value.is_floating_point())
        others[0].missing_keys.discard(target_name)
        parameter._is_hf_initialized = True  # the library's sign for what it must not initialise
        module._parameters[name] = parameter

    def _module(self, model: Any, path: str) -> Any:
        """Return the module at a path, or None where ``get_submodule`` has to look for it."""
        if model is not self._model:
            self._model, self._modules = model, {"": model}
        found = self._modules.get(path)
        if found is None:
            above, _, name = path.rpartition(".")
            owner = self._module(model, above)
            found = None if owner is None else owner._modules.get(name)
            self._modules[path] = found
        return found


def _fits(module: Any, name: str, tensor: Any) -> bool:
    """Tell whether a module has a plain parameter of this name and the tensor's shape, and takes it as torch does."""
    import torch

    if module is None or type(tensor) is not torch.Tensor or not _is_plain(type(module)):
        return False
    place = module._parameters.get(name)
    return type(place) is torch.nn.Parameter and place.shape == tensor.shape and name not in vars(module)


def _is_plain(cls: Any) -> bool:
    """Tell whether a class finds modules, and takes parameters, as torch's does."""
    import torch

    return all(getattr(cls, each) is getattr(torch.nn.Module, each) for each in _OF_A_MODULE)
