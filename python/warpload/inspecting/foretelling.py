"""Who would load a component, and why: by the rules of the load, asked without the libraries.

What only a class can tell (that it lacks a key of the file, or loads in a way of its own) is known when it is loaded,
and `last_report()` says so then.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warpload import engine, mounts
from warpload.errors import FormatError, WarploadError
from warpload.inspecting.findings import Who
from warpload.inspecting.subject import Subject, SubjectError
from warpload.models import odd_files
from warpload.models.native_load import why_none
from warpload.models.weights import ModelWeights
from warpload.pipelines import completeness, early_start
from warpload.pipelines.folder import MODEL_INDEX, Component, list_components, read_model_index
from warpload.stock import cached_models, diffusers, hub, pickles, transformers
from warpload.stock.call import Call
from warpload.stock.diffusers_names import diffusers_names
from warpload.stock.model_files import read_config, shards_of


@dataclass(frozen=True)
class Foretold:
    """What a load would do with a component.

    Attributes:
        who: loads it.
        reason: why it is not the core alone, or what has to be known of it.
        path: the file or index that is loaded, where there is one.
        dtype: the code of the dtype that floating-point tensors get by default.
        oddities: what is odd about its files.
    """

    who: Who
    reason: str = ""
    path: Path | None = None
    dtype: str | None = None
    oddities: tuple[str, ...] = ()


def component_of_model(folder: Path, variant: str | None) -> Component:
    """Return a model's folder as a component: its class is what its pipeline, or else its configuration, says."""
    location = os.path.normpath(folder.absolute())
    name = os.path.basename(location)
    index = read_model_index(Path(location).parent) or {}
    for component in list_components(os.path.dirname(location), index, (), variant):
        if component.location == location:
            return component
    config = read_config(folder)
    architectures = config.get("architectures")
    if "_class_name" in config:
        return Component(name, "diffusers", str(config["_class_name"]), str(folder), variant)
    named = architectures[0] if isinstance(architectures, list) and architectures else ""
    return Component(name, "transformers", str(named), str(folder), variant)


def loadable_model(subject: Subject, variant: str | None) -> Component:
    """Return the model that a subject is, for whoever is about to load it.

    Raises:
        SubjectError: nobody says of which class it is.
    """
    component = component_of_model(subject.path, variant)
    if not component.class_name:
        raise SubjectError(f"{subject.path}: its config.json names no class (name one of its files)")
    return component


def why_no_class(library: str, class_name: str) -> str:
    """Say that the installed diffusers has no such class, or return the empty string."""
    if library != "diffusers" or not class_name or class_name in diffusers_names():
        return ""
    return f"the installed diffusers has no {class_name} (update diffusers)"


def foretell(component: Component, snapshot: hub.Snapshot | None = None) -> Foretold:
    """Tell what a load would do with a component.

    Args:
        component: of a pipeline, or a model.
        snapshot: that it is in, where it is one of the Hub's cache.
    """
    if not component.folder.is_dir() or (component.name != component.folder.name and _is_pipelines(component.folder)):
        return Foretold("fails", f"there is no folder {component.name}")
    if not completeness.is_model(completeness.names_here(component)):
        return Foretold("no weights")
    if fault := why_no_class(component.library, component.class_name):
        return Foretold("fails", fault)
    rules, call = _rules_of(component)
    path = rules.weights_file(component.folder, component.variant)
    if path is None:
        return _without_file(component, rules)
    if snapshot is not None and not cached_models.has_weights(snapshot, path):
        return Foretold("stock", hub.NOT_CACHED, path)
    code = rules.code(None, component.folder)
    if (config := read_config(component.folder).get("quantization_config")) is not None:
        return _quantised(config, path)
    return _by_its_files(path, code, call)


def of_index(path: Path) -> Foretold:
    """Tell what ``load_file`` does with an index that no model's folder has."""
    try:
        checkpoint = engine.open_checkpoint(path)
    except WarploadError as fault:
        return Foretold("fails", str(fault), path)
    return Foretold("native", "", path, None, tuple(sentence for _, sentence in checkpoint.oddities))


def _is_pipelines(folder: Path) -> bool:
    return (folder / MODEL_INDEX).is_file()


def _rules_of(component: Component) -> tuple[Any, type[Call]]:
    if early_start.is_of_diffusers(component):
        return diffusers, diffusers.DiffusersCall
    return transformers, transformers.TransformersCall


def _without_file(component: Component, rules: Any) -> Foretold:
    folder = component.folder
    variants = sorted(_variants_in(folder, rules))
    if component.variant is None and variants and not list(pickles.weights_in(folder)):
        return Foretold("fails", f"only the variant {variants[0]} is here: name it (variant={variants[0]!r})")
    if any(name.endswith(completeness.WEIGHT_SUFFIXES) for name in completeness.names_here(component)):
        return Foretold("stock", why_none(folder))
    return Foretold("fails", f"{folder} has a configuration and no weights")


def _variants_in(folder: Path, rules: Any) -> set[str]:
    """Return the variants that a folder has weights of, by its files' names: model.fp16.safetensors."""
    middles = {name.split(".")[-2] for name in os.listdir(folder) if name.count(".") > 1}
    return {each for each in middles if each not in ("safetensors", "index") and rules.weights_file(folder, each)}


def _quantised(config: Any, path: Path) -> Foretold:
    method = config.get("quant_method") if isinstance(config, dict) else None
    named = f"quantised by {method}" if isinstance(method, str) else "quantised"
    return Foretold("read natively", f"{named}: the library's own quantiser makes its tensors of the file's", path)


def _by_its_files(path: Path, code: str | None, call: type[Call]) -> Foretold:
    """Tell by the headers, and by whether an index agrees with them."""
    try:
        weights = ModelWeights.open(path)
    except FormatError as fault:
        if not odd_files.stock_may_take(fault, path):
            return Foretold("fails", str(fault), path, code)
        who: Who = "read natively" if fault.path == str(path) else "stock"
        return Foretold(who, str(fault), path, code)
    except WarploadError as fault:
        return Foretold("fails", str(fault), path, code)
    oddities = tuple(odd_files.told(weights))
    left = [text for kind, (text, *_) in weights.oddities.items() if kind in call.left_to_stock]
    if left:
        return Foretold("read natively", f"{left[0]}: stock places its tensors", path, code, oddities)
    copied = "copied: files of this file system must not be mapped" if mounts.forbid_mapping(shards_of(path)) else ""
    return Foretold("native", copied, path, code, oddities)
