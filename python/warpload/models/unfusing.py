"""Unfusing LoRAs exactly: what was fused into is read from the model's file again, as stock's subtraction rounds.

    stock     weight += delta ... weight -= delta      in half precision, not what it was
    here      weight += delta ... weight.copy_(file)   what it was

stock's own ``unfuse_lora`` runs, so that its checks, messages and notes are made; only what a fused layer does then is
another thing.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import engine, errors, prefetch_part
from ..dtypes import code_of
from . import origins
from .origins import Origin

if TYPE_CHECKING:
    import torch

_BASE = "base_layer"
_CURE = "diffusers' own unfuse_lora subtracts what was added, and needs nothing but the adapter"
_LOAD_AGAIN = "load the model again"


@dataclass(frozen=True)
class _Fused:
    """A layer with adapters fused into it.

    Attributes:
        layer: the adapter's layer.
        parameters: those of the base layer, by their names in the model without the adapter's layers.
    """

    layer: Any
    parameters: dict[str, torch.nn.Parameter]

    def unmerge(self, before: Callable[[], None], tensors: dict[str, torch.Tensor]) -> None:
        """Stand for the layer's ``unmerge``."""
        before()
        for name, parameter in self.parameters.items():
            parameter.data.copy_(tensors[name])


def unfuse_lora(pipeline: Any, components: Sequence[str] | None = None) -> None:
    """Undo ``fuse_lora`` exactly: the weights are again, bit for bit, what they were when the model was loaded.

    diffusers' own ``unfuse_lora`` subtracts what was added, which leaves rounding errors in float16 and bfloat16, and
    multiplies the LoRA's matrices once more. This reads the weights of the fused layers from the model's file again,
    into the same parameters, on whatever device they are. All else is as after diffusers' ``unfuse_lora``.

    Args:
        pipeline: a pipeline with LoRAs fused into models that the core loaded, or one of diffusers' models.
        components: of a pipeline, the names of those to unfuse; by default all that have fused layers.

    Raises:
        InvalidArgumentError: a model was not placed by the core, or a fused layer was changed in other ways too since.
        IoError: a file is gone, or is not the one that was loaded; nothing is changed.
        FormatError: a file is not valid.
    """
    import torch

    if isinstance(pipeline, torch.nn.Module):
        _unfuse({type(pipeline).__name__: pipeline}, functools.partial(_unfuse_model, pipeline))
        return
    modules = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    if components is None:
        components = [name for name, model in modules.items() if _fused(model)]
        if not components:
            return
    chosen = {name: modules[name] for name in components if name in modules}
    _unfuse(chosen, functools.partial(pipeline.unfuse_lora, components=list(components)))


def _unfuse_model(model: Any) -> None:
    """Unfuse one model as stock does; transformers' models have no method for it."""
    if hasattr(model, "unfuse_lora"):
        model.unfuse_lora()
        return
    for each in _fused(model):
        each.layer.unmerge()


def _unfuse(models: dict[str, Any], by_stock: Callable[[], None]) -> None:
    """Let stock unfuse models, with each fused layer's weights from the file."""
    read = []
    for label, model in models.items():
        if fused := _fused(model):
            read.append((fused, _read(label, model, fused)))
    with contextlib.ExitStack() as replaced:
        for fused, tensors in read:
            for each in fused:
                replaced.enter_context(_exactly_unmerged(each, tensors))
        by_stock()


def _fused(model: Any) -> list[_Fused]:
    """Return the layers of a model that adapters are fused into."""
    found: list[_Fused] = []
    for name, module in model.named_modules():
        if not getattr(module, "merged_adapters", None) or not hasattr(module, _BASE):
            continue
        plain = ".".join(part for part in name.split(".") if part != _BASE)
        own = module.get_base_layer().named_parameters(recurse=False)
        found.append(_Fused(module, {f"{plain}.{each}": parameter for each, parameter in own}))
    return found


@contextlib.contextmanager
def _exactly_unmerged(fused: _Fused, tensors: dict[str, torch.Tensor]) -> Iterator[None]:
    """Have a layer's weights copied from the file when stock asks it to unmerge.

    A layer that is more than a plain LoRA (DoRA, which keeps norms; LoKr) does what it does before.
    """
    layer = fused.layer
    is_plain = hasattr(layer, "lora_A") and not getattr(layer, "lora_variant", None)
    before = layer.merged_adapters.clear if is_plain else layer.unmerge
    vars(layer)["unmerge"] = functools.partial(fused.unmerge, before, tensors)
    try:
        yield
    finally:
        del vars(layer)["unmerge"]


def _read(label: str, model: Any, fused: list[_Fused]) -> dict[str, torch.Tensor]:
    """Return the tensors of the fused layers, by the parameters' names, as the file has them.

    Raises:
        InvalidArgumentError: they are not the parameters that were loaded, or were changed in other ways.
        IoError: the file is another one, or cannot be read.
    """
    origin = origins.of(model)
    if origin is None:
        raise _refused(f"the weights of {label} were not placed by the core: nobody knows where they are from")
    parameters = {name: parameter for each in fused for name, parameter in each.parameters.items()}
    for name, parameter in parameters.items():
        _check(f"{name} of {label}", origin, name, parameter)
    if origin.states is None or prefetch_part.states_of([origin.path]) != origin.states:
        reason = f"the file is not the one that {label} was loaded from any more"
        raise errors.make("IoError", reason, path=str(origin.path), cure=_LOAD_AGAIN)
    return _from_file(origin, parameters)


def _from_file(origin: Origin, parameters: dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    """Return what parameters were loaded with, by their names; one tensor of the file may be in several dtypes."""
    placed = {name: origin.placed[name] for name in parameters}
    wanted: dict[str, dict[str, str]] = {}
    for each in placed.values():
        wanted.setdefault(each.code, {})[each.tensor] = each.code
    checkpoint = engine.open_checkpoint(origin.path, as_published=True)
    requests = [engine.request(checkpoint, tensor_dtypes=each, only=set(each)) for each in wanted.values()]
    loaded = dict(zip(wanted, engine.load(requests, [None] * len(requests)), strict=True))
    return {name: each.cut(loaded[each.code][each.tensor], parameters[name].shape) for name, each in placed.items()}


def _check(what: str, origin: Origin, name: str, parameter: torch.nn.Parameter) -> None:
    """Refuse a parameter whose values before the fuse cannot be told from the file."""
    if name in origin.made:
        raise _refused(f"{what} is no tensor of the file, nor a part of one: it was made when the file was converted")
    placed = origin.placed.get(name)
    if placed is None or placed.parameter() is not parameter or parameter.is_meta:
        raise _refused(f"{what} is not the parameter that was loaded")
    if code_of(parameter.dtype) != placed.code:
        raise _refused(f"{what} was loaded as {placed.code} and is {parameter.dtype} by now")
    if placed.version != origins.version_of(parameter):
        raise _refused(f"{what} was changed in place since it was loaded")


def _refused(reason: str) -> errors.WarploadError:
    return errors.make("InvalidArgumentError", reason, cure=_CURE)
