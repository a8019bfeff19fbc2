"""The server for uvicorn: ``uvicorn image_server.app:app``. The bytes are on their way before torch is imported."""

import warpload

from .settings import settings_or_exit

settings = settings_or_exit()
warpload.prefetch(settings.model, dtype=settings.dtype, device=settings.device, variant=settings.variant)

from .server import create_app  # noqa: E402 - imports FastAPI and torch, while the bytes come

app = create_app(settings)
