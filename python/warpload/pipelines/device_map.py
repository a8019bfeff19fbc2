"""``device_map`` beyond what stock takes: any one device, or a device for each component.

Stock takes ``"cuda"``, ``"cpu"`` and ``"balanced"``; these stay stock's. A ``torch.device``, a number, ``"cuda:1"``
or a dictionary is taken out of the call, and every model gets its part where it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import InvalidArgumentError


class ComponentDevices:
    """A device map that only we understand.

    Attributes:
        device_map: as it was given.
    """

    def __init__(self, device_map: Any) -> None:
        self.device_map = device_map
        values = device_map.values() if isinstance(device_map, Mapping) else [device_map]
        for value in values:
            _check(value)

    def device_maps(self, components: Iterable[str]) -> dict[str, Any]:
        """Return the device map of each component that has one.

        Raises:
            InvalidArgumentError: the map names a component that the pipeline does not have.
        """
        names = list(components)
        if not isinstance(self.device_map, Mapping):
            return {name: {"": _device(self.device_map)} for name in names}
        if unknown := self.device_map.keys() - {*names, "default"}:
            raise InvalidArgumentError(
                f"device_map names {', '.join(sorted(unknown))}, which the pipeline does not load; it loads"
                f" {', '.join(names)}"
            )
        default = self.device_map.get("default")
        chosen = {name: self.device_map.get(name, default) for name in names}
        return {name: {"": _device(device)} for name, device in chosen.items() if device is not None}


def component_devices(device_map: Any) -> ComponentDevices | None:
    """Return what only we understand of a ``device_map``, or None where stock understands it.

    Raises:
        InvalidArgumentError: it is neither a device nor a dictionary of devices.
    """
    if device_map is None or (isinstance(device_map, str) and not _has_index(device_map)):
        return None
    return ComponentDevices(device_map)


def _has_index(name: str) -> bool:
    return ":" in name


def _check(device: Any) -> None:
    if isinstance(device, bool) or (isinstance(device, int) and device < 0):
        raise InvalidArgumentError(f"device_map has {device!r}, which is no device")
    try:
        _device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidArgumentError(f"device_map has {device!r}, which is no device: {error}") from error


def _device(device: Any) -> Any:
    """Return what stock makes of a device: a number stays one, as torch asks for an accelerator to convert it."""
    import torch

    return device if isinstance(device, int) else torch.device(device)
