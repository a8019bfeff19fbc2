"""What a load says of itself: the report, its table, and stock's own log lines."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import diffusers
import pytest
import torch

import warpload
from support import checkpoints
from support.pipelines import MODELS, Saved


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


def test_the_source_is_what_the_caller_gave(saved: Saved) -> None:
    assert load(saved("ddpm")).source == str(saved("ddpm"))


def test_it_prints_as_a_table_of_components_and_stages(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    file = checkpoints.weight_file(folder / "unet")
    torch.save(checkpoints.load_file(file), file.with_suffix(".bin"))
    file.unlink()

    report = load(folder)

    first, *rows = str(report).splitlines()
    assert str(folder) in first
    cells = {row.split()[0]: " ".join(row.split()[1:]) for row in rows}
    assert cells["vae"] == "native"
    assert cells["unet"] == "stock: no safetensors"
    for stage, seconds in report.seconds.items():
        assert cells[stage] == f"{seconds:.3f} s"
    columns = {row.index(row.split(maxsplit=1)[1]) for row in rows}
    assert len(columns) == 1


def test_a_report_of_nothing_prints() -> None:
    assert str(warpload.LoadReport("somewhere")).startswith("warpload: somewhere: 0.00 GB")


def test_each_load_has_a_report_of_its_own(saved: Saved) -> None:
    first = load(saved("ddpm"))
    second = load(saved("pixart"))

    assert first.components == {"unet": "native"}
    assert second.components.keys() == MODELS["pixart"]
    assert warpload.last_report() is second


def test_each_thread_has_a_report_of_its_own(saved: Saved) -> None:
    mine = load(saved("ddpm"))
    seen: list[warpload.LoadReport | None] = []

    def other() -> None:
        seen.append(warpload.last_report())
        seen.append(load(saved("pixart")))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()

    assert seen[0] is None
    assert seen[1] is not None
    assert seen[1].components.keys() == MODELS["pixart"]
    assert warpload.last_report() is mine


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
