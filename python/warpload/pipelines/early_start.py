"""Which bytes of a pipeline move before its classes are imported: the same rules as the real load asks, asked early.

A wrong answer costs time, never a bit: the real load finds what fits, and reads the rest again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .. import devices, mounts
from ..models.joint_load import WantedModel
from ..stock import diffusers, kept_in_float32, seam_check, transformers
from ..stock.model_files import is_quantised, read_config, shards_of
from ..stock.refusal import NotNativeError
from .folder import Component

if TYPE_CHECKING:
    import torch

# With one of these stock places the tensors, or reads other files: bytes that move early would move in vain.
_PLAIN: dict[str, Any] = {
    "custom_pipeline": None,
    "low_cpu_mem_usage": True,
    "use_flashpack": False,
    "use_onnx": False,
    "use_safetensors": True,
}


def is_in_vain(kwargs: Mapping[str, Any]) -> bool:
    """Tell whether the core will not place the models of a call, or stock decides later where they go."""
    if kwargs.get("device_map") == "balanced":
        return True
    return any(kwargs.get(name, plain) not in (None, plain) for name, plain in _PLAIN.items())


class Asked(Protocol):
    """What is asked for of each component."""

    def code(self, component: Component, rules: Any) -> str | None:
        """Return the dtype that floating-point tensors take, or None where each keeps its own.

        Args:
            component: of the pipeline, or the only model.
            rules: ``stock.diffusers`` or ``stock.transformers``.

        Raises:
            NotNativeError: what is asked for is no dtype.
        """

    def device(self, component: Component, of_diffusers: bool) -> torch.device | devices.Place | None:
        """Return the device whose arena they go to, or None for the host's memory."""

    def quantises(self, component: Component) -> bool:
        """Tell whether the component is quantised while it is loaded."""

    def maps(self, component: Component) -> bool:
        """Tell whether its tensors may be views of their files."""


class AskedInCall:
    """What a call of a pipeline's ``from_pretrained`` asks for.

    Args:
        kwargs: of the call.
        device_maps: of each component, where the call's device map is one that only we understand.
    """

    def __init__(self, kwargs: Mapping[str, Any], device_maps: Mapping[str, dict[str, Any]]) -> None:
        self._kwargs, self._device_maps = kwargs, device_maps

    def code(self, component: Component, rules: Any) -> str | None:
        """Return the dtype; see ``Asked``."""
        code: str | None = rules.code(diffusers.dtype_of_component(self._kwargs, component.name), component.folder)
        return code

    def device(self, component: Component, of_diffusers: bool) -> torch.device | None:
        """Return the device; see ``Asked``."""
        if self._device_maps:
            return devices.arena_device(self._device_maps.get(component.name, {}).get(""))
        device_map = self._kwargs.get("device_map")
        return devices.arena_device(device_map if of_diffusers else devices.spelled_by_transformers(device_map))

    def quantises(self, component: Component) -> bool:
        """Tell whether it is quantised, by diffusers' rules; see ``Asked``."""
        config = self._kwargs.get("quantization_config")
        names = getattr(config, "quant_mapping", None) or getattr(config, "components_to_quantize", None)
        return config is not None and (not names or component.name in names)

    def maps(self, component: Component) -> bool:
        """Tell whether the call leaves files mapped; see ``Asked``."""
        return not self._kwargs.get("disable_mmap")


def wanted_models(components: list[Component], asked: Asked) -> list[WantedModel]:
    """Return the models whose bytes are to move now; those of transformers first, which it wants before diffusers does.

    Args:
        components: of the pipeline.
        asked: what is asked for of each.
    """
    by_library: dict[bool, list[Component]] = {False: [], True: []}
    for component in components:
        by_library[is_of_diffusers(component)].append(component)
    wanted = (
        _wanted_model(component, of_diffusers, asked)
        for of_diffusers, those in by_library.items()
        for component in those
    )
    return [model for model in wanted if model is not None]


def _wanted_model(component: Component, of_diffusers: bool, asked: Asked) -> WantedModel | None:
    if not seam_check.is_whole(feature_of(of_diffusers)):
        return None
    rules = diffusers if of_diffusers else transformers
    path = rules.weights_file(component.folder, component.variant)
    if path is None:
        return None
    if asked.quantises(component) or is_quantised(component.folder):
        # The library's quantiser gets views, and moves what it makes of them by itself.
        maps = asked.maps(component) and not mounts.forbid_mapping(shards_of(path))
        return WantedModel(component.name, path, None) if maps else None
    try:
        code = asked.code(component, rules)
    except NotNativeError:
        return None
    kept = kept_in_float32.foreseen(component.folder, code)
    return WantedModel(component.name, path, code, asked.device(component, of_diffusers), kept)


def feature_of(of_diffusers: bool) -> str:
    """Return what of the table of seams places the tensors of a library's models."""
    return "diffusers models" if of_diffusers else "transformers models"


def is_of_diffusers(component: Component) -> bool:
    """Tell whether a model is one of diffusers', else it is one of transformers'."""
    # A model in a pipeline's own module may be either library's; only diffusers writes its class into the settings.
    return component.library == "diffusers" or "_class_name" in read_config(component.folder)
