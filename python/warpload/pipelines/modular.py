"""The components of a modular pipeline: stock loads one after the other, the core all of their bytes in one plan.

load_components  ->  foreseen by stock's own rules: which specs, which folders, which dtypes
  core               [ text_encoder | unet | vae ]                 one arena, on their way at once
  stock              spec.load(vae)  spec.load(unet) ...           each finds its bytes
  register_components                                              all have arrived
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import collector, context
from ..models.joint_load import JointLoad
from ..report import LoadReport
from ..stock import hub, seam_check, unexpected
from . import early_start
from .folder import Component

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("warpload")

Function = Callable[..., Any]

_WHERE = ("pretrained_model_name_or_path", "subfolder", "variant", "revision")


def load_components(stock: Function, self: Any, names: Any = None, workflow: str | None = None, **keywords: Any) -> Any:
    """Replace ``diffusers.ModularPipeline.load_components``."""
    source = str(getattr(self, "_pretrained_model_name_or_path", None) or type(self).__name__)
    report = LoadReport(source, kind="components")
    joint = JointLoad(report, zero_copy=not keywords.get("disable_mmap", False))
    further = {} if workflow is None else {"workflow": workflow}
    with context.began(report, joint=joint), collector.suspended(), report.stage("load"):
        try:
            if seam_check.is_whole("modular pipelines"):
                _begin(joint, self, names, workflow, keywords)
            return stock(self, names, **further, **keywords)
        finally:
            joint.close()


def load_component(stock: Function, self: Any, **keywords: Any) -> Any:
    """Replace ``diffusers.ComponentSpec.load``: what it loads goes under the component's name."""
    outer = context.current()
    if outer is None or outer.report.kind != "components":
        return stock(self, **keywords)
    with context.began(LoadReport(str(self.name), kind="model"), str(self.name), joint=outer.joint):
        return stock(self, **keywords)


def register_components(stock: Function, self: Any, **keywords: Any) -> Any:
    """Replace ``diffusers.ModularPipeline.register_components``: whoever gets the components finds them whole."""
    load = context.current()
    if load is not None and load.report.kind == "components" and load.joint is not None:
        with load.report.stage("wait"):
            load.joint.wait()
    return stock(self, **keywords)


def _begin(joint: JointLoad, pipeline: Any, names: Any, workflow: str | None, keywords: Mapping[str, Any]) -> None:
    """Put the bytes of all models on their way; a wrong guess costs time."""
    with joint.report.stage("open"):
        try:
            asked = _Asked()
            components = list(_components(pipeline, names, workflow, keywords, asked, joint))
            joint.begin(early_start.wanted_models(components, asked))
        except Exception as error:
            if unexpected.is_the_callers(error):
                raise
            joint.close()
            logger.warning("nothing of %s is read ahead: %s", joint.report.source, unexpected.told(error))


def _components(
    pipeline: Any, names: Any, workflow: str | None, keywords: Mapping[str, Any], asked: _Asked, joint: JointLoad
) -> Iterator[Component]:
    found: set[Path] = set()
    for name, spec in _specs(pipeline, names, workflow):
        own = {key: _of(value, name) for key, value in keywords.items() if not _is_left_out(value, name)}
        source, subfolder, variant, revision = (own.pop(field, getattr(spec, field, None)) for field in _WHERE)
        folder = _folder(source, subfolder, {**own, "revision": revision})
        if folder is None or folder in found or early_start.is_in_vain(own):
            continue
        found.add(folder)
        joint.name(os.path.join(source, subfolder or ""), name)
        asked.calls[name] = early_start.AskedInCall(own, {})
        library = str(getattr(spec.type_hint, "__module__", "")).partition(".")[0]
        yield Component(name, library, getattr(spec.type_hint, "__name__", ""), str(folder), variant)


def _specs(pipeline: Any, names: Any, workflow: str | None) -> list[tuple[str, Any]]:
    """Return the specs that stock will load, by its rules, but for the order, which with stock is any."""
    specs: dict[str, Any] = pipeline._component_specs
    if workflow is not None:
        used = {spec.name for spec in pipeline.blocks.get_workflow(workflow).expected_components}
        specs = {name: spec for name, spec in specs.items() if name in used}
    if names is None:
        return [
            (name, spec)
            for name, spec in specs.items()
            if spec.default_creation_method == "from_pretrained" and getattr(pipeline, name, None) is None
        ]
    wanted = [names] if isinstance(names, str) else list(names)
    return [(name, spec) for name, spec in specs.items() if name in wanted]


def _is_left_out(value: Any, name: str) -> bool:
    return isinstance(value, dict) and name not in value and "default" not in value


def _of(value: Any, name: str) -> Any:
    return value.get(name, value.get("default")) if isinstance(value, dict) else value


def _folder(source: Any, subfolder: str | None, options: Mapping[str, Any]) -> Path | None:
    """Return where a model lies on this disk, or None where that is for stock to find out."""
    if not isinstance(source, str | os.PathLike):
        return None
    if os.path.isdir(source):
        folder = Path(source, subfolder or "")
    elif (cached := hub.cached_snapshot(source, options)) is not None:
        folder = cached.folder / (subfolder or "")
    else:
        return None
    return folder if (folder / "config.json").is_file() else None


class _Asked:
    """What is asked for of each component; see ``early_start.Asked``.

    Attributes:
        calls: what each component's own load is given.
    """

    def __init__(self) -> None:
        self.calls: dict[str, early_start.AskedInCall] = {}

    def code(self, component: Component, rules: Any) -> str | None:
        """Return the dtype; see ``Asked``."""
        return self.calls[component.name].code(component, rules)

    def device(self, component: Component, of_diffusers: bool) -> torch.device | None:
        """Return the device; see ``Asked``."""
        return self.calls[component.name].device(component, of_diffusers)

    def quantises(self, component: Component) -> bool:
        """Tell whether it is quantised; see ``Asked``."""
        return self.calls[component.name].quantises(component)

    def maps(self, component: Component) -> bool:
        """Tell whether its call leaves files mapped; see ``Asked``."""
        return self.calls[component.name].maps(component)
