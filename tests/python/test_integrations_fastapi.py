"""docs/integrations/fastapi.md: the app that it shows, and the server that is in integrations/fastapi."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from fastapi.testclient import TestClient
from PIL import Image
from starlette.testclient import httpx  # whichever of its versions is there

from image_server.images import Images, Order
from image_server.server import create_app
from image_server.settings import Settings
from support import integration_pages as pages
from support.pipelines import MODELS, Saved
from support.processes import run_python

SERVER = pages.ROOT / "integrations" / "fastapi"
FAMILY = "stable-diffusion-xl"
ORDER = {"prompt": "a bad cab", "steps": 1, "width": 16, "height": 16, "seed": 3}


@pytest.fixture
def settings(saved: Saved) -> Settings:
    return Settings(model=str(saved(FAMILY)), dtype="float32", device="cpu", queue=0, max_steps=5, max_side=64)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Hold the server's load back until the event is set."""
    opened, load = threading.Event(), Images._load
    monkeypatch.setattr(Images, "_load", lambda images: (opened.wait(), load(images))[1])
    yield opened
    opened.set()


def until_loaded(client: TestClient) -> dict[str, Any]:
    """Return what /ready says once the load is over, whichever way."""
    client.app.state.images.loaded.wait()
    return client.get("/ready").json()


def test_the_server_lives_while_it_loads_and_is_ready_with_the_loads_report(
    settings: Settings, gate: threading.Event, saved: Saved
) -> None:
    with TestClient(create_app(settings)) as client:
        assert client.get("/health").json() == {"status": "alive"}
        waiting = client.get("/ready")
        assert (waiting.status_code, waiting.json()["status"]) == (503, "loading")
        refused = client.post("/generate", json=ORDER)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        gate.set()
        said = until_loaded(client)

    assert said["status"] == "ready"
    assert said["load"]["source"] == str(saved(FAMILY))
    assert said["load"]["components"] == dict.fromkeys(MODELS[FAMILY], "native")
    assert said["load"]["bytes"] > 0


def test_an_image_is_the_one_that_stock_draws(settings: Settings, saved: Saved) -> None:
    stock = DiffusionPipeline.from_pretrained(saved(FAMILY))
    stock.set_progress_bar_config(disable=True)
    sizes = {"num_inference_steps": 1, "width": 16, "height": 16}
    expected = stock("a bad cab", generator=torch.Generator().manual_seed(3), **sizes).images[0]

    with TestClient(create_app(settings)) as client:
        until_loaded(client)
        answer = client.post("/generate", json=ORDER)

    assert answer.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).tobytes() == expected.tobytes()


def test_an_image_has_the_models_size_and_no_more_steps_than_are_allowed_where_nothing_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Images, "_draw", lambda _, order: (asked.append(order), b"image")[1])

    with TestClient(create_app(settings)) as client:
        until_loaded(client)
        client.post("/generate", json={"prompt": "a bad cab"})

    assert asked == [Order("a bad cab", settings.max_steps, None, None, 0)]


@pytest.mark.parametrize(
    "wrong", [{"prompt": ""}, {"steps": 0}, {"steps": 6}, {"width": 12}, {"height": 72}, {"seed": -1}], ids=str
)
def test_what_no_image_can_be_is_refused(wrong: dict[str, Any], settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        until_loaded(client)
        assert client.post("/generate", json=ORDER | wrong).status_code == 422


def test_whoever_comes_when_the_queue_is_full_is_turned_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing, end = threading.Event(), threading.Event()

    def draw(*_: object) -> bytes:
        drawing.set()
        end.wait()
        return b"image"

    monkeypatch.setattr(Images, "_draw", draw)
    with TestClient(create_app(settings)) as client, ThreadPoolExecutor(2) as threads:
        until_loaded(client)
        first = threads.submit(client.post, "/generate", json=ORDER)
        drawing.wait()
        second = threads.submit(client.post, "/generate", json=ORDER)
        wait([first, second], timeout=60, return_when=FIRST_COMPLETED)  # a second that waits, too, is a failure
        end.set()
        assert second.result().status_code == 503
        assert first.result().content == b"image"
        assert client.post("/generate", json=ORDER).status_code == 200


def test_a_load_that_fails_is_told_of_by_ready_and_leaves_the_server_alive(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.model = str(tmp_path)

    with TestClient(create_app(settings)) as client:
        said = until_loaded(client)
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200
        assert client.post("/generate", json=ORDER).status_code == 503

    assert said["status"] == "failed"
    assert "model_index.json" in said["error"]
    assert "the pipeline cannot be loaded" in caplog.text


def test_a_server_that_is_stopped_while_it_loads_ends_the_load_first(settings: Settings, gate: threading.Event) -> None:
    with TestClient(create_app(settings)) as client:
        images: Images = client.app.state.images
        threading.Timer(0, gate.set).start()

    assert images.loaded.is_set()
    assert images.error == ""
    assert images.report is None  # what was loaded is given back


def test_an_image_that_a_server_cannot_wait_for_when_it_is_stopped_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing, end = threading.Event(), threading.Event()
    monkeypatch.setattr(Images, "_draw", lambda *_: (drawing.set(), end.wait(), b"image")[2])

    async def asked_and_stopped() -> Any:
        app = create_app(settings)
        await app.state.images.load()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            request = asyncio.create_task(client.post("/generate", json=ORDER))
            await asyncio.to_thread(drawing.wait)
            request.cancel()  # as uvicorn does
            try:
                return await request
            finally:
                end.set()
                await app.state.images.close()

    answer = asyncio.run(asked_and_stopped())

    assert answer.status_code == 503
    assert "stopped" in answer.text


def test_the_environment_says_what_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MODEL": "somebody/model", "DTYPE": "float16", "DEVICE": "cpu", "QUEUE": "2"}.items():
        monkeypatch.setenv(f"IMAGES_{name}", value)

    found = Settings()

    assert (found.model, found.dtype, found.device, found.queue) == ("somebody/model", "float16", "cpu", 2)


def test_the_bytes_are_on_their_way_before_torch_is_imported(saved: Saved, tmp_path: Path) -> None:
    """And a variable that is wrong is a line, not a traceback."""
    run_python(
        f"""
import os, sys
sys.path.insert(0, {str(SERVER)!r})
os.environ.update(IMAGES_MODEL=sys.argv[1], IMAGES_DTYPE="bfloat16", IMAGES_DEVICE="cpu", IMAGES_QUEUE="many")
os.chdir(sys.argv[2])
try:
    import image_server.app
except SystemExit as error:
    assert "IMAGES_QUEUE" in str(error) and "\\n" not in str(error), error
else:
    raise AssertionError
os.environ["IMAGES_QUEUE"] = "0"
import warpload
begun, begin = [], warpload.prefetch
warpload.prefetch = lambda *given, **named: (begun.append("torch" in sys.modules), begin(*given, **named))[1]
from fastapi.testclient import TestClient
from image_server.app import app
assert begun == [False], begun
with TestClient(app) as client:
    app.state.images.loaded.wait()
    load = client.get("/ready").json()["load"]
assert set(load["prefetched"]) == set(load["components"]), load
""",
        saved("ddpm"),
        tmp_path,
    )


def test_the_pages_app_is_ready_once_its_pipeline_is_loaded(
    saved: Saved,
) -> None:
    loaded = threading.Event()
    replaced = {"path/or/hub-id": saved(FAMILY), '="cuda"': '="cpu"'}
    app = pages.run("fastapi", "FastAPI(lifespan", replaced)
    load: Callable[[], None] = app["load"]

    def watched() -> None:
        load()
        loaded.set()

    app["load"] = watched
    with TestClient(app["app"]) as client:
        assert client.get("/health").json() == {"status": "alive"}
        loaded.wait()
        said = client.get("/ready").json()

    assert said["load"]["components"] == dict.fromkeys(MODELS[FAMILY], "native")
    assert said["load"]["prefetched"].keys() == MODELS[FAMILY]
