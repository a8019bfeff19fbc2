"""The script that compares builds on a modelled link, with a program that only says what it was told to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]


def program(folder: Path, name: str, first: float, again: float) -> Path:
    """Return a program that claims these shares."""
    loads = {"first": {"share": first, "seconds": 1.0}, "again": {"share": again, "seconds": 0.5}}
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{json.dumps({'ring_bytes': 24 << 20, **loads})}'\n", encoding="utf-8")
    file.chmod(0o755)
    return file


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs the script on programs, without models, and returns its status and its file."""
    monkeypatch.syspath_prepend(ROOT)
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    from benchmarks import modelled_link
    from benchmarks.gpu.models import Model

    monkeypatch.setattr(modelled_link, "_write", lambda name, folder: Model(name, folder, "float16"))
    app = Typer()
    app.command()(modelled_link.main)

    def run(**programs: Path) -> tuple[int, Any]:
        output = tmp_path / "result.json"
        words = [f"{name}={path}" for name, path in programs.items()]
        options = ["--folder", str(tmp_path), "--output", str(output), "--runs", "3"]
        result = CliRunner().invoke(app, [*words, *options])
        return result.exit_code, json.loads(output.read_text(encoding="utf-8"))

    return run


def test_every_run_of_every_program_is_kept_with_the_medians(compare: Any, tmp_path: Path) -> None:
    before, after = program(tmp_path, "before", 0.5, 0.6), program(tmp_path, "after", 0.93, 0.97)

    status, result = compare(before=before, after=after)

    assert status == 0
    assert set(result["models"]) == {"sdxl", "large"}
    for found in result["models"].values():
        assert {name: len(measured["runs"]) for name, measured in found.items()} == {"before": 3, "after": 3}
        assert found["before"]["medians"]["first"]["share"] == 0.5
        assert found["after"]["medians"]["again"]["share"] == 0.97
        assert found["after"]["medians"]["ring_bytes"] == 24 << 20


@pytest.mark.parametrize(("first", "again"), [(0.89, 0.99), (0.99, 0.94)])
def test_a_share_below_its_bar_is_the_exit_status(first: float, again: float, compare: Any, tmp_path: Path) -> None:
    status, _ = compare(after=program(tmp_path, "after", first, again))

    assert status == 1
