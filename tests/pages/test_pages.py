"""The pages that people open, in a browser: they show what they should, their scripts run, and they ask nobody else.

`make test-pages` builds the site and runs this. Screenshots are in build/pages, to be looked at.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from playwright.sync_api import Browser, expect, sync_playwright
from playwright.sync_api import Page as Tab
from safetensors.torch import save_file

import warpload

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
SCREENSHOTS = ROOT / "build" / "pages"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@dataclass(frozen=True)
class Shown:
    """A page to open.

    Attributes:
        name: of its screenshots.
        address: below the server's root: the site is at ``site/``, what ``write`` writes is beside it.
        text: what its reader has to see.
        write: writes the page, where it is not one of the site's: a file that a program of ours makes.
    """

    name: str
    address: str
    text: str
    write: Callable[[Path], object] | None = None


def trace_of_a_load(page: Path) -> None:
    """Write the timeline of a load that casts."""
    file = page.with_suffix(".safetensors")
    save_file({str(number): torch.ones(512, 512) for number in range(20)}, file)
    with warpload.LoadOptions(trace=True):
        warpload.load_file(file, dtype=torch.bfloat16)
    report = warpload.last_report()
    assert report is not None
    report.save_trace(page)


# Every page that people open in a browser and that is more than text.
PAGES = [
    Shown("home", "site/", "The fastest way from files on disk"),
    Shown("quick-start", "site/quick-start/", "Load a pipeline"),
    Shown("notebook", "site/notebooks/quick-start/", "tensors are the same"),
    Shown("loading", "site/loading/", "Every public name of diffusers"),
    Shown("compatibility", "site/compatibility/", "read natively"),
    Shown("troubleshooting", "site/troubleshooting/", "git-lfs pointer"),
    Shown("command-line", "site/command-line/", "Write safetensors of weights that were saved as pickles"),
    Shown("python", "site/python-api/", "disable_mmap"),
    Shown("design", "site/design/", "Dependencies point down"),
    Shown("benchmarks", "site/benchmarks/", "Contenders"),
    Shown("timeline", "site/timeline/", "Where does the time of a load go"),
    Shown("integrations", "site/integrations/", "ComfyUI"),
    Shown("reference", "site/reference/", "Embedding the loader"),
    Shown("trace", "trace.html", "casting", write=trace_of_a_load),
]


# -- the server and the browser ---------------------------------------------------------------------------------------


class _Quiet(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/favicon.ico":  # a browser asks for it by itself where a page names none
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the server's root."""
    root = tmp_path_factory.mktemp("served")
    assert (SITE / "index.html").is_file(), "make site"
    (root / "site").symlink_to(SITE)
    return root


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[str]:
    """Return the address of a server of this machine's own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def tab(browser: Browser, server: str) -> Iterator[Tab]:
    """Return an empty tab; fails at the end where a script failed, or another server was asked for anything."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, base_url=server)
    faults: list[str] = []
    opened.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("requestfailed", lambda request: faults.append(f"{request.url}: {request.failure}"))
    asked: set[str] = set()
    opened.on("request", lambda request: asked.add(request.url))
    yield opened
    opened.close()
    assert faults == []
    assert {
        url for url in asked if urlsplit(url).scheme not in ("data", "blob") and not url.startswith(server)
    } == set()


def photograph(tab: Tab, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=SCREENSHOTS / f"{name}.png")


# -- the tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_it_should_and_asks_nobody_else(page: Shown, scheme: str, tab: Tab, folder: Path) -> None:
    if page.write is not None:
        page.write(folder / page.address)
    tab.emulate_media(color_scheme="dark" if scheme == "dark" else "light")

    tab.goto(page.address, wait_until="networkidle")

    expect(tab.get_by_text(page.text).first).to_be_attached()
    photograph(tab, f"{page.name}-{scheme}")


def test_the_search_finds_a_word_and_leads_to_it(tab: Tab) -> None:
    tab.goto("site/", wait_until="networkidle")

    tab.keyboard.press("/")
    expect(tab.locator(".md-search-result__meta")).to_have_text("Type to start searching")
    tab.keyboard.type("arena")
    results = tab.locator(".md-search-result__link[href*='h=arena']")
    expect(results.first).to_be_visible()
    photograph(tab, "search")
    results.first.click()

    tab.wait_for_url("**h=arena**")
    expect(tab.locator("mark").first).to_be_visible()


def test_a_reader_can_switch_to_dark_and_back(tab: Tab) -> None:
    tab.emulate_media(color_scheme="light")
    tab.goto("site/", wait_until="networkidle")

    for scheme, button in (("slate", "Switch to dark"), ("default", "Switch to light")):
        tab.locator(f"label[title='{button}']").click()
        expect(tab.locator("body")).to_have_attribute("data-md-color-scheme", scheme)


def test_a_block_of_code_can_be_copied(tab: Tab) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.goto("site/quick-start/", wait_until="networkidle")

    block = tab.locator("div.highlight", has_text="pip install .").first
    block.hover()
    block.locator("button.md-clipboard, button.md-code__button").first.click()

    assert "pip install ." in tab.evaluate("navigator.clipboard.readText()")
