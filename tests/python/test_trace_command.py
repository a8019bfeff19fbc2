"""`warpload trace` loads what is named, and writes when what happened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from support import checkpoints, commands
from support.pipelines import MODELS, Saved
from support.processes import run_python


def trace(*arguments: object) -> Result:
    return commands.run("trace", *arguments)


def events_of(file: Path) -> list[dict[str, Any]]:
    return [event for event in json.loads(file.read_text(encoding="utf-8"))["traceEvents"] if event["ph"] == "X"]


def test_a_pipeline_is_loaded_and_its_timeline_written(saved: Saved, tmp_path: Path) -> None:
    result = trace(saved("stable-diffusion"), "-o", tmp_path / "load.json", "--dtype", "bfloat16")

    assert result.exit_code == 0, result.output
    events = events_of(tmp_path / "load.json")
    assert {event["name"] for event in events} >= {
        "open",
        "assemble",
        "reading",
        "casting",
        "build unet",
        "import torch",
    }
    assert {event["args"]["component"] for event in events if event["name"] == "reading"} == MODELS["stable-diffusion"]
    assert str(saved("stable-diffusion")) in result.stdout
    last = result.stdout.strip().splitlines()[-1]
    assert last.startswith(f"{tmp_path / 'load.json'}: {len(events):,} events, ")
    assert last.endswith("it opens in https://ui.perfetto.dev")


def test_a_page_and_a_picture_are_written(saved: Saved, tmp_path: Path) -> None:
    result = trace(saved("ddpm"), "-o", tmp_path / "load.html", "--plot", tmp_path / "load.png")

    assert result.exit_code == 0, result.output
    assert (tmp_path / "load.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")
    assert "opens in any browser" in result.stdout


def test_models_and_files_are_loaded_too(saved: Saved, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    checkpoints.save_file({"a": torch.rand(1000)}, file)
    for source in (saved("stable-diffusion") / "unet", saved("stable-diffusion") / "text_encoder", file):
        output = tmp_path / f"{source.name}.json"
        result = trace(source, "-o", output, "--dtype", "float16")
        assert result.exit_code == 0, result.output
        assert "reading" in {event["name"] for event in events_of(output)}


def test_of_a_load_that_fails_what_happened_is_written_all_the_same(copied: Saved, tmp_path: Path) -> None:
    folder = copied("stable-diffusion")
    file = checkpoints.weight_file(folder / "unet")
    file.write_bytes(file.read_bytes()[:-1000])

    result = trace(folder, "-o", tmp_path / "load.json")

    assert result.exit_code == 1
    assert f"error: {folder} cannot be loaded: " in result.stderr
    assert "Traceback" not in result.output
    assert json.loads((tmp_path / "load.json").read_text(encoding="utf-8"))["otherData"]["error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("missing/folder", "-o", "load.json"), "no such file or folder"),
        (("{saved}", "-o", "load.txt"), "neither .json"),
        (("{saved}", "-o", "missing/load.json"), "there is no folder missing"),
        (("{saved}", "-o", "load.json", "--dtype", "int8"), "--dtype is 'int8'"),
        (("{saved}", "-o", "load.json", "--plot", "load.gif"), "ends with none of .png"),
        (("{saved}/..", "-o", "load.json"), "neither a pipeline nor a model"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_loaded(
    arguments: tuple[str, ...], words: str, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warpload.tracing.trace_command._load_pipeline", lambda *_: pytest.fail("it is loaded"))

    result = trace(*(argument.format(saved=saved("ddpm")) for argument in arguments))

    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_picture_without_matplotlib_is_refused_with_the_cure(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warpload.tracing.trace_command.find_spec", lambda name: None)

    result = trace(saved("ddpm"), "-o", tmp_path / "load.json", "--plot", tmp_path / "load.png")

    assert result.exit_code == 2
    assert "pip install 'warpload[bench]'" in result.stderr


def test_in_a_process_of_its_own_the_imports_are_told_of(saved: Saved, tmp_path: Path) -> None:
    run_python(
        "from warpload.cli import main; main()",
        "trace",
        saved("ddpm"),
        "-o",
        tmp_path / "load.json",
        "--dtype",
        "bfloat16",
    )

    imports = {event["name"]: event["dur"] for event in events_of(tmp_path / "load.json") if "import" in event["name"]}
    assert imports.keys() == {"import torch", "import"}
    assert imports["import"] > 1000  # microseconds
