"""The core loads one model: its files are found and claimed, the library's rules place the tensors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import devices, errors
from ..context import LoadContext
from ..errors import FormatError, WarploadError
from ..stock import cached_models, hub, pickles, seam_check, torch_modes, unexpected
from ..stock.attempt import Attempt, attempt
from ..stock.call import Call
from ..stock.refusal import NotNativeError
from . import odd_files, origins
from .joint_load import JointLoad

if TYPE_CHECKING:
    from .weights import ModelWeights


class NativeLoad:
    """What comes of one call where the core loads the model.

    Attributes:
        model: the model, or a tuple of the model and what goes with it.
        fault: what did not match its checkpoint, so that stock has placed the tensors; empty where all did.
        oddities: what is odd about its files, a sentence each; None where nobody has looked.
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.fault = ""
        self.oddities: list[str] | None = None

    def run(self, call: Call, load: LoadContext) -> None:
        """Load the model.

        Raises:
            NotNativeError: stock has to put this one together.
            WarploadError: of the files, the memory or the device.
        """
        with contextlib.ExitStack() as stack:
            with unexpected.refused():
                _check_modes()
                stack.enter_context(load.report.stage("build", call.label))
                stack.enter_context(errors.caught_as_from(call.library))
                undone = stack.enter_context(attempt())
            with unexpected.refused(lambda: undone.answering):
                self._build(call, load, undone)

    def _build(self, call: Call, load: LoadContext, undone: Attempt) -> None:
        assert load.joint is not None
        seam_check.require(call.feature)
        call.check()
        device_map = call.device_map()
        dtype, folder = call.dtype(), find_folder(call)
        call.check_folder(folder)
        weights = self._claim(call, load.joint, folder, call.code(dtype, folder), (device_map or {}).get(""))
        with _released_if_refused(load.joint, weights):
            self.model, self.fault = call.build(folder, dtype, device_map, weights, undone)
            if not self.fault:
                origins.note(self.model, weights)
        load.report.bytes += weights.checkpoint.nbytes

    def _claim(self, call: Call, joint: JointLoad, folder: Path, code: str | None, device: Any) -> ModelWeights:
        path = call.weights_file(folder)
        if path is None:
            raise NotNativeError(why_none(folder))
        if call.snapshot is not None and not cached_models.has_weights(call.snapshot, path):
            raise NotNativeError(hub.NOT_CACHED)
        try:
            weights = joint.claim(call.label, path, code, devices.arena_device(device))
        except FormatError as fault:
            if not odd_files.stock_may_take(fault, path):
                raise
            self.oddities = [str(fault)]
            raise NotNativeError(str(fault), fault=fault) from None
        self.oddities = odd_files.told(weights)
        left = [text for kind, (text, *_) in weights.oddities.items() if kind in call.left_to_stock]
        if left:
            joint.refuse(weights)
            raise NotNativeError(left[0])
        return weights


def find_folder(call: Call) -> Path:
    """Return where a model lies on this disk, in the Hub's cache if need be; notes the snapshot in the call.

    Raises:
        NotNativeError: it is not here, or not all of it.
    """
    if not call.location:
        raise NotNativeError(f"{call.source!r} is no path")
    folder = Path(call.location)
    if not os.path.isdir(call.source):
        subfolder = call.kwargs.get("subfolder")
        call.snapshot = hub.cached_snapshot(call.source, call.kwargs)
        if call.snapshot is None:
            raise NotNativeError(hub.NOT_CACHED)
        folder = call.snapshot.folder / (subfolder or "")
        complete = call.asks_nobody() or cached_models.has_model(call.snapshot, subfolder, call.kwargs.get("variant"))
        if not complete:
            raise NotNativeError(hub.NOT_CACHED)
    if not (folder / "config.json").is_file():
        raise NotNativeError("no config.json")
    return folder


def why_none(folder: Path) -> str:
    """Say why the core loads nothing from a folder that has no weight file of a name that it looks for."""
    found = next(folder.glob("*.safetensors"), None)
    return (
        pickles.why_not_native(folder) if found is None else f"weight files in another spelling, such as {found.name}"
    )


@contextlib.contextmanager
def _released_if_refused(joint: JointLoad, weights: ModelWeights) -> Iterator[None]:
    """Release the weights where another has to load the model: it need not read beside what nobody will have."""
    try:
        yield
    except Exception as error:
        if isinstance(error, NotNativeError) or not isinstance(error, WarploadError):
            joint.refuse(weights)
        raise


def _check_modes() -> None:
    if (mode := torch_modes.interposed()) is not None:
        raise NotNativeError(mode, readable=False, said=not seam_check.is_whole("modes"))
    device = torch_modes.default_device()
    if device is not None and device.type != "cpu":
        raise NotNativeError(f"the default device is {device}")
