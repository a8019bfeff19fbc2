"""Timelines as files and pictures: Chrome's trace format, a page, a notebook's picture, a figure."""

from __future__ import annotations

import html.parser
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import torch

import warpload
from support import checkpoints
from support.pipelines import Saved
from support.timelines import of_core, report
from warpload import timeline_svg, trace_file
from warpload.timeline import Event, Timeline


@pytest.fixture(scope="module")
def recorded(saved: Saved) -> warpload.LoadReport:
    """Return the report of a pipeline's load with everything in it."""
    with warpload.LoadOptions(trace=True):
        warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), dtype=torch.bfloat16)
    return report()


def written(of: warpload.LoadReport, folder: Path) -> dict[str, Any]:
    of.save_trace(folder / "load.json")
    return dict(json.loads((folder / "load.json").read_text(encoding="utf-8")))


# -- Chrome's format --------------------------------------------------------------------------------------------------


def test_it_is_valid_in_chromes_trace_format(recorded: warpload.LoadReport, tmp_path: Path) -> None:
    told = written(recorded, tmp_path)

    assert told.keys() == {"traceEvents", "displayTimeUnit", "otherData"}
    events = told["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X"}
    for event in events:
        assert isinstance(event["name"], str)
        assert isinstance(event["args"], dict)
        assert {type(event["pid"]), type(event["tid"])} == {int}
    complete = [event for event in events if event["ph"] == "X"]
    assert len(complete) == len(recorded.timeline.events())
    assert min(event["ts"] for event in complete) == 0
    assert all(event["dur"] >= 0 for event in complete)


def test_every_thread_has_a_name_and_the_process_too(recorded: warpload.LoadReport, tmp_path: Path) -> None:
    events = written(recorded, tmp_path)["traceEvents"]

    named = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {event["tid"] for event in events if event["ph"] == "X"} <= named.keys()
    assert "core thread 1" in named.values()
    (process,) = (event["args"]["name"] for event in events if event["name"] == "process_name")
    assert process == f"warpload: {recorded.source}"


def test_the_spans_of_one_thread_lie_inside_each_other_or_apart(recorded: warpload.LoadReport, tmp_path: Path) -> None:
    by_thread: dict[int, list[tuple[float, float]]] = {}
    for event in written(recorded, tmp_path)["traceEvents"]:
        if event["ph"] == "X":
            end = round(event["ts"] + event["dur"], 3)
            by_thread.setdefault(event["tid"], []).append((round(event["ts"], 3), end))
    for spans in by_thread.values():
        open_ends: list[float] = []
        for begin, end in sorted(spans, key=lambda span: (span[0], -span[1])):
            while open_ends and open_ends[-1] <= begin:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1]
            open_ends.append(end)


def test_events_have_what_they_were_about(recorded: warpload.LoadReport, tmp_path: Path) -> None:
    events = written(recorded, tmp_path)["traceEvents"]

    reads = [event for event in events if event["name"] == "reading"]
    assert sum(event["args"]["bytes"] for event in reads) == sum(
        event.bytes for event in of_core(recorded) if event.kind == "reading"
    )
    assert {event["args"]["component"] for event in reads} >= {"unet", "vae"}
    assert any(re.fullmatch(r"[\d.]+ [kMG]B/s", event["args"].get("rate", "")) for event in reads)
    assert "build unet" in {event["name"] for event in events}


def test_the_file_says_what_was_loaded_by_which_version_and_what_it_lacks(
    recorded: warpload.LoadReport, good_file: Path, tmp_path: Path
) -> None:
    facts = written(recorded, tmp_path)["otherData"]
    assert facts["warpload"] == warpload.__version__
    assert facts["source"] == recorded.source
    assert facts["bytes"] == recorded.bytes
    assert facts["recorded"] is True
    assert facts["lost_events"] == 0
    assert "reads" not in facts

    warpload.load_file(good_file)
    facts = written(report(), tmp_path)["otherData"]
    assert facts["recorded"] is False
    assert "WARPLOAD_TRACE=1" in facts["reads"]

    with pytest.raises(OSError, match="missing"):
        warpload.load_file(good_file.with_name("missing"))
    assert "missing" in written(report(), tmp_path)["otherData"]["error"]


def test_a_report_of_nothing_can_be_written(tmp_path: Path) -> None:
    nothing = warpload.LoadReport("nothing")

    assert [event["ph"] for event in written(nothing, tmp_path)["traceEvents"]] == ["M"]
    nothing.save_trace(tmp_path / "nothing.html")
    assert "<svg" not in nothing._repr_html_()
    with pytest.raises(ValueError, match="has not done anything"):
        nothing.plot()


@pytest.mark.parametrize("name", ["load.txt", "load", "load.json.gz", ".json"])
def test_another_suffix_is_refused_with_what_to_do(name: str, recorded: warpload.LoadReport, tmp_path: Path) -> None:
    with pytest.raises(warpload.InvalidArgumentError, match=r"neither \.json .* nor \.html .*suffixes"):
        recorded.save_trace(tmp_path / name)

    assert list(tmp_path.iterdir()) == []


# -- the page ---------------------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """What a page loads, and the data in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.title = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        if tag == "script":
            self.scripts.append("")
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "title":
            self.title += data


def test_the_page_needs_no_network_and_has_every_event(recorded: warpload.LoadReport, tmp_path: Path) -> None:
    recorded.save_trace(tmp_path / "load.html")
    text = (tmp_path / "load.html").read_text(encoding="utf-8")
    page = Page(text)

    assert page.addresses == ["data:,"]
    assert not re.search(r"https?:|@import|\bfetch\(|XMLHttpRequest", text)
    data = json.loads(page.scripts[0])
    events = recorded.timeline.events()
    assert sum(len(row["events"]) for row in data["rows"]) == len(events)
    assert {kind["name"] for kind in data["kinds"]} == {event.kind for event in events}
    assert all(kind["what"] and re.fullmatch("#[0-9A-F]{6}", kind["colour"]) for kind in data["kinds"])
    assert data["duration"] == pytest.approx(
        (max(event.end for event in events) - min(event.begin for event in events)) / 1000
    )
    assert page.title == f"warpload: {recorded.source}"


def test_names_that_look_like_markup_remain_names(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script>{{data}}<!--"
    odd = warpload.LoadReport(name, components={name: "native"})
    with odd.stage("build", name):
        pass
    odd.save_trace(tmp_path / "odd.html")
    page = Page((tmp_path / "odd.html").read_text(encoding="utf-8"))

    assert len(page.scripts) == 2
    assert json.loads(page.scripts[0])["components"] == [name]
    assert page.title == f"warpload: {name}"
    assert "<script>" not in odd._repr_html_()


# -- pictures ---------------------------------------------------------------------------------------------------------


def test_a_notebook_shows_a_small_picture_below_the_tables(recorded: warpload.LoadReport) -> None:
    shown = recorded._repr_html_()

    before, picture = shown[: shown.index("<svg")], shown[shown.index("<svg") :]
    assert "<table>" in before
    root = ElementTree.fromstring(picture)
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert {"reading", "casting"} <= set(titles)
    assert any(title and title.startswith("build unet ") for title in titles)
    assert len(picture) < 60_000


def test_a_picture_of_a_hundred_thousand_events_remains_small() -> None:
    timeline = Timeline()
    timeline.spans += [Event("reading", 10 * each, 10 * each + 7, each % 50, "unet") for each in range(100_000)]

    assert len(timeline_svg.svg_of(timeline)) < 60_000


def test_plot_returns_a_figure_with_a_row_for_each_thread(recorded: warpload.LoadReport, tmp_path: Path) -> None:
    figure = recorded.plot()
    figure.savefig(tmp_path / "load.png", dpi=50)

    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")
    names = [plot.get_ylabel() for plot in figure.axes]
    assert len(names) == len({event.thread for event in recorded.timeline.events()})
    assert "core thread 1" in names


def test_the_threads_of_a_large_machine_share_a_row() -> None:
    large = warpload.LoadReport("source")
    large.timeline.spans += [Event("reading", each, each + 9, each) for each in range(40)]

    assert [plot.get_ylabel() for plot in large.plot().axes] == ["40 core threads"]


def test_without_matplotlib_plot_says_how_to_have_it(
    recorded: warpload.LoadReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"] or ["matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ImportError, match=r"pip install 'warpload\[bench\]'"):
        recorded.plot()


def test_writing_where_nothing_can_be_written_is_the_systems_error(
    recorded: warpload.LoadReport, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        recorded.save_trace(tmp_path / "missing" / "load.json")


def test_a_thread_that_only_backs_pages_is_called_so(tmp_path: Path) -> None:
    timeline = Timeline()
    timeline.spans += [Event("populating", 0, 1, 5), Event("reading", 0, 1, 6), Event("populating", 2, 3, 6)]

    assert timeline.thread_names(timeline.events()) == {5: "core, pages of views", 6: "core thread 1"}


def test_names_of_files_may_have_capitals(recorded: warpload.LoadReport, tmp_path: Path) -> None:
    recorded.save_trace(tmp_path / "LOAD.JSON")

    assert json.loads((tmp_path / "LOAD.JSON").read_text(encoding="utf-8")) == trace_file.chrome_trace(recorded)


def test_a_file_of_tensors_is_a_timeline_too(tmp_path: Path) -> None:
    checkpoints.save_file({"a": torch.rand(300_000)}, tmp_path / "a.safetensors")
    with warpload.LoadOptions(trace=True):
        warpload.load_file(tmp_path / "a.safetensors", dtype="bfloat16")

    names = {event["name"] for event in written(report(), tmp_path)["traceEvents"] if event["ph"] == "X"}
    assert {"load", "reading", "casting"} <= names
