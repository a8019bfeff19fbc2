"""Models whose bytes are loaded together: one plan, one arena."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import collector, context, devices, engine, prefetched
from ..context import LoadContext
from ..errors import WarploadError
from ..prefetch_run import Taken
from ..report import LoadReport
from .weights import ModelWeights

if TYPE_CHECKING:
    import torch

_OTHER_FILES = "other files of its folder are loaded"


@dataclass(frozen=True)
class WantedModel:
    """A model whose bytes are to be on their way before its class is known.

    Attributes:
        label: what the report calls it.
        path: its weight file or index.
        code: the dtype that its floating-point tensors will probably have; None keeps each tensor's own.
        device: the device whose arena they go to, or None for the host's memory.
        kept: parts of names whose tensors will be in float32 all the same.
    """

    label: str
    path: Path
    code: str | None
    device: torch.device | devices.Place | None = None
    kept: frozenset[str] = frozenset()


class JointLoad:
    """Loads that begin together and end together.

    The bytes of the models given to ``begin`` move at once, in that order, into one arena. Any other model that turns
    up later gets a load of its own. ``close`` cancels and drains what nobody claimed.

    Attributes:
        report: what is told of the models.
        zero_copy: whether tensors that need no cast may be views of their file.
        device_maps: label -> the device map of that model, where the pipeline's has parts for its models.
    """

    def __init__(self, report: LoadReport, *, zero_copy: bool = True) -> None:
        self.report = report
        self.zero_copy = zero_copy
        self.device_maps: dict[str, Any] = {}
        self._labels: dict[str, str] = {}
        self._weights: dict[str, ModelWeights] = {}
        self._under_way: list[ModelWeights] = []

    def name(self, location: str, label: str) -> None:
        """Say what the report calls the model that lies in a folder."""
        self._labels[os.path.normpath(location)] = label

    def label_of(self, location: str) -> str | None:
        """Return what the report calls the model that lies in a folder, or None where nobody has said."""
        return self._labels.get(os.path.normpath(location))

    def begin(self, wanted: Sequence[WantedModel]) -> None:
        """Open the models, plan them together and start; those that were prefetched are taken as they are.

        If one of them cannot be opened none of the others starts, and whoever claims it gets the error. What else was
        prefetched with one of these models is dropped.

        Args:
            wanted: the models, in the order in which their bytes move.
        """
        owners = set()
        with prefetched.telling(self.report):
            for model in wanted:
                device = devices.torch_device(model.device)
                if (taken := self._take_prefetched(model.label, model.path, model.code, device)) is not None:
                    self._weights[model.label] = taken.opened
                    owners.add(taken.owner)
        if not owners:
            for model in wanted:
                self.pass_over(model.path.parent, _OTHER_FILES)
        for owner in owners:
            owner.drop("the load that took the rest does not want it", logging.INFO)
        self._begin_others([model for model in wanted if model.label not in self._weights])

    def _begin_others(self, wanted: Sequence[WantedModel]) -> None:
        opened: dict[str, ModelWeights] = {}
        for model in wanted:
            try:
                device = devices.torch_device(model.device)
                opened[model.label] = ModelWeights.open(model.path, device, model.label)
            except WarploadError:
                return
        self._start([(opened[model.label], model.code, model.kept) for model in wanted])
        self._weights |= opened

    def claim(self, label: str, path: Path, code: str | None, device: torch.device | None = None) -> ModelWeights:
        """Return a model's weights, from the joint load or from one that starts now.

        Args:
            label: as given to ``begin``.
            path: the file or index that its class takes.
            code: the dtype of its floating-point tensors, if the load has to start now.
            device: the device that the tensors have to be on, or None for the host's memory.

        Raises:
            FormatError: a header or the index breaks the format's rules.
            IoError: a file is missing or unreadable.
            OutOfMemoryError: the arena could not be reserved.
            DeviceError: a device reported an error.
        """
        weights = self._weights.pop(label, None)
        if weights is None or weights.path != path or weights.device != device:
            if weights is not None:
                weights.release()
            with prefetched.telling(self.report):
                taken = self._take_prefetched(label, path, code, device)
            weights = None if taken is None else taken.opened
            if taken is None:
                self.pass_over(path.parent, _OTHER_FILES)
        if weights is None:
            weights = ModelWeights.open(path, device, label)
            self._start([(weights, code, frozenset())])
        self._under_way.append(weights)
        return weights

    def pass_over(self, folder: str | os.PathLike[str], reason: str) -> None:
        """Drop what was prefetched of a folder that is loaded in another way.

        Args:
            folder: where the files lie.
            reason: why nobody has a use for it.
        """
        with prefetched.telling(self.report):
            for label in prefetched.pass_over(folder):
                self.report.passed_over.setdefault(label, reason)

    def _take_prefetched(self, label: str, path: Path, code: str | None, device: torch.device | None) -> Taken | None:
        wanted = prefetched.wanted("model", code, device, zero_copy=self.zero_copy)
        taken = prefetched.take([path], wanted, self.report, label)
        if taken is not None:
            taken.opened.take_over(path, device, taken.handle, taken.segment)
            taken.opened.label = label
            engine.follow(taken.handle, {taken.segment: label}, taken=True)
            self.report.threads = engine.worker_count()
        return taken

    def wait(self) -> None:
        """Wait until the bytes of all claimed models have arrived.

        Raises:
            WarploadError: the first error of a worker.
        """
        for weights in self._under_way:
            weights.wait_arrival()
            weights.hand_over()
        self._under_way.clear()

    def refuse(self, weights: ModelWeights) -> None:
        """Release the weights of a model that the core does not put together after all."""
        self._under_way.remove(weights)
        weights.release()

    def close(self) -> None:
        """Release everything: what is still under way is cancelled and drained."""
        for weights in (*self._weights.values(), *self._under_way):
            weights.hand_over()  # the last to go cancels the load
        self._weights.clear()
        self._under_way.clear()

    def has_begun(self) -> bool:
        """Tell whether the core has begun to load one of the models."""
        return bool(self._weights or self._under_way)

    def _start(self, models: list[tuple[ModelWeights, str | None, frozenset[str]]]) -> None:
        if not models:
            return
        requests = [weights.plan(code, self.zero_copy, kept) for weights, code, kept in models]
        devices_of, labels = [each.device for each, *_ in models], [each.label for each, *_ in models]
        handle = engine.start(requests, devices_of, labels)
        for segment, (weights, *_) in enumerate(models):
            weights.attach(handle, segment)
        self.report.threads = engine.worker_count()


@contextlib.contextmanager
def loading_alone(
    source: str, kind: str = "model", *, zero_copy: bool = True, **settings: Any
) -> Iterator[LoadContext]:
    """Let the block be a load with a report and a joint load of its own; at its end all bytes have arrived.

    Args:
        source: what is loaded, for the report.
        kind: see ``LoadReport.kind``.
        zero_copy: see ``JointLoad.zero_copy``.
        settings: see ``context.began``.
    """
    report = LoadReport(source, kind=kind)
    joint = JointLoad(report, zero_copy=zero_copy)
    try:
        with context.began(report, joint=joint, **settings) as load, collector.suspended(), report.stage("load"):
            yield load
            with report.stage("wait"):
                joint.wait()
    finally:
        joint.close()
