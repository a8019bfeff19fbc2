"""Which bytes of a pipeline move before its classes are imported: the same rules as the real load asks, asked early.

A wrong answer costs time, never a bit: the real load finds what fits, and reads the rest again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import devices
from ..models.joint_load import WantedModel
from ..stock import diffusers, kept_in_float32, seam_check, transformers
from ..stock.model_files import read_config
from ..stock.refusal import NotNativeError
from .folder import Component

# With one of these stock places the tensors, or reads other files: bytes that move early would move in vain.
_PLAIN: dict[str, Any] = {
    "custom_pipeline": None,
    "low_cpu_mem_usage": True,
    "quantization_config": None,
    "use_flashpack": False,
    "use_onnx": False,
    "use_safetensors": True,
}


def is_in_vain(kwargs: Mapping[str, Any]) -> bool:
    """Tell whether the core will not place the models of a call, or stock decides later where they go."""
    if kwargs.get("device_map") == "balanced":
        return True
    return any(kwargs.get(name, plain) not in (None, plain) for name, plain in _PLAIN.items())


def wanted_models(
    components: list[Component], kwargs: Mapping[str, Any], device_maps: Mapping[str, dict[str, Any]]
) -> list[WantedModel]:
    """Return the models whose bytes are to move now; those of transformers first, which it wants before diffusers does.

    Args:
        components: of the pipeline.
        kwargs: of its ``from_pretrained``.
        device_maps: of each component, where the call's device map is one that only we understand.
    """
    by_library: dict[bool, list[Component]] = {False: [], True: []}
    for component in components:
        by_library[_is_of_diffusers(component)].append(component)
    wanted = (
        _wanted_model(component, of_diffusers, kwargs, device_maps)
        for of_diffusers, those in by_library.items()
        for component in those
    )
    return [model for model in wanted if model is not None]


def _wanted_model(
    component: Component, of_diffusers: bool, kwargs: Mapping[str, Any], device_maps: Mapping[str, dict[str, Any]]
) -> WantedModel | None:
    if not seam_check.is_whole(feature_of(of_diffusers)):
        return None
    rules = diffusers if of_diffusers else transformers
    path = rules.weights_file(component.folder, component.variant)
    if path is None:
        return None
    try:
        code = rules.code(diffusers.dtype_of_component(kwargs, component.name), component.folder)
    except NotNativeError:
        return None
    if device_maps:
        device = device_maps.get(component.name, {}).get("")
    else:
        device_map = kwargs.get("device_map")
        device = device_map if of_diffusers else devices.spelled_by_transformers(device_map)
    kept = kept_in_float32.foreseen(component.folder, code)
    return WantedModel(component.name, path, code, devices.arena_device(device), kept)


def feature_of(of_diffusers: bool) -> str:
    """Return what of the table of seams places the tensors of a library's models."""
    return "diffusers models" if of_diffusers else "transformers models"


def _is_of_diffusers(component: Component) -> bool:
    # A model in a pipeline's own module may be either library's; only diffusers writes its class into the settings.
    return component.library == "diffusers" or "_class_name" in read_config(component.folder)
