"""The bar of a load: whether there is one, what it says, how it ends, and what becomes of the libraries' own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import diffusers
import huggingface_hub
import pytest
import torch
import transformers

import warpload
from support import checkpoints, watched
from support.compare import assert_same_pipeline
from support.pipelines import Saved
from support.processes import run_python
from support.watched import Meter, Terminal
from warpload import options, progress_audience, progress_bar

FAMILY = "stable-diffusion"
STOCKS = ("Loading pipeline components...", "Loading weights", "Loading checkpoint shards")


@pytest.fixture(autouse=True)
def _bars_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("WARPLOAD_PROGRESS", raising=False)
    yield from watched.libraries_bars_on()
    assert progress_bar.current() is None
    for each in bar_threads():  # a load does not wait for one that has shown nothing
        each.join(60)
    assert not bar_threads()


def bar_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "warpload-progress"]


def load(folder: Path, **keywords: Any) -> Any:
    return warpload.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16, **keywords)


def read_bytes() -> int:
    report = warpload.last_report()
    assert report is not None
    return report.bytes


def test_a_load_that_takes_long_shows_one_bar_and_gives_what_stock_gives(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = diffusers.DiffusionPipeline.from_pretrained(saved(FAMILY), dtype=torch.bfloat16)
    terminal = watched.watched(monkeypatch)
    watched.seen_before_its_end(monkeypatch, terminal)

    pipeline = load(saved(FAMILY))

    assert_same_pipeline(pipeline, stock)
    assert all(each.startswith("Loading ") for each in terminal.lines())
    assert not any(each in terminal.getvalue() for each in STOCKS)
    assert terminal.lines()[-1].startswith("Loading pipeline: 100%")
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().endswith("\n")


def test_it_names_the_components_on_their_way(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch)
    watched.seen_before_its_end(monkeypatch, terminal, "building")

    load(saved(FAMILY))

    components = {line.split(":")[0].removeprefix("Loading ") for line in terminal.lines()}
    assert components <= {"vae", "unet", "text_encoder", "safety_checker", "pipeline"}
    assert len(components) > 1


def test_a_load_that_is_over_before_leaves_no_trace(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch, delay=3600.0)

    load(saved(FAMILY))

    assert terminal.getvalue() == ""


def test_a_load_that_reads_nothing_has_no_thread(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch)
    begun: list[object] = []
    monkeypatch.setattr(progress_bar.ProgressBar, "_run", lambda self: begun.append(self))

    warpload.DiffusionPipeline.from_pretrained(saved(FAMILY))  # float32, as the files are: views

    assert begun == []
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("size", [(24, 100), (0, 0)], ids=["as usual", "unknown"])
def test_a_terminal_is_left_as_stocks_bars_leave_it(
    size: tuple[int, int], saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a pseudo terminal, whose size may be unknown."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    shown = threading.Event()
    parts: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(master, 4096):
                parts.append(part)
                shown.set()

    reader = threading.Thread(target=read)
    reader.start()
    watched.watched(monkeypatch)
    with open(slave, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        watched.before_end(monkeypatch, lambda: shown.wait(watched.PATIENCE))
        load(saved(FAMILY))
    reader.join(watched.PATIENCE)
    os.close(master)

    text = b"".join(parts).decode()
    assert text.startswith("\rLoading ")
    assert text.endswith("\r\n")
    assert "\x1b[A" not in text  # no other bar above or below
    assert "100%" in text.split("\r")[-2]


# -- where nobody watches ----------------------------------------------------------------------------------------------


def test_where_nobody_watches_nothing_is_done_and_stocks_bars_are_stocks(
    saved: Saved, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_bar, "ProgressBar", None)  # nobody makes one
    monkeypatch.setattr(progress_bar, "_DELAY", 0.0)

    load(saved(FAMILY))

    written = capfd.readouterr().err
    assert "Loading pipeline components...: 100%" in written
    assert "Loading weights: 100%" in written


def test_who_asks_for_it_has_it_in_a_log_too(
    saved: Saved, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_bar, "_DELAY", 0.0)
    shown = threading.Event()
    draw = progress_bar.ProgressBar._draw
    monkeypatch.setattr(progress_bar.ProgressBar, "_draw", lambda *given: (draw(*given), shown.set()))
    watched.before_end(monkeypatch, lambda: shown.wait(watched.PATIENCE))

    with warpload.LoadOptions(progress=True):
        load(saved(FAMILY))

    written = capfd.readouterr().err
    assert "Loading pipeline: 100%" in written
    assert not any(each in written for each in STOCKS)


def test_it_is_imported_by_nobody_who_does_not_see_it(mixed: Path) -> None:
    code = """
import sys
import warpload

warpload.load_file(sys.argv[1], dtype="float16")
print("tqdm.auto" in sys.modules, "IPython" in sys.modules)
"""
    assert run_python(code, mixed).stdout.split() == ["False", "False"]


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_a_standard_error_a_load_goes_on(
    stream: str | None, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = None if stream is None else Terminal()
    if terminal is not None:
        terminal.close()
    monkeypatch.setattr(sys, "stderr", terminal)

    assert not progress_audience.is_watched()
    assert warpload.UNet2DConditionModel.from_pretrained(saved(FAMILY), subfolder="unet", dtype=torch.bfloat16)


def test_a_notebook_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("IPython")
    library.get_ipython = lambda: SimpleNamespace(config=kernel)  # type: ignore[attr-defined]
    kernel: dict[str, object] = {}
    monkeypatch.setitem(sys.modules, "IPython", library)
    assert not progress_audience.is_watched()  # IPython's shell writes to a terminal, or to none

    kernel["IPKernelApp"] = {}

    assert progress_audience.is_watched()


# -- switches ----------------------------------------------------------------------------------------------------------


def _by_options(_: pytest.MonkeyPatch) -> contextlib.AbstractContextManager[Any]:
    return warpload.LoadOptions(progress=False)


def _by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARPLOAD_PROGRESS", "off")


def _by_diffusers(_: pytest.MonkeyPatch) -> None:
    diffusers.utils.logging.disable_progress_bar()


def _by_hub(_: pytest.MonkeyPatch) -> None:
    huggingface_hub.utils.disable_progress_bars()


def _by_hub_for_us(_: pytest.MonkeyPatch) -> None:
    huggingface_hub.utils.disable_progress_bars("warpload")


def _by_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffusers.utils.distributed_utils.is_torch_dist_rank_zero", lambda: False)


SWITCHES = [_by_options, _by_environment, _by_diffusers, _by_hub, _by_hub_for_us, _by_rank]


@pytest.mark.parametrize("switch", SWITCHES)
def test_who_switches_bars_off_sees_none_of_ours_and_of_stocks_what_stock_shows(
    switch: Callable[[pytest.MonkeyPatch], Any], saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = watched.watched(monkeypatch)
    monkeypatch.setattr(progress_bar, "ProgressBar", None)

    with switch(monkeypatch) or contextlib.nullcontext():
        load(saved(FAMILY))
        ours = sorted({line.split(":")[0] for line in terminal.lines()})
        terminal.clear()
        diffusers.DiffusionPipeline.from_pretrained(saved(FAMILY), dtype=torch.bfloat16)
        stocks = sorted({line.split(":")[0] for line in terminal.lines()})
    huggingface_hub.utils.enable_progress_bars("warpload")

    assert ours == stocks


@pytest.mark.parametrize("switch", ["diffusers", "transformers"])
def test_of_a_transformers_model_alone_transformers_switch_counts(
    switch: str, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = watched.watched(monkeypatch)
    {"diffusers": diffusers, "transformers": transformers}[switch].utils.logging.disable_progress_bar()
    if switch == "diffusers":
        watched.seen_before_its_end(monkeypatch, terminal)

    with warpload.accelerated():
        transformers.CLIPTextModel.from_pretrained(saved(FAMILY) / "text_encoder", dtype=torch.bfloat16)

    assert ("Loading text_encoder" in terminal.getvalue()) == (switch == "diffusers")
    assert "Loading weights" not in terminal.getvalue()


def test_without_huggingface_hub_its_variable_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "huggingface_hub.utils")
    assert not progress_audience.is_switched_off("diffusers")

    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "true")

    assert progress_audience.is_switched_off("diffusers")


def test_the_option_of_the_innermost_block_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARPLOAD_PROGRESS", "on")
    assert options.progress() is True
    with warpload.LoadOptions(progress=False):
        assert options.progress() is False
    with warpload.LoadOptions(progress=None):
        assert options.progress() is None


# -- stock's own bars --------------------------------------------------------------------------------------------------


def test_what_stock_loads_without_the_core_has_stocks_bar(copied: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copied("ddpm")
    file = checkpoints.weight_file(folder / "unet")
    torch.save(checkpoints.load_file(file), file.with_suffix(".bin"))
    file.unlink()
    terminal = watched.watched(monkeypatch, delay=3600.0)

    load(folder)

    assert "Loading pipeline components...: 100%" in terminal.getvalue()


def test_bars_of_other_threads_are_left_alone(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch, delay=3600.0)

    def stock_loads() -> None:
        thread = threading.Thread(target=diffusers.DiffusionPipeline.from_pretrained, args=(saved("ddpm"),))
        thread.start()
        thread.join()

    watched.before_end(monkeypatch, stock_loads)
    warpload.UNet2DConditionModel.from_pretrained(saved(FAMILY), subfolder="unet", dtype=torch.bfloat16)

    assert "Loading pipeline components...: 100%" in terminal.getvalue()


def test_bars_that_count_something_else_are_left_alone(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch, delay=3600.0)
    watched.before_end(monkeypatch, lambda: list(diffusers.utils.logging.tqdm([1], desc="Something else")))

    load(saved(FAMILY))

    assert "Something else: 100%" in terminal.getvalue()


# -- ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_a_load_that_fails_leaves_its_line_as_far_as_it_came(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = watched.watched(monkeypatch)
    meter = Meter(4_000_000)

    def fail() -> None:
        with progress_bar.Shown("folder/model"):
            add(meter, {0: "unet"})
            meter.arrived[0] = 1_000_000
            assert terminal.waits_for("25%")
            meter.whole[0] = meter.arrived[0]  # as what is cancelled says
            raise error

    with pytest.raises(type(error)):
        fail()

    assert terminal.getvalue().endswith("\n")
    assert "25%" in terminal.lines()[-1]
    assert "1.00M/4.00M" in terminal.lines()[-1]
    written = terminal.getvalue()
    assert not bar_threads()
    assert terminal.getvalue() == written


def add(meter: Meter, names: dict[int, str]) -> None:
    bar = progress_bar.current()
    assert bar is not None
    bar.add(meter, names)  # type: ignore[arg-type]


def test_a_terminal_that_goes_away_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch)
    meter = Meter(4_000_000)

    with progress_bar.Shown("model"):
        add(meter, {0: "unet"})
        assert terminal.waits_for("0%")
        terminal.close()


def test_names_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch)

    with progress_bar.Shown("model"):
        add(Meter(4_000_000), {0: "evil\x1b[2J\nname"})
        assert terminal.waits_for("0%")

    assert "Loading evil\\x1b[2J\\nname" in terminal.getvalue()
    assert "\x1b[2J" not in terminal.getvalue()


def test_it_says_when_python_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch)
    meter = Meter(1_000_000)
    meter.arrived[0] = 1_000_000

    with progress_bar.Shown("model"):
        add(meter, {0: "unet"})
        with progress_bar.importing():
            assert terminal.waits_for("importing]")
        assert terminal.waits_for("building]")


def test_bytes_that_turn_up_later_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch)
    first, second = Meter(1_000_000), Meter(3_000_000)

    with progress_bar.Shown("model"):
        add(first, {0: "a"})
        first.arrived[0] = 1_000_000
        assert terminal.waits_for("100%")
        add(second, {0: "b"})
        assert terminal.waits_for("1.00M/4.00M")

    assert "4.00M/4.00M" in terminal.lines()[-1]


# -- more than one load ------------------------------------------------------------------------------------------------


def test_a_load_inside_a_load_is_counted_in_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch)

    with progress_bar.Shown("outer"):
        outer = progress_bar.current()
        with progress_bar.Shown("inner"):
            assert progress_bar.current() is outer
            add(Meter(1_000_000), {0: ""})
        assert progress_bar.current() is outer
        assert terminal.waits_for("Loading outer")

    assert "inner" not in terminal.getvalue()


def test_of_two_loads_at_once_the_first_has_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = watched.watched(monkeypatch)

    def load_second() -> None:
        with progress_bar.Shown("second"):
            add(Meter(1_000_000), {0: ""})
            assert len(bar_threads()) == 1
            finished.append(True)

    finished: list[bool] = []
    with progress_bar.Shown("first"):
        add(Meter(1_000_000), {0: ""})
        thread = threading.Thread(target=load_second)
        thread.start()
        thread.join()
        assert terminal.waits_for("first")
    assert finished == [True]
    assert "second" not in terminal.getvalue()

    with progress_bar.Shown("third"):
        add(Meter(1_000_000), {0: ""})
        assert terminal.waits_for("third")


def test_files_and_modules_that_are_moved_have_it_too(
    mixed: Path, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = watched.watched(monkeypatch)
    end = progress_bar.ProgressBar.end

    def seen_and_end(self: Any, **how: Any) -> None:
        assert terminal.waits_for(": 100%")
        end(self, **how)

    monkeypatch.setattr(progress_bar.ProgressBar, "end", seen_and_end)
    warpload.load_file(mixed, dtype="float16")
    assert f"Loading {mixed.name}: 100%" in terminal.getvalue()

    terminal.clear()
    model = diffusers.UNet2DConditionModel.from_pretrained(saved(FAMILY), subfolder="unet")
    with warpload.LoadOptions(arena="always"):
        warpload.to_device(model, "cpu")
    assert "Moving to cpu: 100%" in terminal.getvalue()


def test_a_child_of_fork_leaves_the_line_to_its_parent() -> None:
    code = """
import os
import sys
from support.watched import Meter, Terminal
from warpload import progress_bar

sys.stderr = terminal = Terminal()
progress_bar._DELAY = 0.0
with progress_bar.Shown("model"):
    progress_bar.current().add(Meter(1_000_000), {0: "unet"})
    assert terminal.waits_for("0%")
    child = os.fork()
    if child == 0:
        before = terminal.getvalue()
        assert progress_bar.current() is None
if child == 0:
    with progress_bar.Shown("other"):
        progress_bar.current().add(Meter(1_000_000), {0: "vae"})
        assert terminal.waits_for("Loading vae")
    new = terminal.getvalue()[len(before):]
    os._exit(0 if "unet" not in new and "Loading other: 100%" in new else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert "Loading model: 100%" in terminal.getvalue() and "vae" not in terminal.getvalue()
"""
    run_python(code)
