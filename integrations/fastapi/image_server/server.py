"""The routes: whether the server lives, whether it is ready, and an image."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from .images import Images, Order
from .settings import Settings

_LATER = {"Retry-After": "5"}  # seconds
_STEPS = 30


class Wanted(BaseModel):
    """What an image shall be; without a size it has the model's own, without steps 30, or as many as are allowed."""

    prompt: str = Field(min_length=1)
    steps: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=8, multiple_of=8)
    height: int | None = Field(default=None, ge=8, multiple_of=8)
    seed: int = Field(default=0, ge=0, lt=2**63)


def create_app(settings: Settings) -> FastAPI:
    """Return the server. It loads the pipeline when it is started, and answers meanwhile.

    Args:
        settings: which pipeline, where, and how much of it one request may have.
    """
    images = Images(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(images.load())
        yield
        await loading  # uvicorn comes here when it has waited for the requests under way
        await images.close()

    app = FastAPI(title="Images", lifespan=lifespan)
    app.state.images = images

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Answer as long as the process lives, also while it loads."""
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """Answer 503 until the pipeline is there, and then with the report of its load."""
        if images.report is None:
            return JSONResponse({"status": "failed" if images.error else "loading", "error": images.error}, 503)
        return JSONResponse({"status": "ready", "waiting": images.waiting, "load": images.report.to_dict()})

    @app.post("/generate", response_class=Response)
    async def generate(wanted: Wanted) -> Response:
        """Answer with an image as PNG, with 422 where too much is asked for, with 503 where too many wait."""
        if images.report is None:
            raise HTTPException(503, images.error or "the pipeline is being loaded", _LATER)
        if refusal := _too_much(wanted, settings):
            raise HTTPException(422, refusal)
        if images.waiting > settings.queue:
            raise HTTPException(503, f"{images.waiting} images are waited for", _LATER)
        try:
            return Response(await images.draw(_order(wanted, settings)), media_type="image/png")
        except asyncio.CancelledError:  # by uvicorn, when what it waits for at its end takes too long
            raise HTTPException(503, "the server is stopped", _LATER) from None

    return app


def _order(wanted: Wanted, settings: Settings) -> Order:
    steps = min(_STEPS, settings.max_steps) if wanted.steps is None else wanted.steps
    return Order(wanted.prompt, steps, wanted.width, wanted.height, wanted.seed)


def _too_much(wanted: Wanted, settings: Settings) -> str:
    """Return what is refused, or the empty string."""
    if (wanted.steps or 0) > settings.max_steps:
        return f"steps are {settings.max_steps} at most"
    if max(wanted.width or 0, wanted.height or 0) > settings.max_side:
        return f"width and height are {settings.max_side} at most"
    return ""
