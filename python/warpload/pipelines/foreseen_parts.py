"""Which bytes a load will want, told from what ``prefetch`` is asked for: by the rules of the load, without torch."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import devices, engine
from ..dtypes import FLOATING_POINT
from ..models.joint_load import WantedModel
from ..models.weights import ModelWeights
from ..prefetch_part import Opened, Part, Wanted, part
from ..prefetch_run import NothingToPrefetchError
from ..stock import cached_models, hub
from ..stock.model_files import read_config
from ..whole_file import natively_cast
from . import early_start, snapshot
from . import folder as folders
from .folder import Component

if TYPE_CHECKING:
    from .prefetching import Order


def parts_of(order: Order) -> list[Part]:
    """Find and open what loads will ask for, in the order in which the bytes move.

    Args:
        order: what ``prefetch`` was asked for.

    Raises:
        NothingToPrefetchError: there is nothing to read early; says why.
        WarploadError: of the files, or the device.
    """
    if not order.is_repository and not os.path.isdir(order.source[0]):
        return [_of_files(order)]
    components = _components(order)
    wanted = early_start.wanted_models(components, AskedOfPrefetch(order))
    places = [place for model in wanted if isinstance(place := model.device, devices.Place) and place.type == "cuda"]
    if places:  # the context is made while headers are read
        ordinals = {str(place.index): place.index for place in places}
        devices.prepare(engine.loader(), ordinals, folders.weight_bytes(components))
    return [_of_model(model, order.zero_copy) for model in wanted]


class AskedOfPrefetch:
    """What ``prefetch`` is asked for of each component; see ``early_start.Asked``."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._codes, self._devices = dict(order.codes), dict(order.devices)

    def code(self, component: Component, rules: Any) -> str | None:
        """Return the dtype: of a dictionary without a default, the components that it leaves out are in float32."""
        code: str | None = _of(self._codes, component, otherwise="F32")
        if code is None:
            code = rules.code(None, component.folder)
        return code

    def device(self, component: Component, of_diffusers: bool) -> devices.Place | None:
        """Return the place of the device."""
        device = _of(self._devices, component, otherwise=None)
        if self._order.one_device and not of_diffusers:
            device = devices.spelled_by_transformers(device)
        return devices.foreseen_place(device, self._order.current_gpu)

    def quantises(self, component: Component) -> bool:
        """Say no: nothing is known of the call but what the files say."""
        return False

    def maps(self, component: Component) -> bool:
        """Tell whether the load may map files."""
        return self._order.zero_copy


def _of(given: dict[str, Any], component: Component, *, otherwise: Any) -> Any:
    return given.get(component.name, given.get("", given.get("default", otherwise)))


def _components(order: Order) -> list[Component]:
    """Return the models of a folder: those of the pipeline, or the only one."""
    found, folder = _snapshot(order)
    index = None if order.subfolder else folders.read_model_index(folder)
    if index is not None:
        if found is not None:
            complete = snapshot.complete_snapshot(order.source[0], {**_options(order), **dict.fromkeys(order.without)})
            if complete is None:
                raise NothingToPrefetchError(f"the Hub's cache does not hold all of {order.source[0]}")
        return folders.list_components(str(folder), index, order.without, order.variant)
    if found is not None and not cached_models.has_model(found, order.subfolder, order.variant):
        raise NothingToPrefetchError(f"the Hub's cache does not hold all of {order.source[0]}")
    location = folder / (order.subfolder or "")
    if not (location / "config.json").is_file():
        raise NothingToPrefetchError(f"there is neither a {folders.MODEL_INDEX} nor a config.json")
    library = "diffusers" if "_class_name" in read_config(location) else "transformers"
    return [Component(order.subfolder or location.name, library, "", str(location), order.variant)]


def _snapshot(order: Order) -> tuple[hub.Snapshot | None, Path]:
    """Return what the Hub's cache has of a repository, and the folder."""
    if not order.is_repository:
        return None, Path(order.source[0])
    found = hub.cached_snapshot(order.source[0], _options(order))
    if found is None:
        raise NothingToPrefetchError(f"{order.source[0]} is no path here, and the Hub's cache has no such repository")
    return found, found.folder


def _options(order: Order) -> dict[str, Any]:
    given = {"variant": order.variant, "revision": order.revision, "cache_dir": order.cache_dir}
    return {name: value for name, value in given.items() if value is not None}


def _of_model(model: WantedModel, zero_copy: bool) -> Part:
    place = devices.place_of(model.device)

    def open_files() -> Opened:
        weights = ModelWeights.open(model.path)
        request = weights.plan(model.code, zero_copy, model.kept, place)
        return weights, request, weights.checkpoint.nbytes, place is None and weights.is_mapped()

    return part(model.label, [model.path], Wanted("model", model.code, place, zero_copy), open_files)


def _of_files(order: Order) -> Part:
    """Return what ``load_file`` will ask for."""
    ((_, code),) = order.codes if len(order.codes) == 1 else [("", None)]
    ((_, device),) = order.devices if len(order.devices) == 1 else [("", None)]
    files, place = [Path(each) for each in order.source], devices.foreseen_place(device, order.current_gpu)
    if place is not None and place.type == "cuda":
        devices.prepare(engine.loader(), place.index, sum(each.stat().st_size for each in files))
    open_files = functools.partial(_open_files, files, code, place, order.zero_copy)
    return part(files[0].name, files, Wanted("file", code, place, order.zero_copy), open_files)


def _open_files(files: Sequence[Path], code: str | None, place: devices.Place | None, zero_copy: bool) -> Opened:
    checkpoint = engine.open_checkpoint(files, gguf=True)
    only = None if code is None else natively_cast(checkpoint, code)
    request = engine.request(checkpoint, place, dtype=code, only=only, zero_copy=zero_copy)
    described = checkpoint.tensors()
    casts = code is not None and (
        bool(checkpoint.blocks) or any(own in FLOATING_POINT and own != code for _, own, _, _ in described)
    )
    return checkpoint, request, checkpoint.nbytes, place is None and zero_copy and not casts
