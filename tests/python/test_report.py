"""What a load says of itself: the report, its table, and stock's own log lines."""

from __future__ import annotations

import copy
import dataclasses
import html
import inspect
import io
import json
import logging
import pickle
import re
import shutil
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import diffusers
import pytest
import rich.console
import torch

import warpload
from support import checkpoints
from support.pipelines import MODELS, Saved
from support.processes import run_python
from warpload import report_text
from warpload.context import began
from warpload.report import STAGES
from warpload.units import size


def load(folder: Path, **kwargs: object) -> warpload.LoadReport:
    warpload.DiffusionPipeline.from_pretrained(folder, **kwargs)
    report = warpload.last_report()
    assert isinstance(report, warpload.LoadReport)
    return report


def data_bytes(folder: Path, *names: str) -> int:
    """Return the bytes of tensor data in the files of these components."""
    return sum(
        tensor.nbytes
        for name in names
        for tensor in checkpoints.load_file(checkpoints.weight_file(folder / name)).values()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_are_those_of_the_files(dtype: torch.dtype, saved: Saved) -> None:
    folder = saved("stable-diffusion-xl")

    assert load(folder, dtype=dtype).bytes == data_bytes(folder, *MODELS["stable-diffusion-xl"])


def test_bytes_are_those_that_the_core_loaded(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    file = checkpoints.weight_file(folder / "unet")
    torch.save(checkpoints.load_file(file), file.with_suffix(".bin"))
    file.unlink()

    assert load(folder).bytes == data_bytes(folder, "vae", "text_encoder", "safety_checker")


def test_components_are_those_with_weights(saved: Saved) -> None:
    assert load(saved("stable-diffusion-3")).components == dict.fromkeys(MODELS["stable-diffusion-3"], "native")


def test_components_that_the_caller_gives_are_not_listed(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    shutil.rmtree(folder / "unet")

    report = load(folder, unet=unet, safety_checker=None)

    assert report.components == {"vae": "native", "text_encoder": "native"}


def test_stages_have_seconds(saved: Saved) -> None:
    seconds = load(saved("ddpm")).seconds

    assert seconds
    assert all(isinstance(name, str) and value >= 0 for name, value in seconds.items())
    assert {"open", "import", "build", "wait", "assemble"} <= seconds.keys()


@pytest.mark.parametrize("kind", ["pipeline", "model", "file", "open", "single file", "adapter"])
def test_every_stage_of_a_load_is_one_of_those_that_the_report_defines_and_in_their_order(
    kind: str, saved: Saved, good_file: Path, tmp_path: Path
) -> None:
    if kind == "pipeline":
        warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))
    elif kind == "model":
        warpload.UNet2DConditionModel.from_pretrained(saved("stable-diffusion"), subfolder="unet")
    elif kind == "single file":
        source = checkpoints.weight_file(saved("stable-diffusion") / "vae")
        config = str(saved("stable-diffusion") / "vae")
        warpload.AutoencoderKL.from_single_file(str(source), config=config)
    elif kind == "adapter":
        pipeline = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))
        file = tmp_path / "embedding.safetensors"
        checkpoints.save_file({"<a-token>": torch.zeros(pipeline.text_encoder.config.hidden_size)}, file)
        with warpload.accelerated():
            pipeline.load_textual_inversion(str(file))
    elif kind == "open":
        with warpload.safe_open(good_file, framework="pt"):
            pass
    else:
        warpload.load_file(good_file)

    report = warpload.last_report()
    assert report is not None
    assert report.kind == {"open": "file"}.get(kind, kind)
    assert report.seconds
    assert list(report.seconds) == [stage for stage in STAGES if stage in report.seconds]


def test_help_says_of_every_stage_what_it_is() -> None:
    told = inspect.getdoc(warpload.LoadReport) or ""

    assert [stage for stage in STAGES if f'- ``"{stage}"``: ' not in told] == []


def test_a_stage_that_is_not_defined_is_refused() -> None:
    report = warpload.LoadReport("source")

    with pytest.raises(ValueError, match="'brew' is no stage"), report.stage("brew"):  # type: ignore[arg-type]
        pass

    assert report.seconds == {}


def test_the_source_is_what_the_caller_gave(saved: Saved) -> None:
    assert load(saved("ddpm")).source == str(saved("ddpm"))


def test_it_prints_who_loaded_each_component_and_the_stages_the_slowest_first(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    file = checkpoints.weight_file(folder / "unet")
    torch.save(checkpoints.load_file(file), file.with_suffix(".bin"))
    file.unlink()

    report = load(folder)

    first, *rows = str(report).splitlines()
    assert first == report_text.summary(report)
    assert str(folder) in first
    cells = {row.split()[0]: " ".join(row.split()[1:]) for row in rows}
    assert cells["vae"] == "native"
    assert cells["unet"].startswith("stock: no safetensors, but diffusion_pytorch_model.bin")
    shown = [name for name in cells if name in report.seconds]
    assert shown == sorted(report.seconds, key=lambda stage: -report.seconds[stage])
    assert "warpload convert" in cells["advice:"]


def test_each_stage_is_explained_where_it_is_shown() -> None:
    report = warpload.LoadReport("source", seconds=dict.fromkeys(STAGES, 1.0))

    assert report_text.LEGEND.keys() == set(STAGES)
    for stage in STAGES:
        assert f"  {report_text.LEGEND[stage]}" in str(report)
        assert report_text.LEGEND[stage] in report._repr_html_()


def test_a_report_of_nothing_prints() -> None:
    report = warpload.LoadReport("somewhere")

    assert str(report) == "warpload: somewhere: 0 bytes by the core in 0.00 ms"
    assert repr(report) == "<LoadReport somewhere: 0 bytes by the core in 0.00 ms>"


def test_it_is_one_line_where_python_shows_it(saved: Saved) -> None:
    report = load(saved("stable-diffusion"))

    assert "\n" not in repr(report)
    assert repr(report).startswith(f"<LoadReport {saved('stable-diffusion')}: {size(report.bytes)}")


def test_it_is_plain_data_for_json(saved: Saved) -> None:
    report = load(saved("ddpm"))

    told = json.loads(json.dumps(report.to_dict()))

    public = {field.name for field in dataclasses.fields(report) if not field.name.startswith("_")}
    assert told.keys() == public | {"total_seconds", "bytes_per_second", "advice"}
    assert all(told[name] == getattr(report, name) for name in public)
    assert told["total_seconds"] == pytest.approx(sum(report.seconds.values()))
    assert told["bytes_per_second"] == pytest.approx(report.bytes / report.total)
    report.to_dict()["components"].clear()
    assert report.components == {"unet": "native"}


def test_rich_and_a_notebook_show_what_the_text_says(saved: Saved) -> None:
    report = load(saved("stable-diffusion"))
    report.turned_off["loads"] = "a <reason>"
    drawn = io.StringIO()

    rich.console.Console(file=drawn, width=400).print(report)

    page = html.unescape(re.sub("<[^>]+>", " ", report._repr_html_().replace("&lt;reason&gt;", "(reason)")))
    for shown in (drawn.getvalue().replace("<reason>", "(reason)"), page):
        for row in str(report).replace("<reason>", "(reason)").splitlines():
            assert set(row.split()) <= set(shown.split())


class TestAdvice:
    """A sentence on what would make the next load faster."""

    def test_there_is_none_for_a_load_that_is_well(self) -> None:
        assert warpload.LoadReport("source", seconds={"build": 0.2, "wait": 0.7}).advice() == ""

    def test_there_is_none_for_one_that_failed(self) -> None:
        assert warpload.LoadReport("source", seconds={"wait": 9.0}, error="no such file").advice() == ""

    @pytest.mark.parametrize(("stage", "word"), [("wait", "prefetch"), ("import", "import"), ("fetch", "Hub")])
    def test_it_is_about_the_stage_that_takes_most(self, stage: str, word: str) -> None:
        seconds = {**dict.fromkeys(STAGES, 0.1), stage: 5.0}

        assert word in warpload.LoadReport("source", seconds=seconds).advice()

    def test_it_is_about_pickled_files_first(self) -> None:
        components = {"unet": "stock: no safetensors, but unet.bin", "vae": "stock: no safetensors, but vae.bin"}

        advice = warpload.LoadReport("source", seconds={"wait": 9.0}, components=components).advice()

        assert "unet and vae" in advice
        assert "warpload convert" in advice

    def test_it_says_what_was_prefetched_in_vain(self) -> None:
        report = warpload.LoadReport("source", passed_over={"unet": "float16 was asked for"})

        assert "float16 was asked for" in report.advice()


def test_each_load_is_told_of_at_debug(saved: Saved, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="warpload"):
        report = load(saved("stable-diffusion"))

    said = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert str(report) in said


def test_each_load_has_a_report_of_its_own(saved: Saved) -> None:
    first = load(saved("ddpm"))
    second = load(saved("pixart"))

    assert first.components == {"unet": "native"}
    assert second.components.keys() == MODELS["pixart"]
    assert warpload.last_report() is second


def test_a_load_on_another_thread_is_seen_by_all(saved: Saved) -> None:
    mine = load(saved("ddpm"))
    seen: list[warpload.LoadReport | None] = []

    def other() -> None:
        seen.append(warpload.last_report())
        seen.append(load(saved("pixart")))

    thread = threading.Thread(target=other, name="a worker")
    thread.start()
    thread.join()

    assert seen[0] is mine
    assert warpload.last_report() is seen[1]
    assert seen[1] is not None
    assert seen[1].components.keys() == MODELS["pixart"]
    assert (mine.thread, seen[1].thread) == (threading.current_thread().name, "a worker")
    assert warpload.reports()[-2:] == [mine, seen[1]]


def test_the_last_report_is_of_the_load_that_began_last(good_file: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with began(warpload.LoadReport("slow")):
            begun.set()
            go_on.wait()

    thread = threading.Thread(target=slow)
    thread.start()
    begun.wait()
    warpload.load_file(good_file)
    during = warpload.last_report()
    go_on.set()
    thread.join()

    assert during is not None
    assert during.source == str(good_file)
    assert warpload.last_report() is during


def test_a_load_inside_a_load_is_a_part_of_it(good_file: Path) -> None:
    before = len(warpload.reports())
    with began(warpload.LoadReport("outer")) as load:
        warpload.load_file(good_file)
        with pytest.raises(FileNotFoundError):
            warpload.load_file(good_file.with_name("missing"))

    outer = load.report
    assert warpload.last_report() is outer
    assert outer.components == {f"{good_file}/{good_file.name}": "native"}
    assert outer.bytes == sum(tensor.nbytes for tensor in checkpoints.load_file(good_file).values())
    assert outer.error == ""
    assert len(warpload.reports()) == min(before + 1, 64)


def test_only_the_last_loads_are_remembered_and_nothing_of_what_they_loaded(good_file: Path) -> None:
    tensors = [warpload.load_file(good_file) for _ in range(70)][-1]
    gone = [weakref.ref(tensor) for tensor in tensors.values()]
    del tensors

    assert len(warpload.reports()) == 64
    assert [reference() for reference in gone] == [None] * len(gone)


@pytest.mark.parametrize("call", ["pipeline", "model", "file", "open", "single file", "device map"])
def test_a_load_that_fails_is_remembered_with_its_error(call: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.safetensors"
    with pytest.raises((OSError, ValueError)) as raised:  # noqa: PT012 - one of them
        if call == "pipeline":
            warpload.DiffusionPipeline.from_pretrained(tmp_path)
        elif call == "model":
            warpload.UNet2DConditionModel.from_pretrained(tmp_path)
        elif call == "file":
            warpload.load_file(missing)
        elif call == "open":
            warpload.safe_open(missing, framework="pt")
        elif call == "single file":
            warpload.UNet2DConditionModel.from_single_file(str(missing))
        else:
            warpload.DiffusionPipeline.from_pretrained(tmp_path, device_map=-1)

    report = warpload.last_report()
    assert report is not None
    assert report.error == str(raised.value)
    assert f"  failed: {report.error}" in str(report)


def test_loads_are_named_by_what_they_load(saved: Saved, good_file: Path) -> None:
    folder = saved("stable-diffusion")

    warpload.DiffusionPipeline.from_pretrained(folder)
    warpload.UNet2DConditionModel.from_pretrained(folder / "unet")
    warpload.load_file(good_file, dtype=torch.float64)
    warpload.safe_open(good_file, framework="pt")
    warpload.safe_open(good_file, framework="np")

    *_, pipeline, model, file, opened, by_stock = warpload.reports()
    assert [each.kind for each in (pipeline, model, file, opened)] == ["pipeline", "model", "file", "file"]
    assert file.components == opened.components == {good_file.name: "native"}
    assert file.bytes == opened.bytes > 0
    assert file.threads > 0
    assert by_stock.components == {good_file.name: "stock: framework 'np' is not torch"}


def test_a_report_can_be_pickled_copied_and_printed(saved: Saved, good_file: Path) -> None:
    load(saved("ddpm"))
    warpload.load_file(good_file)

    for report in warpload.reports()[-2:]:
        for other in (pickle.loads(pickle.dumps(report)), copy.deepcopy(report)):
            assert other == report
            assert str(other) == str(report)
    assert str(report).startswith(f"warpload: {good_file}: {size(report.bytes)} by the core in ")
    assert " (file)\n" in str(report)


def test_a_child_that_is_forked_while_a_load_is_reported_reports_its_own() -> None:
    process = run_python(
        """
import multiprocessing, threading
from warpload import report_text
from warpload.context import began
from warpload.report import STAGES
from warpload.report import LoadReport, last_report, reports
def load(source):
    with began(LoadReport(source)):
        return last_report().source, len(reports())
def child(queue):
    queue.put(load("the child's"))
stop = threading.Event()
def busy():
    while not stop.is_set():
        load("the parent's")
thread = threading.Thread(target=busy)
thread.start()
context = multiprocessing.get_context("fork")
for _ in range(20):
    queue = context.SimpleQueue()
    forked = context.Process(target=child, args=(queue,))
    forked.start()
    assert queue.get()[0] == "the child's"
    forked.join()
stop.set()
thread.join()
print("done")
"""
    )

    assert process.stdout.strip() == "done"


@pytest.fixture
def diffusers_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Capture diffusers' own log, which does not reach the root logger by default."""
    verbosity = diffusers.utils.logging.get_verbosity()
    diffusers.utils.logging.enable_propagation()
    diffusers.utils.logging.set_verbosity_info()
    caplog.set_level(logging.INFO)
    yield caplog
    diffusers.utils.logging.set_verbosity(verbosity)
    diffusers.utils.logging.disable_propagation()


@pytest.mark.parametrize("family", ["stable-diffusion", "wan"])
def test_stock_log_lines_of_loaded_components_are_kept(
    family: str, saved: Saved, diffusers_log: pytest.LogCaptureFixture
) -> None:
    said = []
    for library in (diffusers, warpload):
        diffusers_log.clear()
        library.DiffusionPipeline.from_pretrained(saved(family), dtype=torch.float16)
        said.append(sorted(line for line in diffusers_log.messages if line.startswith("Loaded ")))

    assert said[0]
    assert said[1] == said[0]
