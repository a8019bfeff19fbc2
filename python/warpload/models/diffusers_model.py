"""A diffusers model: built without weights, native tensors bound directly."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import ModelMixin
from diffusers.models.modeling_utils import no_init_weights

from ..dtypes import FLOATING_POINT, code_of
from .attempt import Attempt
from .construction import Built, can_be_handed_over, constructing
from .native import NotNativeError, check_own_loading, some_of
from .weights import ModelWeights

# A class that brings its own version of one of these loads in a way that we don't know. (Its own ``from_pretrained``
# has come to us by calling the base class's, so it is none of them.)
_LOADING_METHODS = ("_load_pretrained_model", "_fix_state_dict_keys_on_load", "load_state_dict")

# Where a tensor of a module lives: its dictionary of parameters or buffers, its name there, and which of the two it is
# (a buffer may well be a torch.nn.Parameter when it is built).
Place = tuple[dict[str, Any], str, bool]


def build(
    cls: type[ModelMixin],
    folder: Path,
    dtype: torch.dtype | None,
    settings: Mapping[str, Any],
    weights: ModelWeights,
    attempt: Attempt,
) -> ModelMixin:
    """Return the model in evaluation mode; its tensors' bytes may still be under way.

    Args:
        cls: a subclass of ``diffusers.ModelMixin``.
        folder: where its configuration lies.
        dtype: as given to ``from_pretrained``; None means that every tensor takes its parameter's dtype.
        settings: keyword arguments that override the configuration.
        weights: the checkpoint, being loaded.
        attempt: what is undone where this is refused.

    Raises:
        NotNativeError: stock has to put this one together; where it can go on with the model, that is in the error.
    """
    check_own_loading(cls, ModelMixin, _LOADING_METHODS)
    config, unused, _ = cls.load_config(str(folder), return_unused_kwargs=True, return_commit_hash=True, **settings)
    model = _construct(cls, copy.deepcopy(config), dict(unused), dtype, attempt)
    try:
        _fill(cls, model, dtype, weights)
    except NotNativeError as error:
        if can_be_handed_over(cls):
            error.built = Built(cls, config, unused, model)
        raise
    return model.eval()


def _fill(cls: type[ModelMixin], model: ModelMixin, dtype: torch.dtype | None, weights: ModelWeights) -> None:
    sources = _checkpoint_names(model, weights)
    places = _places(model)
    expected = model.state_dict(keep_vars=True)
    _check_keys(cls, places, expected, sources, weights)
    weights.require(_wanted_dtypes(cls, dtype, expected, sources, weights))
    _bind(places, expected, sources, weights.tensors())


def _construct(
    cls: type[ModelMixin], config: dict[str, Any], unused: dict[str, Any], dtype: torch.dtype | None, attempt: Attempt
) -> ModelMixin:
    """Build the model as stock does: parameters on meta, buffers real, under the default dtype asked for."""
    with constructing(cls.__name__):
        before = torch.get_default_dtype()
        if dtype is not None:
            cls._set_default_torch_dtype(dtype)
        if can_be_handed_over(cls):
            attempt.keep()
        try:
            with no_init_weights(), init_empty_weights():
                return cls.from_config(config, **unused)
        finally:
            torch.set_default_dtype(before)


def _checkpoint_names(model: ModelMixin, weights: ModelWeights) -> dict[str, str]:
    """Map each key, as the model spells it, to the tensor's name in the checkpoint."""
    names = {name: name for name in weights.described}
    if not weights.sharded:  # stock renames deprecated keys of single files only
        model._fix_state_dict_keys_on_load(names)
    return names


def _places(model: torch.nn.Module) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        dotted = f"{prefix}." if prefix else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                places[dotted + name] = (module._parameters, name, True)
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                places[dotted + name] = (module._buffers, name, False)
    return places


def _check_keys(
    cls: type[ModelMixin],
    places: Mapping[str, Place],
    expected: Mapping[str, torch.Tensor],
    sources: Mapping[str, str],
    weights: ModelWeights,
) -> None:
    if expected.keys() != places.keys():
        raise NotNativeError(f"{cls.__name__} makes its own state dict")
    if missing := expected.keys() - sources.keys():
        raise NotNativeError(f"missing keys: {some_of(missing)}")
    unexpected = sources.keys() - expected.keys()
    for pattern in cls._keys_to_ignore_on_load_unexpected or []:
        unexpected = {key for key in unexpected if re.search(pattern, key) is None}
    if unexpected:
        raise NotNativeError(f"unexpected keys: {some_of(unexpected)}")
    for key, tensor in expected.items():
        if tuple(tensor.shape) != weights.described[sources[key]][1]:
            raise NotNativeError(f"{key} has another shape")


def _wanted_dtypes(
    cls: type[ModelMixin],
    dtype: torch.dtype | None,
    expected: Mapping[str, torch.Tensor],
    sources: Mapping[str, str],
    weights: ModelWeights,
) -> dict[str, str]:
    """Decide each tensor's final dtype by stock's rules.

    With a dtype, floating-point tensors take it, but for those below a module that is to stay in float32. Everything
    else takes the dtype that its parameter or buffer was built with.
    """
    kept = cls._keep_in_fp32_modules or []
    kept = {kept} if isinstance(kept, str) else set(kept)
    wanted: dict[str, str] = {}
    for key, tensor in expected.items():
        source = sources[key]
        final = tensor.dtype
        if dtype is not None and weights.described[source][0] in FLOATING_POINT:
            final = torch.float32 if not kept.isdisjoint(key.split(".")) else dtype
        code = code_of(final)
        if code is None or not weights.can_become(source, code):
            raise NotNativeError(f"no native cast of {key} from {weights.described[source][0]} to {final}")
        wanted[source] = code
    return wanted


def _bind(
    places: Mapping[str, Place],
    expected: Mapping[str, torch.Tensor],
    sources: Mapping[str, str],
    tensors: Mapping[str, torch.Tensor],
) -> None:
    for key, (store, name, is_parameter) in places.items():
        old, value = expected[key], tensors[sources[key]]
        if is_parameter:
            parameter_class: Any = type(old)
            store[name] = parameter_class(value, requires_grad=old.requires_grad)
        else:
            store[name] = value
