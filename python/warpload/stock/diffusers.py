"""diffusers: the arguments of its models, where weights are, which dtypes they get, how a model is built.

build without weights --> names in the file --> keys and shapes match? --> dtype of each --> tensors are placed
                                                        | no
                                                        v
                                              stock goes on with the model that was built
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import context
from ..dtypes import FLOATING_POINT, code_of
from . import construction, kept_in_float32, module_tree, repeated_blocks, seam_check
from .call import FETCHING, OFFLOADING, Call, first_of, whole_device
from .construction import Built, can_be_handed_over, constructing
from .model_files import is_quantised, with_variant
from .refusal import NotNativeError, check_own_loading, some_of

if TYPE_CHECKING:
    import torch
    from diffusers import ModelMixin

    from ..models.weights import ModelWeights
    from .attempt import Attempt

_STEM = "diffusion_pytorch_model.safetensors"
# How the keys of deprecated attention blocks end, and how they have ended since then.
_DEPRECATED = {f".{name}.{kind}" for name in ("query", "key", "value", "proj_attn") for kind in ("weight", "bias")}
_SINCE_THEN = {f".{name}.{kind}" for name in ("to_q", "to_k", "to_v", "to_out.0") for kind in ("weight", "bias")}

# Every argument that is not for the model's configuration.
_ARGUMENTS = (
    FETCHING
    | OFFLOADING
    | {
        "device_map",
        "disable_mmap",
        "dtype",
        "flashpack_kwargs",
        "ignore_mismatched_sizes",
        "low_cpu_mem_usage",
        "output_loading_info",
        "parallel_config",
        "quantization_config",
        "subfolder",
        "torch_dtype",
        "use_flashpack",
        "use_safetensors",
        "variant",
    }
)

# A class that brings its own version of one of these loads in a way that we don't know. (Its own ``from_pretrained``
# has come to us by calling the base class's, so it is none of them.)
_LOADING_METHODS = ("_load_pretrained_model", "_fix_state_dict_keys_on_load", "load_state_dict")

# A module of a model, after its dotted name and a dot.
_Branch = tuple[str, Any]


# -- files and dtypes, known before diffusers is imported -------------------------------------------------------------


def weight_names(variant: str | None) -> list[str]:
    """Return every name that a model's weight file or index may have."""
    return [with_variant(name, variant) for name in (_STEM, f"{_STEM}.index.json")]


def weights_file(folder: Path, variant: str | None) -> Path | None:
    """Return the index or the file that a model loads, or None where diffusers has to look further."""
    single, index = (folder / name for name in weight_names(variant))
    if index.is_file():
        return index
    # An index in the deprecated spelling takes precedence over a single file: stock knows it, we need not.
    if variant is not None and any(variant in name and ".index." in name for name in os.listdir(folder)):
        return None
    return single if single.is_file() else None


def code(dtype: torch.dtype | None, folder: Path) -> str | None:
    """Return the dtype that a model's floating-point tensors take: float32 where none is asked for."""
    return "F32" if dtype is None else code_of(dtype)


def dtype_of_component(arguments: Mapping[str, Any], name: str) -> torch.dtype | None:
    """Return the dtype that a pipeline's ``from_pretrained`` gives to one of its models.

    Args:
        arguments: of the pipeline's call: one dtype, or a dictionary of them by component with a ``"default"``.
        name: the component.

    Raises:
        NotNativeError: what is there is no dtype; stock knows what to say.
    """
    dtype = first_of(arguments, "dtype", "torch_dtype")
    if dtype is None:
        return None
    import torch

    if isinstance(dtype, Mapping):
        dtype = dtype.get(name, dtype.get("default", torch.float32))
    elif dtype is not None and not isinstance(dtype, torch.dtype):
        return torch.float32  # which stock says
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    raise NotNativeError(f"dtype {dtype!r} is not a torch.dtype")


# -- one call ---------------------------------------------------------------------------------------------------------


class DiffusersCall(Call):
    """``diffusers.ModelMixin.from_pretrained``."""

    library = "diffusers"
    feature = "diffusers models"
    # Stock decides by an index's names what it says is missing, puts every copy of a tensor into the model, one after
    # the other, and takes only plain names of safetensors files.
    left_to_stock = frozenset({"absent", "conflicting copy", "path", "suffix", "unlisted"})

    def check(self) -> None:
        """Refuse quantisers, parallel loading and other formats."""
        if self.kwargs.get("quantization_config") is not None:
            raise NotNativeError("quantization_config", quantised=True)
        self.refuse(use_flashpack=False, use_safetensors=True, parallel_config=None)
        if not self.kwargs.get("low_cpu_mem_usage", True):
            raise NotNativeError("low_cpu_mem_usage=False")

    def check_folder(self, folder: Path) -> None:
        """Refuse what is saved quantised."""
        if is_quantised(folder):
            raise NotNativeError("quantised checkpoint", quantised=True)

    def weights_file(self, folder: Path) -> Path | None:
        """Return the file or index that diffusers takes; see ``weights_file``."""
        return weights_file(folder, self.kwargs.get("variant"))

    def code(self, dtype: torch.dtype | None, folder: Path) -> str | None:
        """Return the dtype of floating-point tensors; see ``code``."""
        return code(dtype, folder)

    def device_map(self) -> dict[str, Any] | None:
        """Return the device map as accelerate takes it."""
        return whole_device(self.kwargs.get("device_map"))

    def build(
        self,
        folder: Path,
        dtype: torch.dtype | None,
        device_map: dict[str, Any] | None,
        weights: ModelWeights,
        attempt: Attempt,
    ) -> tuple[Any, str]:
        """Return the model, with loading info if that is asked for; its tensors' bytes may still be under way."""
        model = build(self.cls, folder, dtype, self.others(_ARGUMENTS), weights, attempt)
        model.register_to_config(_name_or_path=self.source)
        if device_map is not None:
            _dispatch(model, device_map, weights)
        if not self.kwargs.get("output_loading_info"):
            return model, ""
        return (model, {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": []}), ""

    def by_stock(self) -> Any:
        """Let diffusers load the model, one at a time like all."""
        with construction.turn_when_begun(self.label):
            return self.stock(self.source, **self.kwargs)


def _dispatch(model: Any, device_map: dict[str, Any], weights: ModelWeights) -> None:
    """Let accelerate bring a model to its device, as stock does once the tensors are in it.

    Tensors that go to the device's own arena stay as they are: only the buffers that no file has are moved. Others are
    copied, so that their bytes have to be there.
    """
    from accelerate import dispatch_model

    if weights.device is None:
        weights.wait_arrival()
    dispatch_model(model, device_map=device_map, offload_dir=None, offload_index=None)


# -- how a model is built and its tensors are placed ------------------------------------------------------------------


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
    import diffusers

    check_own_loading(cls, diffusers.ModelMixin, _LOADING_METHODS)
    config, unused, _ = cls.load_config(str(folder), return_unused_kwargs=True, return_commit_hash=True, **settings)
    with context.span("construct", weights.label):
        model = _construct(cls, copy.deepcopy(config), dict(unused), dtype, attempt)
    tree = module_tree.walk(model)
    try:
        with context.span("place", weights.label):
            _fill(cls, model, tree, dtype, weights)
    except NotNativeError as error:
        if can_be_handed_over(cls):
            error.built = Built(cls, config, unused, model)
        raise
    return module_tree.set_evaluating(model, [module for _, module in tree])


def _fill(
    cls: type[ModelMixin], model: ModelMixin, tree: Sequence[_Branch], dtype: torch.dtype | None, weights: ModelWeights
) -> None:
    sources = _checkpoint_names(model, weights)
    seats = module_tree.seats(tree)
    if module_tree.has_ordinary_state([module for _, module in tree]):
        expected = {key: store[name] for key, (store, name, _) in seats.items()}
    else:
        expected = model.state_dict(keep_vars=True)
    _check_keys(cls, seats, expected, sources, weights)
    weights.require(_wanted_dtypes(cls, dtype, expected, sources, weights))
    _place(seats, expected, sources, weights.tensors())


def _construct(
    cls: type[ModelMixin], config: dict[str, Any], unused: dict[str, Any], dtype: torch.dtype | None, attempt: Attempt
) -> ModelMixin:
    """Build the model as stock does: parameters on meta, buffers real, under the default dtype asked for."""
    import torch
    from accelerate import init_empty_weights

    no_init_weights = seam_check.read("diffusers.models.modeling_utils", "no_init_weights")
    with constructing(cls.__name__):
        before = torch.get_default_dtype()
        if dtype is not None:
            cls._set_default_torch_dtype(dtype)
        if can_be_handed_over(cls):
            attempt.keep()
        try:
            with repeated_blocks.copied(attempt.said), no_init_weights(), init_empty_weights():
                return cls.from_config(config, **unused)
        finally:
            torch.set_default_dtype(before)


def _checkpoint_names(model: ModelMixin, weights: ModelWeights) -> dict[str, str]:
    """Map each key, as the model spells it, to the tensor's name in the checkpoint."""
    names = {name: name for name in weights.described}
    if not weights.sharded and _may_be_renamed(names):  # stock renames deprecated keys of single files only
        model._fix_state_dict_keys_on_load(names)
    return names


def _may_be_renamed(names: Collection[str]) -> bool:
    """Tell whether diffusers' own method could rename any of these keys, for which it looks at all modules."""
    method = seam_check.read("diffusers.models.modeling_utils", "ModelMixin._fix_state_dict_keys_on_load")
    known = {each for each in seam_check.words(method) if re.fullmatch(r"(\.\w+)+", each)}
    return known != _DEPRECATED | _SINCE_THEN or any(name.endswith(tuple(_DEPRECATED)) for name in names)


def _check_keys(
    cls: type[ModelMixin],
    seats: Mapping[str, module_tree.Seat],
    expected: Mapping[str, torch.Tensor],
    sources: Mapping[str, str],
    weights: ModelWeights,
) -> None:
    if expected.keys() != seats.keys():
        raise NotNativeError(f"{cls.__name__} makes its own state dict")
    if missing := expected.keys() - sources.keys():
        raise NotNativeError(f"missing keys: {some_of(missing)}")
    unexpected = sources.keys() - expected.keys()
    for pattern in cls._keys_to_ignore_on_load_unexpected or []:
        unexpected = {key for key in unexpected if re.search(pattern, key) is None}
    if unexpected:
        raise NotNativeError(f"unexpected keys: {some_of(unexpected)}")
    described = weights.described
    for key, tensor in expected.items():
        if tensor.shape != described[sources[key]][1]:
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
    import torch

    kept = kept_in_float32.by_diffusers(cls)
    wanted: dict[str, str] = {}
    for key, tensor in expected.items():
        source = sources[key]
        own = weights.described[source][0]
        final = tensor.dtype
        if dtype is not None and own in FLOATING_POINT:
            final = torch.float32 if kept and kept_in_float32.keeps(kept, key) else dtype
        named = code_of(final)
        if named is None or (named != own and not weights.can_become(source, named)):
            raise NotNativeError(f"no native cast of {key} from {own} to {final}")
        wanted[source] = named
    return wanted


def _place(
    seats: Mapping[str, module_tree.Seat],
    expected: Mapping[str, torch.Tensor],
    sources: Mapping[str, str],
    tensors: Mapping[str, torch.Tensor],
) -> None:
    for key, (store, name, is_parameter) in seats.items():
        old, value = expected[key], tensors[sources[key]]
        if is_parameter:
            parameter_class: Any = type(old)
            store[name] = parameter_class(value, requires_grad=old.requires_grad)
        else:
            store[name] = value
