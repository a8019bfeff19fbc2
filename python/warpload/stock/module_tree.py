"""The modules of a model, in the order in which torch goes over them: walked once where torch would walk often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

# What a class may have its own version of, which is then to be called.
_OWN = ("__setattr__", "children", "eval", "named_children", "train")
_OWN_STATE = ("__setattr__", "_save_to_state_dict", "get_extra_state", "state_dict")
_STATE_HOOKS = ("_state_dict_hooks", "_state_dict_pre_hooks")

# Where a tensor of a module sits: its dictionary of parameters or buffers, its name there, and which of the two it is
# (a buffer may well be a torch.nn.Parameter when it is built).
Seat = tuple[dict[str, Any], str, bool]


def walk(model: Any) -> list[tuple[str, Any]]:
    """Return each module after those that it is in, with its dotted name and a dot; as often as it is in the tree.

    Args:
        model: the module to begin with.
    """
    found: list[tuple[str, Any]] = []
    left = [("", model)]  # the next one is the last
    while left:
        branch = left.pop()
        found.append(branch)
        prefix, module = branch
        children = reversed(module._modules.items())
        left += [(f"{prefix}{name}.", child) for name, child in children if child is not None]
    return found


def seats(tree: Iterable[tuple[str, Any]]) -> dict[str, Seat]:
    """Return where the tensors of a model's files sit, by their dotted names.

    Args:
        tree: the modules, from ``walk``.
    """
    found: dict[str, Seat] = {}
    for prefix, module in tree:
        for name, parameter in module._parameters.items():
            if parameter is not None:
                found[prefix + name] = (module._parameters, name, True)
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                found[prefix + name] = (module._buffers, name, False)
    return found


def has_ordinary_state(modules: Sequence[Any]) -> bool:
    """Tell whether the state dict of a model has its modules' parameters and persistent buffers, and nothing else."""
    if not all(map(_is_torchs_state, set(map(type, modules)))):
        return False
    return not any(vars(module).get(hooks) for module in modules for hooks in _STATE_HOOKS)


def _is_torchs_state(cls: Any) -> bool:
    import torch

    return all(getattr(cls, name) is getattr(torch.nn.Module, name) for name in _OWN_STATE)


def set_evaluating(model: Any, modules: Sequence[Any]) -> Any:
    """Return the model in evaluation mode: ``model.eval()``, which sets one flag of each module.

    Args:
        model: the model.
        modules: all that are in it, itself included.
    """
    import torch

    of_torch = [getattr(torch.nn.Module, name) for name in _OWN]
    if any([getattr(cls, name) for name in _OWN] != of_torch for cls in set(map(type, modules))):
        return model.eval()
    for module in modules:
        vars(module)["training"] = False
    return model
