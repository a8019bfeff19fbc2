"""A custom node of ComfyUI: its safetensors files are read through warpload from the moment this is imported."""

from __future__ import annotations

import logging
import os
from typing import Any

NODE_CLASS_MAPPINGS: dict[str, Any] = {}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {}
__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]

_OFF = {"0", "off", "no", "false"}


def _begin() -> None:
    logger = logging.getLogger("warpload.comfyui")
    if os.environ.get("WARPLOAD_COMFYUI", "").strip().lower() in _OFF:
        logger.info("WARPLOAD_COMFYUI turns warpload off: ComfyUI reads as ever")
        return
    try:
        import comfy.utils

        from . import nodes, reading
    except ImportError as error:
        logger.warning("ComfyUI reads as ever: %s. `pip install warpload` into ComfyUI's environment.", error)
        return
    if reading.begin(comfy.utils):
        logger.info("ComfyUI reads safetensors through warpload; WARPLOAD_COMFYUI=0 turns that off")
    else:
        logger.warning("ComfyUI reads as ever: comfy.utils of this version has no `safetensors` to read with")
    NODE_CLASS_MAPPINGS.update(nodes.CLASSES)
    NODE_DISPLAY_NAME_MAPPINGS.update(nodes.NAMES)


_begin()
