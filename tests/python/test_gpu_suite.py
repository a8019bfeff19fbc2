"""The GPU's benchmarks end to end, on the CPU with tiny pipelines; and what gpu_suite.sh makes of its arguments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import contender, facts, manifest, merge, suite
from benchmarks.gpu.contender_process import run_contender
from benchmarks.gpu.journal import REHEARSAL, STEP, Journal, JournalError, read
from benchmarks.gpu.place import Place
from support.gpu_suite import ROOT, SUITE, merged, run_module, stub_kit, suite_command, suite_environment
from warpload.measuring import page_cache
from warpload.measuring.fresh_process import ContenderError, OutOfTimeError

LOADERS = ("warpload", "warpload-pipeline", "stock-to")


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return the states of the page cache that can be had: files of a tmpfs never leave it."""
    file = tmp_path_factory.mktemp("page_cache") / "file"
    file.write_bytes(bytes(1 << 20))
    return ("warm", "cold") if page_cache.evict([file]).resident_pages == 0 else ("warm",)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the JSON file of both pipelines, measured on the CPU by some of the contenders."""
    folder = tmp_path_factory.mktemp("gpu")
    kit = stub_kit(folder / "kit", {})
    output = folder / "output"
    output.mkdir()
    journal = ["--journal", output / "rehearsal.jsonl"]
    models = ["--models", folder / "models"]
    cpu = ["--device", "cpu"]
    run_module("benchmarks.gpu", "facts", *journal, *models, "--touch-gigabytes", 0.01)
    for name in ("sdxl", "large"):
        run_module("benchmarks.gpu", "write", name, *models, *cpu, "--scale", "tiny")
    run_module("benchmarks.gpu", "limits", *journal, *models, *cpu, "--scale", "tiny")
    measure = [*journal, *models, *cpu, "--seconds", 240, "--rounds", 1]
    disk = ["--disk-program", kit / "programs" / "warpload_disk_ceiling"]
    cases = [word for case in ("warm", "pipeline", "cold") for word in ("--case", case)]
    loaders = [word for name in LOADERS for word in ("--loader", name)]
    run_module("benchmarks.gpu", "measure", "sdxl", *measure, *disk, *cases, *loaders, "--checked")
    missing = ["--disk-program", folder / "missing", "--loader", "warpload", "--loader", "fastsafetensors"]
    run_module("benchmarks.gpu", "measure", "large", *measure, *missing, *cases, "--checked")
    return merged(output, 0)


def test_results_name_machine_and_limits(results: dict[str, Any], states: tuple[str, ...]) -> None:
    assert results["rehearsal"] is True
    assert {"gpu", "driver", "torch", "machine", "facts"} <= results.keys()
    assert results["gpu"] == "none (CPU)"
    keys = {"page_cache_gbps": "page cache to memory", "h2d_ceiling_gbps": "host to device, pinned"}
    if "cold" in states:
        keys["disk_ceiling_gbps"] = "disk, O_DIRECT"
    for key in keys:
        assert results[key] > 0
    assert [ceiling["name"] for ceiling in results["ceilings"]] == list(keys.values())


def test_every_loader_has_figures_for_warm_cold_and_pipeline(results: dict[str, Any], states: tuple[str, ...]) -> None:
    for state in states:
        assert set(results[state]) == set(LOADERS)
        for figures in results[state].values():
            assert figures["seconds"] > 0
            assert figures["gbps"] == pytest.approx(results["model"]["bytes"] / figures["seconds"] / 1e9)
    for state in states:
        keys = ["h2d_ceiling_gbps"] + ["disk_ceiling_gbps"] * (state == "cold")
        ceiling = min(results[key] for key in keys)
        figures = results[state]["warpload"]
        assert figures["share_of_ceiling"] == pytest.approx(figures["gbps"] / ceiling)
    assert set(results["pipeline"]) == {"warpload-pipeline", "stock-to"}


def test_a_second_load_of_the_process_is_measured_where_the_files_are_warm(results: dict[str, Any]) -> None:
    assert all(figures["again"]["seconds"] > 0 for figures in results["warm"].values())


def test_tensors_of_every_loader_are_compared_with_the_files(results: dict[str, Any]) -> None:
    assert set(results["verified_tensors"]) == set(LOADERS)
    assert min(results["verified_tensors"].values()) > 100
    assert results["wrong_tensors"] == {}
    assert set(results["large"]["verified_tensors"]) == {"warpload"}


def test_every_run_is_kept_with_the_state_of_the_page_cache(results: dict[str, Any], states: tuple[str, ...]) -> None:
    runs = [(run["kind"], run["loader"], run["page_cache"]["before"]) for run in results["runs"]]
    pipelines = [("pipeline", name, "warm") for name in LOADERS if name != "warpload"]
    expected = [(state, name, state) for state in states for name in LOADERS]
    assert sorted(runs) == sorted([*expected, *pipelines])


def test_a_cold_run_says_what_the_disk_gave_beside_it(results: dict[str, Any]) -> None:
    cold = [run for run in results["runs"] if run["kind"] == "cold"]
    (disk,) = (ceiling for ceiling in results["ceilings"] if ceiling["name"].startswith("disk"))
    figures = [figure for trial in disk["trials"] for figure in trial["gbps"]]
    assert all(run["disk_gbps"] == max(figures) for run in cold)


def test_what_was_not_measured_has_a_reason_and_no_figure(results: dict[str, Any]) -> None:
    large = results["large"]
    assert large["not_measured"]["fastsafetensors"].startswith(("needs a GPU", "not installed: "))
    assert large["disk_ceiling_gbps"] is None
    assert large["cold"].get("warpload", {}).get("share_of_ceiling") is None
    assert {bar["passed"] for bar in large["bars"] if "cold" in bar["name"] or "memory" in bar["name"]} == {None}


def test_both_pipelines_are_in_one_file(results: dict[str, Any]) -> None:
    assert results["model"]["dtype"] == "float16"
    assert results["large"]["model"]["dtype"] == "bfloat16"


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [SUITE, SUITE.with_name("gpu_rehearsal.sh")], ids=lambda path: path.name)
def test_script_is_valid_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=60)


@pytest.mark.parametrize("words", [[], ["output"], ["--kit", "kit"], ["output", "--kit"]], ids=" ".join)
def test_call_without_kit_or_folder_is_refused_with_usage(words: list[str], tmp_path: Path) -> None:
    command = ["bash", str(SUITE), *words]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: ")
    assert "--kit build/gpu-kit" in result.stderr
    assert os.listdir(tmp_path) == []


def test_folder_that_is_no_kit_is_named_and_the_cure(tmp_path: Path) -> None:
    command = suite_command(tmp_path, tmp_path / "output", ["install"])
    result = subprocess.run(command, env=suite_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert f"{tmp_path / 'manifest.json'} is missing" in result.stdout
    assert "`make gpu-kit` makes one" in result.stdout


def test_a_step_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    kit = stub_kit(tmp_path / "kit", {"good": "exit 0", "bad": "exit 1"})
    command = suite_command(kit, tmp_path / "output", ["install", "smoke", "ctest", "write"], "--seconds", "600")
    result = subprocess.run(
        command, env=suite_environment(), capture_output=True, text=True, timeout=240, check=False
    )  # fmt: skip
    assert result.returncode == 1, result.stdout + result.stderr
    (file,) = (tmp_path / "output").glob("*.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["tests"]["ctest"] == {"passed": 1, "failed": ["bad"], "not_run": []}
    assert content["tests"]["smoke"]["failed"] == []
    statuses = {step["name"]: step["status"] for step in content["steps"]}
    assert list(statuses) == ["install", "smoke", "ctest", "write"]
    assert statuses["install"] != "ok"  # the stub has no wheels
    assert statuses["ctest"] == "status 1"
    assert statuses["write"] == "ok"


def test_second_call_says_that_the_program_for_the_sweep_is_missing(tmp_path: Path) -> None:
    kit = stub_kit(tmp_path / "kit", {})
    words = ["--journal", tmp_path / "rehearsal.jsonl", "--kit", kit, "--work", tmp_path / "work", "--seconds", 30]
    output = run_module("benchmarks.gpu", "sweep", *words, status=1)
    (result,) = read([tmp_path / "rehearsal.jsonl"])
    assert result["kind"] == "sweep"
    assert "the kit has no warpload_modelled_link" in result["error"]
    assert result["error"] in output


def _answering_program(folder: Path, name: str, answer: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{answer}'\n", encoding="utf-8")
    program.chmod(0o755)


def test_facts_name_the_gpu_that_nvidia_smi_tells_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = "NVIDIA H100 80GB HBM3, 580.159.04, 81559, 4, Enabled, 5, 5, 16, 16"
    _answering_program(tmp_path, "nvidia-smi", answer)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    facts.note(Journal(tmp_path / "results.jsonl"), "gpu", facts.gpu)

    (line,) = read([tmp_path / "results.jsonl"])
    assert (line["kind"], line["name"]) == ("fact", "gpu")
    assert (line["gpu"], line["driver_version"], line["pcie.link.gen.max"]) == (
        "NVIDIA H100 80GB HBM3",
        "580.159.04",
        "5",
    )


@pytest.mark.parametrize("fact", ["name", "kind", "seconds"])
def test_a_fact_whose_content_has_a_name_of_the_line_ends_no_step(fact: str, tmp_path: Path) -> None:
    facts.note(Journal(tmp_path / "results.jsonl"), "odd", lambda: {fact: "its own"})

    (line,) = read([tmp_path / "results.jsonl"])
    assert (line["kind"], line["name"], line["content"]) == ("fact", "odd", {fact: "its own"})


@pytest.mark.parametrize("compiled", [True, False], ids=["machine-has-bytecode", "machine-has-none"])
def test_every_process_finds_what_an_earlier_one_compiled(
    compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(facts, "bytecode", lambda: {"cached": {"torch": True, "transformers": compiled}})
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "compiled_once.py").write_text("", encoding="utf-8")
    environment = Place(tmp_path / "kit", tmp_path).environment()

    command = [sys.executable, "-c", "import compiled_once; print(compiled_once.__cached__)"]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    assert Path(found).is_file()
    assert Path(found).is_relative_to(tmp_path / ("site" if compiled else "bytecode"))


@pytest.mark.parametrize(("plan", "whole"), [(suite.FIRST, suite.SECONDS), (suite.SECOND, suite.SECOND_SECONDS)])
def test_marks_follow_one_another_and_leave_time_to_merge(plan: tuple[suite.Step, ...], whole: float) -> None:
    marks = [step.until for step in plan]
    assert marks == sorted(marks)
    assert marks[-1] < whole
    assert len({step.name for step in plan}) == len(plan)


# -- the journal, the merge, the manifest -----------------------------------------------------------------------------


@pytest.fixture
def rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REHEARSAL, "1")


@pytest.mark.parametrize(
    ("outcomes", "collected", "status"),
    [
        (["passed", "passed"], 2, 0),
        (["passed", "skipped"], 2, 1),
        (["passed", "not run"], 2, 1),
        (["passed", "failed"], 2, 1),
        (["passed"], 2, 1),
    ],
    ids=["passed", "skipped", "not run", "failed", "cut off"],
)
@pytest.mark.usefixtures("rehearsal")
def test_merge_fails_where_a_test_did_not_pass(
    outcomes: list[str], collected: int, status: int, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "rehearsal.jsonl")
    journal.add("collected", suite="ctest", tests=collected)
    for number, outcome in enumerate(outcomes):
        journal.add("test", suite="ctest", name=f"test {number}", outcome=outcome, seconds=0.1, message="")
    tests = merged(tmp_path, status)["tests"]
    assert tests["ctest"]["passed"] == outcomes.count("passed")
    assert (tests["ctest"]["failed"] + tests["ctest"]["not_run"] == []) == (status == 0)
    assert tests["compute-sanitizer"] == "not run"


@pytest.mark.usefixtures("rehearsal")
def test_half_a_line_costs_that_line_alone(tmp_path: Path) -> None:
    file = tmp_path / "rehearsal.jsonl"
    Journal(file).add("fact", name="first")
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"kind": "fact", "name": "ha')
    Journal(file).add("fact", name="second")
    assert [result["name"] for result in read([file])] == ["first", "second"]


def test_rehearsals_and_real_results_are_never_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / "real.jsonl", tmp_path / "rehearsal.jsonl"]
    for number, file in enumerate(files):
        monkeypatch.setenv(REHEARSAL, str(number))
        Journal(file).add("fact", name="machine")
    with pytest.raises(JournalError, match=r"rehearsal.*never put together"):
        read(files)
    run_module("benchmarks.gpu.merge", *files, "--output", tmp_path / "output", status=2)
    assert not (tmp_path / "output").exists()


def test_results_of_two_calls_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REHEARSAL, "0")
    Journal(tmp_path / "first.jsonl").add("fact", name="device", gpu="NVIDIA H100 80GB HBM3", driver="580", torch="2")
    setting = {"threads": 8}
    Journal(tmp_path / "second.jsonl").add("sweep", setting=setting, result={"first": 0.9})
    run_module("benchmarks.gpu.merge", tmp_path / "first.jsonl", tmp_path / "second.jsonl", "--output", tmp_path)
    content = json.loads((tmp_path / "h100-80gb-hbm3.json").read_text(encoding="utf-8"))
    assert content["rehearsal"] is False
    assert content["sweep"][0]["setting"] == setting
    assert content["sweep"][0]["result"] == {"first": 0.9}


def test_what_one_call_lacked_and_another_has_is_not_lacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"model": "sdxl", "name": "a", "dtype": "float16", "bytes": 1000, "files": 1}
    load = {"model": "sdxl", "case": "warm", "loader": "warpload", "round": 0, "seconds": 1.0, "page_cache": {}}
    monkeypatch.setenv(REHEARSAL, "0")
    monkeypatch.setenv(STEP, "pytest")
    first, second = (Journal(tmp_path / name) for name in ("first.jsonl", "second.jsonl"))
    for journal, names in ((first, ("a", "b")), (second, ("b", "c"))):
        journal.add("model", **model)
        journal.add("collected", suite="pytest", tests=4)
        for name in names:
            journal.add("test", suite="pytest", name=name, outcome="passed", seconds=0.1, message="")
    for what in ("warpload, warm", "warpload, cold"):
        first.add("not_measured", model="sdxl", what=what, reason="no time was left")
    second.add("load", **load, peak_device_bytes=None)

    content = merge.merge(read([first.path, second.path]))

    assert content["not_measured"] == {"warpload, cold": "no time was left"}
    assert content["tests"]["pytest"] == {"passed": 3, "failed": [], "not_run": ["1 of pytest"]}


def test_a_contender_that_is_killed_at_its_limit_was_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contender, "__file__", "-c")  # of the interpreter, in place of the contender's script

    with pytest.raises(OutOfTimeError, match="did not end within 1 s and was killed"):
        run_contender(["import time; time.sleep(600)"], seconds=1.0)
    with pytest.raises(ContenderError, match="status 3") as caught:
        run_contender(["raise SystemExit(3)"], seconds=60.0)
    assert not isinstance(caught.value, OutOfTimeError)


def test_the_suite_starts_where_nothing_is_installed_yet() -> None:
    code = (
        "import sys; sys.modules['warpload'] = sys.modules['torch'] = None; from benchmarks.gpu import suite, run_tests"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_damage_of_a_kit_and_another_tree_are_noticed(tmp_path: Path) -> None:
    kit = stub_kit(tmp_path / "kit", {})
    found = manifest.check(kit, ROOT)
    assert found["damaged"] == []
    assert found["made_from_this_tree"]
    (kit / "programs" / "warpload_disk_ceiling").write_text("something else", encoding="utf-8")
    assert manifest.check(kit, ROOT)["damaged"] == ["programs/warpload_disk_ceiling"]
    assert not manifest.check(kit, tmp_path)["made_from_this_tree"]


def test_a_kit_is_old_where_anything_that_goes_into_its_wheel_has_changed(tmp_path: Path) -> None:
    """The measuring code that `warpload demo` uses is not below python/, but the wheel has it too."""
    ignored = shutil.ignore_patterns("results", "__pycache__", "*.so")
    for folder in ("python", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=ignored)
    for file in ("python/warpload/cli.py", "python/warpload/demo/session.py", "benchmarks/measuring/runs.py"):
        before = manifest.hash_of_sources(tmp_path)
        with (tmp_path / file).open("a", encoding="utf-8") as changed:
            changed.write("# changed\n")
        assert manifest.hash_of_sources(tmp_path) != before, file
