"""`warpload bench`: every contender in every scenario, every run kept, and who cannot take part is told of."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from support import commands
from support.pipelines import Saved
from support.rivals import CHANGES_A_BIT, FAILS, IS_NOT_THERE, write_rival
from warpload.bench import session
from warpload.bench.growth_files import TINY_SIZES
from warpload.bench.plot import write_plot
from warpload.measuring import measure
from warpload.measuring.contenders import CONTENDERS, OWN
from warpload.measuring.digest import Digest
from warpload.measuring.fresh_process import ContenderError
from warpload.measuring.results import AXES, SCENARIOS, SCHEMA
from warpload.measuring.runs import Conditions, Request, Run

ROOT = Path(__file__).resolve().parents[2]


def bench(*arguments: object) -> Result:
    return commands.run("bench", *arguments)


def said(result: Result) -> str:
    return " ".join(result.output.split())


# Real processes


@pytest.fixture(scope="module")
def rivals_result(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, dict[str, Any]]:
    """Return what a bench says of real and of odd rivals, and its JSON file."""
    folder = tmp_path_factory.mktemp("rivals")
    write_rival(folder / "packages", "fastsafetensors", "fastsafetensors", "fastsafetensors", FAILS)
    write_rival(folder / "packages", "runai-streamer", "runai_model_streamer", "runai-model-streamer", CHANGES_A_BIT)
    write_rival(folder / "packages", "tensorizer", "tensorizer", "tensorizer", IS_NOT_THERE)
    names = ("safetensors", "fastsafetensors", "runai-streamer", "tensorizer")
    result = bench(
        *(saved("ddpm"), "--packages", folder / "packages", "--folder", folder / "demo", "--json", folder / "out.json"),
        *("--scenario", "files", "--dtype", "bfloat16", "--runs", 2),
        *(word for name in names for word in ("--against", name)),
    )
    return result, json.loads((folder / "out.json").read_text(encoding="utf-8"))


def test_the_json_file_has_every_run_and_the_figures_follow_from_them(
    rivals_result: tuple[Result, dict[str, Any]],
) -> None:
    result, content = rivals_result
    assert result.exit_code == 0, result.output
    assert content["schema"] == SCHEMA
    assert {"command", "machine", "versions", "model", "finished"} <= content.keys()
    runs = content["runs"]
    rounds = [(run["round"], run["contender"]) for run in runs]
    assert rounds == [(0, "warpload"), (0, "safetensors"), (1, "safetensors"), (1, "warpload")]
    (summary,) = content["summary"]
    for name in ("warpload", "safetensors"):
        used = [it["seconds"]["total"] + it["seconds"]["first_read"] for it in runs if it["contender"] == name]
        assert summary["figures"][name]["used"]["median"] == pytest.approx(statistics.median(used))
        assert summary["figures"][name]["used"]["count"] == 2
    assert summary["ranking"] == sorted(summary["ranking"], key=lambda it: summary["figures"][it]["used"]["median"])
    assert all(run["page_cache"][0] == "warm" for run in runs)


def test_a_rival_that_fails_is_reported_with_its_message(rivals_result: tuple[Result, dict[str, Any]]) -> None:
    result, content = rivals_result
    problems = [it for it in content["problems"] if it["contender"] == "fastsafetensors"]
    assert [(it["kind"], it["message"]) for it in problems] == [("failed", "RuntimeError: the ring is broken")]
    assert "fastsafetensors: failed (files bfloat16): RuntimeError: the ring is broken" in said(result)


def test_a_rival_that_is_not_installed_is_named_with_the_cure(rivals_result: tuple[Result, dict[str, Any]]) -> None:
    result, content = rivals_result
    (problem,) = [it for it in content["problems"] if it["contender"] == "tensorizer"]
    assert problem["kind"] == "not installed"
    assert "a part of tensorizer is not there" in problem["message"]
    assert "pip install 'tensorizer'" in problem["cure"]
    assert "pip install 'tensorizer'" in said(result)


def test_a_rival_whose_tensors_differ_in_one_bit_is_reported_as_wrong_and_has_no_figure(
    rivals_result: tuple[Result, dict[str, Any]],
) -> None:
    result, content = rivals_result
    (problem,) = [it for it in content["problems"] if it["contender"] == "runai-streamer"]
    assert problem["kind"] == "wrong"
    assert problem["message"].startswith("1 differences: tensor unet/")
    assert "runai-streamer: wrong" in said(result)
    assert not [run for run in content["runs"] if run["contender"] == "runai-streamer"]


def test_a_start_is_timed_with_its_imports_and_the_first_use(saved: Saved, tmp_path: Path) -> None:
    file = tmp_path / "out.json"

    result = bench(
        *(saved("ddpm"), "--scenario", "start", "--against", "stock", "--dtype", "bfloat16", "--runs", 1),
        *("--json", file, "--folder", tmp_path / "demo"),
    )

    assert result.exit_code == 0, result.output
    content = json.loads(file.read_text(encoding="utf-8"))
    assert [run["contender"] for run in content["runs"]] == ["warpload", "stock"]
    assert all({"interpreter", "torch", "load", "first_read"} <= run["seconds"].keys() for run in content["runs"])
    assert content["problems"] == []
    expected = len(unet_tensors(saved))
    assert [content["compared_tensors"][f"start bfloat16 {name}"] for name in (OWN, "stock")] == [expected] * 2


def unet_tensors(saved: Saved) -> dict[str, Any]:
    from diffusers import UNet2DModel

    return UNet2DModel.from_pretrained(saved("ddpm") / "unet").state_dict()


# Without processes


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Request, Conditions], float]], list[Request]]:
    """Return a function that puts another in the place of loads; it gives their seconds, or raises."""

    def pretend(seconds: Callable[[Request, Conditions], float]) -> list[Request]:
        requests: list[Request] = []

        def run(request: Request, conditions: Conditions) -> Run:
            requests.append(request)
            taken = {"total": seconds(request, conditions), "load": 0.0, "first_read": 0.25}
            return Run(
                request.loader,
                request.mode,
                request.dtype,
                taken,
                0,
                ("warm", "warm"),
                Digest({}, {"a": "1"}),
                "",
                {},
                8,
            )

        monkeypatch.setattr(measure, "run_contender", run)
        return requests

    return pretend


def test_growth_is_a_slope_for_each_axis_and_contender(pretended: Any, tmp_path: Path) -> None:
    """Pretended loads take three seconds and one step's time for each step, which differs by contender."""

    def seconds(request: Request, conditions: Conditions) -> float:
        axis, _, step = conditions.model.name.partition("-")
        amount = int(step) * TINY_SIZES.unit_bytes / 1e9 if axis == "bytes" else int(step)
        return 3.0 + amount * (0.5 if request.loader == OWN else 2.0)

    pretended(seconds)
    file = tmp_path / "out.json"

    result = bench(
        *("--scenario", "growth", "--scale", "tiny", "--dtype", "float16", "--json", file, "--folder", tmp_path / "a"),
        *("--against", "safetensors", "--against", "stock", "--runs", 1),
    )

    assert result.exit_code == 0, result.output
    growth = {it["axis"]: it for it in json.loads(file.read_text(encoding="utf-8"))["growth"]}
    assert growth.keys() == AXES.keys()
    steps = {"bytes": ("ms", 1e3), "tensors": ("us", 1e6), "shards": ("ms", 1e3), "components": ("ms", 1e3)}
    for axis, it in growth.items():
        unit, a_second = steps[axis]
        assert it["unit"].startswith(f"{unit} a ")
        rival = "stock" if axis == "components" else "safetensors"
        slopes = it["slopes"]["ready"]
        assert slopes.keys() == {OWN, rival}
        assert slopes[OWN]["value"] == pytest.approx(0.5 * a_second, rel=1e-6)
        assert slopes[rival]["value"] == pytest.approx(2.0 * a_second, rel=1e-6)
        assert slopes[OWN]["at_zero"] == pytest.approx(3.0, rel=1e-4)
        assert slopes[OWN]["at_most"] == pytest.approx(it["points"][OWN][-1][1] - 0.25)  # without the first use
    assert list(tmp_path.iterdir()) == [file]  # what was written for it is gone


def test_growth_is_ranked_by_the_largest_amount_as_a_flat_line_may_lie_high(pretended: Any, tmp_path: Path) -> None:
    def seconds(request: Request, conditions: Conditions) -> float:
        return int(conditions.model.name.partition("-")[2]) / 200 if request.loader == OWN else 9.0

    pretended(seconds)
    file = tmp_path / "out.json"

    result = bench(
        *("--scenario", "growth", "--axis", "tensors", "--scale", "tiny", "--dtype", "float16", "--json", file),
        *("--against", "safetensors", "--runs", 1, "--folder", tmp_path / "a"),
    )

    (growth,) = json.loads(file.read_text(encoding="utf-8"))["growth"]
    assert growth["slopes"]["used"]["safetensors"]["value"] < growth["slopes"]["used"][OWN]["value"]
    assert growth["ranking"] == [OWN, "safetensors"]
    assert "warpload is first: growth, tensors (float16)" in said(result)


def test_memory_is_told_of_files_and_of_pipelines(pretended: Any, saved: Saved, tmp_path: Path) -> None:
    requests = pretended(lambda *_: 1.0)
    file = tmp_path / "out.json"

    bench(
        *(saved("ddpm"), "--scenario", "memory", "--dtype", "float32", "--json", file, "--folder", tmp_path / "a"),
        *("--against", "safetensors", "--against", "stock"),
    )

    content = json.loads(file.read_text(encoding="utf-8"))
    found = {(it["kind"], *it["figures"]) for it in content["summary"]}
    assert found == {("files", OWN, "safetensors"), ("pipeline", OWN, "stock")}
    assert all(request.memory for request in requests)


def test_every_round_begins_with_another_contender_and_each_loads_once_in_it(
    pretended: Any, saved: Saved, tmp_path: Path
) -> None:
    requests = pretended(lambda *_: 1.0)

    result = bench(
        *(saved("ddpm"), "--scenario", "files", "--dtype", "float32", "--runs", 3, "--folder", tmp_path / "a"),
        *("--against", "safetensors", "--against", "safetensors-0.9"),
    )

    assert result.exit_code == 0, result.output
    timed = [request.loader for request in requests if not request.digest]
    names = ["warpload", "safetensors", "safetensors-0.9"]
    assert timed == [*names, *names[1:], *names[:1], *names[2:], *names[:2]]


def test_who_fails_in_a_later_round_is_reported_and_the_others_go_on(
    pretended: Any, saved: Saved, tmp_path: Path
) -> None:
    def seconds(request: Request, _: Conditions) -> float:
        if request.loader == "safetensors" and not request.digest:
            raise ContenderError("its command\nended with status 1:\nMemoryError: too little")
        return 1.0

    requests = pretended(seconds)
    file = tmp_path / "out.json"

    result = bench(
        *(saved("ddpm"), "--scenario", "files", "--dtype", "float32", "--runs", 2, "--against", "safetensors"),
        *("--json", file, "--folder", tmp_path / "a"),
    )

    content = json.loads(file.read_text(encoding="utf-8"))
    assert result.exit_code == 0
    assert [run["contender"] for run in content["runs"]] == ["warpload", "warpload"]
    assert [(it["contender"], it["message"]) for it in content["problems"]] == [
        ("safetensors", "MemoryError: too little")
    ]
    timed = [request.loader for request in requests if not request.digest]
    assert timed.count("safetensors") == 1  # not again in the second round


@pytest.mark.parametrize("how", ["fails", "wrong"])
def test_the_exit_status_tells_that_warpload_fails_or_is_wrong(
    how: str, monkeypatch: pytest.MonkeyPatch, saved: Saved, tmp_path: Path
) -> None:
    def run(request: Request, _: Conditions) -> Run:
        if how == "fails" and request.loader == OWN:
            raise ContenderError("command\nFormatError: no header")
        content = {"a": "2" if request.loader == OWN else "1"}
        seconds = {"total": 1.0, "first_read": 1.0}
        return Run(request.loader, request.mode, request.dtype, seconds, 0, ("warm", "warm"), Digest({}, content))

    monkeypatch.setattr(measure, "run_contender", run)

    result = bench(saved("ddpm"), "--scenario", "files", "--against", "safetensors", "--folder", tmp_path / "a")

    assert result.exit_code == 1
    assert ("warpload: wrong" if how == "wrong" else "FormatError: no header") in said(result)


def test_tensors_are_unchecked_where_stock_itself_fails(pretended: Any, saved: Saved, tmp_path: Path) -> None:
    def seconds(request: Request, _: Conditions) -> float:
        if request.loader == "stock":
            raise ContenderError("command\nOSError: stock cannot")
        return 1.0

    pretended(seconds)

    result = bench(saved("ddpm"), "--scenario", "pipeline", "--dtype", "float32", "--folder", tmp_path / "a")

    assert result.exit_code == 0
    assert "stock: failed (pipeline float32): OSError: stock cannot" in said(result)
    assert "warpload: unchecked" in said(result)
    assert "bit for bit" not in said(result)


def test_cold_loads_are_told_so_and_have_settings_of_their_own(pretended: Any, saved: Saved, tmp_path: Path) -> None:
    states = []
    pretended(lambda _, conditions: states.append(conditions.cold) or 1.0)  # type: ignore[func-returns-value]
    file = tmp_path / "out.json"

    bench(
        *(saved("ddpm"), "--scenario", "files", "--cache", "cold", "--against", "safetensors", "--runs", 1),
        *("--json", file, "--folder", tmp_path / "a"),
    )

    content = json.loads(file.read_text(encoding="utf-8"))
    assert set(states) == {True}
    assert content["page_cache"] == "cold"
    assert {it["name"]: it["settings"] for it in content["contenders"]} == {
        name: CONTENDERS[name].cold for name in (OWN, "safetensors")
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_floor_is_timed_by_its_program_and_is_nobodys_rival(
    dtype: str, pretended: Any, saved: Saved, tmp_path: Path
) -> None:
    pretended(lambda *_: 1.0)
    program = tmp_path / "floor"
    program.write_text('#!/bin/sh\necho "{\\"seconds\\": 0.5, \\"arguments\\": \\"$*\\"}"\n', encoding="utf-8")
    program.chmod(0o755)
    file = tmp_path / "out.json"

    result = bench(
        *(saved("ddpm"), "--scenario", "files", "--dtype", dtype, "--runs", 1, "--json", file),
        *("--against", "floor", "--floor", program, "--folder", tmp_path / "a"),
    )

    assert result.exit_code == 0, result.output
    (summary,) = json.loads(file.read_text(encoding="utf-8"))["summary"]
    assert summary["figures"]["floor"]["used"]["median"] == 0.5
    assert summary["ranking"] == [OWN]


def test_a_floor_that_was_not_built_is_named_with_the_cure(pretended: Any, saved: Saved, tmp_path: Path) -> None:
    pretended(lambda *_: 1.0)

    result = bench(
        *(saved("ddpm"), "--scenario", "files", "--dtype", "float32", "--runs", 1, "--against", "floor"),
        *("--floor", tmp_path / "nothing", "--folder", tmp_path / "a"),
    )

    assert result.exit_code == 0
    assert "floor: not installed" in said(result)
    assert "build warpload_floor" in said(result)


# The plot


def test_the_plot_is_written_with_a_bar_for_everybody(pretended: Any, saved: Saved, tmp_path: Path) -> None:
    pretended(lambda request, _: 1.0 if request.loader == OWN else 2.0)
    plot = tmp_path / "out.png"

    result = bench(
        *(saved("ddpm"), "--dtype", "float32", "--runs", 1, "--against", "safetensors", "--against", "stock"),
        *(word for name in SCENARIOS for word in ("--scenario", name)),
        *("--scale", "tiny", "--plot", plot, "--folder", tmp_path / "a"),
    )

    assert result.exit_code == 0, result.output
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules  # whose state is the whole process's


def test_nothing_measured_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        write_plot({"summary": [], "growth": []}, tmp_path / "out.png")


def test_a_missing_matplotlib_is_said_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, saved: Saved, tmp_path: Path
) -> None:
    monkeypatch.setattr(session, "find_spec", lambda _: None)
    monkeypatch.setattr(session, "measure", refuse)

    result = bench(saved("ddpm"), "--plot", tmp_path / "out.png")

    assert result.exit_code == 2
    assert "pip install 'warpload[bench]'" in said(result)


# Usage


def refuse(*_: object) -> None:
    raise AssertionError("a load has begun")


@pytest.mark.parametrize(
    ("arguments", "choices"),
    [
        (("--against", "nobody"), "stock, stock-parallel, safetensors"),
        (("--against", "warpload"), "stock, stock-parallel, safetensors"),
        (("--scenario", "[red]"), "files, pipeline, start, memory, growth"),
        (("--axis", "colour"), "bytes, tensors, shards, components"),
        (("--dtype", "int8"), "float16, bfloat16, float32"),
        (("--cache", "hot"), "warm, cold"),
        (("--scale", "huge"), "auto, full, medium, small, tiny"),
    ],
)
def test_an_unknown_name_is_refused_with_the_choices(
    arguments: tuple[str, ...], choices: str, monkeypatch: pytest.MonkeyPatch, saved: Saved
) -> None:
    monkeypatch.setattr(session, "measure", refuse)

    result = bench(saved("ddpm"), *arguments)

    assert result.exit_code == 2
    assert said(result).startswith(f"error: {arguments[0]} is '{arguments[1]}', not one of {choices}")


def test_what_is_no_pipeline_and_where_nothing_can_be_written_are_refused(
    monkeypatch: pytest.MonkeyPatch, saved: Saved, tmp_path: Path
) -> None:
    monkeypatch.setattr(session, "measure", refuse)
    for arguments, sentence in (
        ((tmp_path / "mistyped",), "there is no such folder"),
        ((saved("ddpm"), "--json", tmp_path / "none" / "out.json"), "its folder is not there"),
    ):
        result = bench(*arguments, "--folder", tmp_path / "a")
        assert result.exit_code == 2
        assert sentence in said(result)


def test_an_interrupt_ends_it_and_keeps_what_was_found(
    monkeypatch: pytest.MonkeyPatch, saved: Saved, tmp_path: Path
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "run_contender", interrupt)
    file = tmp_path / "out.json"

    result = bench(saved("ddpm"), "--scenario", "files", "--json", file, "--folder", tmp_path / "a")

    assert result.exit_code == 130
    assert json.loads(file.read_text(encoding="utf-8"))["runs"] == []


def test_the_help_has_examples() -> None:
    result = bench("--help")

    assert result.exit_code == 0
    assert "warpload bench my/pipeline --against stock" in said(result)
