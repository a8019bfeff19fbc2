"""The command line says in a line or two what is wrong, before any load begins, and ends with a status that tells."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console

import warpload
from support import checkpoints, commands
from support.hub_server import HubServer
from support.pipelines import Saved
from support.processes import PACKAGE_FOLDER, TIMEOUT, run_python
from warpload.demo import architecture, session
from warpload.demo.table import comparison_table
from warpload.measuring import machine
from warpload.measuring.comparison import judge
from warpload.measuring.digest import Digest
from warpload.measuring.runs import Run


@pytest.fixture
def no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a load begins."""

    def refuse(*arguments: object, **_: object) -> None:
        raise AssertionError("a load has begun")

    monkeypatch.setattr(session, "compare", refuse)


def demo(*arguments: object) -> Result:
    return commands.run("demo", *arguments)


def said(result: Result) -> str:
    return " ".join(result.output.split())


def test_the_package_runs_as_a_module() -> None:
    environment = {**os.environ, "PYTHONPATH": PACKAGE_FOLDER}
    process = subprocess.run(
        [sys.executable, "-m", "warpload", "--version"], capture_output=True, text=True, check=True, env=environment
    )

    assert process.stdout.strip() == f"warpload {warpload.__version__}"


@pytest.mark.usefixtures("no_load")
def test_a_folder_that_is_no_pipelines_says_what_it_is(copied: Saved, tmp_path: Path) -> None:
    folder = copied("ddpm")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    expected = {
        tmp_path / "empty": "is empty",
        tmp_path / "file": "is a file",
        tmp_path / "mistyped": "there is no such folder",
        folder / "unet": f"name the pipeline's folder: {folder}",
        folder.parent: f"did you mean {folder}?",
    }
    for named, sentence in expected.items():
        result = demo("--model", named)
        assert result.exit_code == 2, named
        assert result.output.startswith(f"error: {named}")
        assert sentence in said(result)
        assert len(result.output.splitlines()) <= 2


@pytest.mark.usefixtures("no_load")
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is not valid"),
        ('{"_class_name"', "is not valid"),
        ("{}", "is not valid"),
        ('{"_class_name": "NoSuchPipeline"}', "has no NoSuchPipeline"),
    ],
)
def test_an_index_that_names_no_pipeline_is_refused(content: str, sentence: str, copied: Saved) -> None:
    folder = copied("ddpm")
    (folder / "model_index.json").write_text(content)

    result = demo("--model", folder)

    assert result.exit_code == 2
    assert sentence in said(result)


@pytest.mark.usefixtures("no_load")
@pytest.mark.parametrize("how", ["cut short", "empty", "no header"])
def test_a_broken_weight_file_is_named_in_our_own_words(how: str, copied: Saved) -> None:
    folder = copied("ddpm")
    file = checkpoints.weight_file(folder / "unet")
    content = file.read_bytes()
    file.write_bytes({"cut short": content[:-1], "empty": b"", "no header": b"no header at all"}[how])
    with pytest.raises(warpload.WarploadError) as error:
        warpload.load_file(file)

    result = demo("--model", folder)

    assert result.exit_code == 1
    assert result.output.strip() == f"error: {error.value}"


def test_a_hub_id_that_leads_nowhere_is_refused_without_talk(saved: Saved, tmp_path: Path) -> None:
    with HubServer(saved("ddpm")) as server:
        for endpoint, offline, sentence in (
            (server.endpoint, "0", "no such repository on the Hub"),
            (server.endpoint, "1", "the Hub cannot be asked"),
        ):
            settings = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": offline, "HF_HUB_CACHE": str(tmp_path)}
            process = run_python(
                f"import os, sys; os.environ.update({settings!r})\n"
                "from warpload.cli import main; sys.argv = ['warpload', 'demo', '--model', 'nobody/nothing']; main()",
                check=False,
            )
            assert process.returncode == 2, process.stderr
            assert process.stdout.startswith("error: nobody/nothing: there is no such folder")
            assert sentence in process.stdout
            assert process.stderr == ""


def test_a_repository_without_an_index_is_no_pipeline(copied: Saved, tmp_path: Path) -> None:
    folder = copied("ddpm")
    (folder / "model_index.json").unlink()
    with HubServer(folder) as server:
        settings = {"HF_ENDPOINT": server.endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_CACHE": str(tmp_path)}
        process = run_python(
            f"import os, sys; os.environ.update({settings!r})\n"
            "from warpload.cli import main; sys.argv = ['warpload', 'demo', '--model', 'warpload-tests/tiny']; main()",
            check=False,
        )

    assert process.returncode == 2
    assert "it is no pipeline" in process.stdout


@pytest.mark.usefixtures("no_load")
@pytest.mark.parametrize("arguments", [("--dtype", "int8"), ("--dtype", "[red]"), ("--runs", "0"), ("--runs", "x")])
def test_a_wrong_option_is_refused_with_the_choices(arguments: tuple[str, ...], saved: Saved) -> None:
    result = demo("--model", saved("ddpm"), *arguments)

    assert result.exit_code == 2
    if arguments[0] == "--dtype":
        assert f"{arguments[1]!r}, not float16, bfloat16 or float32" in said(result)


@pytest.mark.usefixtures("no_load")
@pytest.mark.parametrize("where", ["below a file", "where nothing can be made", "on a full disk"])
def test_a_folder_that_cannot_be_written_is_refused(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path("/proc/warpload/model") if where == "where nothing can be made" else tmp_path / "file" / "model"
    if where == "on a full disk":
        folder = tmp_path / "model"
        monkeypatch.setattr(machine, "free_disk", lambda _: 0)
    else:
        (tmp_path / "file").touch()
        monkeypatch.setattr(architecture, "choose_scale", lambda *_, **__: architecture.TINY)

    result = demo("--folder", folder)

    assert result.exit_code == 2
    assert f"error: no pipeline can be written to {folder}: " in said(result)
    assert "--folder" in said(result)


INTERRUPTED = """
import signal, sys
from warpload.demo import architecture, session
architecture.choose_scale = lambda *_, **__: architecture.TINY
def compare(*_, **__):
    print("ready", flush=True)
    signal.pause()
session.compare = compare
from warpload.cli import main
sys.argv = ["warpload", "demo", "--folder", sys.argv[1]]
main()
"""


def test_an_interrupt_removes_what_was_written(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "model")],
        env={**os.environ, "PYTHONPATH": PACKAGE_FOLDER},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        assert process.poll() is None
    assert (tmp_path / "model" / "model_index.json").is_file()

    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 130
    assert "error: interrupted" in output
    assert "Traceback" not in output
    assert list(tmp_path.iterdir()) == []


def test_of_a_pipeline_that_stock_loads_no_ratio_is_made(copied: Saved) -> None:
    folder = copied("ddpm")
    checkpoints.as_pickles(folder, "unet")

    result = demo("--model", folder, "--runs", 1, "--dtype", "float32")

    assert result.exit_code == 1, result.output
    nothing = "nothing was loaded by the core, so there is nothing to compare: stock loaded unet (no safetensors, but"
    assert nothing in said(result)
    assert "the core loads them after `warpload convert`" in said(result)
    assert "ratio" not in result.output


def test_as_json_the_output_is_the_verdict_and_every_median_and_nothing_else(saved: Saved) -> None:
    result = demo("--model", saved("ddpm"), "--runs", 1, "--dtype", "float32", "--json")

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["identical"]
    assert told["verdict"] in said(result)
    assert [compared["dtype"] for compared in told["comparisons"]] == ["float32"]


def test_of_a_pipeline_that_stock_loads_in_part_the_components_are_named() -> None:
    digest = Digest({}, {})
    seconds = dict.fromkeys(("interpreter", "torch", "library", "load", "first_read", "total"), 1.0)
    components = {"unet": "stock: no safetensors", "vae": "native"}
    runs = [
        Run(loader, "whole", "none", seconds, 1, ("warm", "warm"), digest, components=found)
        for loader, found in (("stock", {}), ("warpload", components))
    ]
    console = Console(file=io.StringIO(), width=120)

    console.print(comparison_table(judge("none", runs), "title"))

    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "ratio" in text
    assert "loaded by stock in both: unet (no safetensors)" in text


def test_a_load_that_fails_is_told_by_its_error_alone(copied: Saved) -> None:
    folder = copied("ddpm")
    shutil.rmtree(folder / "scheduler")

    result = demo("--model", folder, "--runs", 1)

    assert result.exit_code == 1
    assert result.output.strip().splitlines()[-1].startswith("error: a load failed: OSError: ")
    assert "Traceback" not in result.output
