"""What the server is told by its environment. Imports neither torch nor FastAPI: prefetch comes before them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The variables ``IMAGES_...`` of the environment, or of a file ``.env``.

    Attributes:
        model: a pipeline's folder, or a Hub id.
        dtype: of its weights.
        device: where it draws: ``"cuda"``, ``"cuda:1"``, ``"cpu"``.
        variant: of the weight files, as for ``from_pretrained``.
        queue: how many requests may wait while one is drawn; more are turned away with 503.
        max_steps: the most steps that a request may ask for.
        max_side: the most pixels that an image's side may have.
    """

    model_config = SettingsConfigDict(env_prefix="IMAGES_", env_file=".env", extra="ignore")

    model: str = Field(min_length=1)
    dtype: Literal["float32", "float16", "bfloat16"] = "bfloat16"
    device: str = "cuda"
    variant: str | None = None
    queue: int = Field(default=8, ge=0)
    max_steps: int = Field(default=100, ge=1)
    max_side: int = Field(default=2048, ge=8)


def settings_or_exit() -> Settings:
    """Return what the environment says, or end the process with a line for each variable that is missing or wrong."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"IMAGES_{'_'.join(map(str, each['loc'])).upper()}: {each['msg']}" for each in error.errors()]
        raise SystemExit("image_server cannot start. " + "; ".join(wrong)) from None
