"""The one node: what the last file was read by, how much of it, and how fast."""

from __future__ import annotations

from typing import Any

import warpload


class LastLoad:
    """Hands a model on, and tells of the load before it."""

    CATEGORY = "loaders/warpload"
    DESCRIPTION = "Shows what warpload read last, how fast, and what would make it faster."
    FUNCTION = "tell"
    OUTPUT_NODE = True
    RETURN_TYPES = ("MODEL", "STRING")
    RETURN_NAMES = ("model", "report")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """Return the inputs: the model that was loaded, so that this node comes after its loader."""
        return {"required": {"model": ("MODEL",)}}

    @classmethod
    def IS_CHANGED(cls, **_: Any) -> float:  # noqa: N802 - ComfyUI's name
        """Return what is never equal to itself: there may have been another load."""
        return float("nan")

    def tell(self, model: Any) -> dict[str, Any]:
        """Return the model and the report, which the node shows as text."""
        report = warpload.last_report()
        text = "warpload has read nothing yet" if report is None else str(report)
        return {"ui": {"text": [text]}, "result": (model, text)}


CLASSES = {"WarploadLastLoad": LastLoad}
NAMES = {"WarploadLastLoad": "warpload: last load"}
