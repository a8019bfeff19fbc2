"""The pipeline and the one thread that loads it and draws with it: whoever comes second waits."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

import warpload

from .settings import Settings

logger = logging.getLogger("image_server")


@dataclass(frozen=True)
class Order:
    """What an image shall be.

    Attributes:
        prompt: what it shows.
        steps: of the scheduler.
        width: in pixels, or None for the model's own.
        height: in pixels, or None for the model's own.
        seed: of the noise that it is drawn from.
    """

    prompt: str
    steps: int
    width: int | None
    height: int | None
    seed: int


class Images:
    """One pipeline. All its methods are called on the event loop's thread.

    Attributes:
        loaded: set when the load is over, well or not; it may be waited for on any thread.
        report: of the load, once it is done.
        error: what the load failed with, or the empty string.
        waiting: how many orders are drawn or wait.
    """

    def __init__(self, settings: Settings) -> None:
        self.loaded = threading.Event()
        self.report: warpload.LoadReport | None = None
        self.error = ""
        self.waiting = 0
        self._settings = settings
        self._pipeline: Any = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="images")

    async def load(self) -> None:
        """Load the pipeline; what goes wrong is logged and kept in ``error``, so that the server can say it."""
        try:
            self.report = await self._do(self._load)
            logger.info("%r", self.report)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
            logger.exception("the pipeline cannot be loaded")
        finally:
            self.loaded.set()

    async def draw(self, order: Order) -> bytes:
        """Return an image as PNG; it waits for those that were ordered before."""
        self.waiting += 1
        try:
            image: bytes = await self._do(self._draw, order)
            return image
        finally:
            self.waiting -= 1

    async def close(self) -> None:
        """Wait for what is under way, drop what only waits, and give the memory back."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
        self._pipeline = self.report = None
        warpload.release_pinned_memory()

    async def _do(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _load(self) -> warpload.LoadReport | None:
        asked = self._settings
        self._pipeline = warpload.DiffusionPipeline.from_pretrained(
            asked.model,
            dtype=getattr(torch, asked.dtype),
            device_map=asked.device,
            variant=asked.variant,
        )
        self._pipeline.set_progress_bar_config(disable=True)
        return warpload.last_report()

    def _draw(self, order: Order) -> bytes:
        sizes = {"width": order.width, "height": order.height}
        drawn = self._pipeline(
            order.prompt,
            num_inference_steps=order.steps,
            generator=torch.Generator().manual_seed(order.seed),
            **{name: size for name, size in sizes.items() if size is not None},
        )
        file = io.BytesIO()
        drawn.images[0].save(file, "PNG")
        return file.getvalue()
