"""What is going to be imported is read ahead: which files, when it begins, and that nobody ever notices."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from support.pipelines import Saved
from support.processes import run_python
from warpload import _core
from warpload.stock import imports_ahead
from warpload.stock.imported_folders import FOLDERS

# Notes what the core is asked for, in place of reading it.
NOTED = """
import json, os, sys, warpload
from warpload import _core

class Reader:
    noted, stopped, files, bytes, done = [], 0, 0, 0, False
    def __init__(self, folders, *, most_of_file, budget=None):
        Reader.noted.append(folders)
        Reader.imported_before = sorted(sys.modules)
    def stop(self):
        Reader.stopped += 1

_core.FolderReader = Reader

def tell():
    modules = [getattr(each, "__cached__", None) for each in list(sys.modules.values())]
    print(json.dumps({
        "noted": Reader.noted, "stopped": Reader.stopped, "before": getattr(Reader, "imported_before", None),
        "imported": [each for each in modules if isinstance(each, str)],
    }))
"""
LOAD = "warpload.DiffusionPipeline.from_pretrained(sys.argv[1]); tell()"


def told(code: str, *arguments: object) -> dict[str, Any]:
    """Return what the core was asked for in a process of its own."""
    found: dict[str, Any] = json.loads(run_python(NOTED + code, *arguments).stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def folder(saved: Saved) -> Path:
    return saved("stable-diffusion-xl")


@pytest.fixture(scope="module")
def load(folder: Path) -> dict[str, Any]:
    return told(LOAD, folder)


def test_a_load_asks_for_most_of_what_it_imports(load: dict[str, Any]) -> None:
    (asked,) = load["noted"]
    folders = {path for path, ending, below in asked if ending.endswith(".pyc") and below is None}
    root = next(path for path, _, below in asked if below == ".dist-info")
    packages = tuple({os.path.join(root, entry.partition("/")[0], "") for entry in FOLDERS if "*" not in entry})
    imported = [each for each in load["imported"] if each.startswith(packages)]

    found = [each for each in imported if os.path.dirname(each) in folders]

    assert len(imported) > 500
    assert len(found) > 0.6 * len(imported)


def test_what_is_asked_for_is_there_but_for_what_another_version_has(load: dict[str, Any]) -> None:
    (asked,) = load["noted"]

    there = [path for path, _, _ in asked if os.path.isdir(path)]

    assert len(there) > 0.8 * len(asked)


def test_a_load_asks_for_the_libraries_that_torch_is_made_of(load: dict[str, Any]) -> None:
    (asked,) = load["noted"]

    for path, ending, below in asked:
        if path.endswith("torch/lib"):
            assert below is None
            assert [each for each in os.listdir(path) if each.endswith(ending)] == [ending]
    assert asked[0][1] == "libtorch_cpu.so"


def test_a_load_asks_for_the_files_that_transformers_scans(load: dict[str, Any]) -> None:
    (asked,) = load["noted"]
    ((models, ending, below),) = [each for each in asked if each[0].endswith("transformers/models")]

    assert (ending, below) == (".py", "")
    assert (Path(models) / "clip" / "configuration_clip.py").is_file()


def test_it_begins_before_anything_of_it_is_imported_and_ends_with_the_load(load: dict[str, Any]) -> None:
    assert {"torch", "diffusers", "transformers", "numpy"}.isdisjoint(load["before"])
    assert load["stopped"] == 1


def test_it_begins_once(folder: Path) -> None:
    assert len(told(f"warpload.prefetch(sys.argv[1]).wait(60); {LOAD}", folder)["noted"]) == 1


@pytest.mark.parametrize("use", ["AutoencoderKL.from_pretrained", "EulerDiscreteScheduler()"])
def test_it_begins_with_whatever_has_diffusers_imported(use: str) -> None:
    assert len(told(f"warpload.{use}; tell()")["noted"]) == 1


def test_what_is_mapped_already_is_not_asked_for(folder: Path) -> None:
    (asked,) = told(f"import torch; {LOAD}", folder)["noted"]

    assert not any(path.endswith("torch/lib") for path, _, _ in asked)


def test_nothing_is_asked_for_where_the_libraries_are_imported(folder: Path) -> None:
    assert told(f"import diffusers; {LOAD}", folder)["noted"] == []


@pytest.mark.parametrize("how", ["variable", "block"])
def test_nothing_is_asked_for_where_it_is_switched_off(how: str, folder: Path) -> None:
    by = {
        "variable": "os.environ['WARPLOAD_IMPORTS_AHEAD'] = 'off'",
        "block": "warpload.LoadOptions(imports_ahead=False).__enter__()",
    }

    assert told(f"{by[how]}; {LOAD}", folder)["noted"] == []


def test_nothing_is_asked_for_by_the_import_of_the_package() -> None:
    assert told("from warpload import DiffusionPipeline; tell()")["noted"] == []


def test_a_prefetch_of_a_pipeline_begins_it(folder: Path) -> None:
    assert len(told("warpload.prefetch(sys.argv[1]).wait(60); tell()", folder)["noted"]) == 1


def test_a_prefetch_of_a_file_does_not(folder: Path) -> None:
    file = next(folder.glob("unet/*.safetensors"))

    assert told("assert warpload.prefetch(sys.argv[1]).wait(60); tell()", file)["noted"] == []


def test_a_prefetch_that_is_told_not_to_does_not(folder: Path) -> None:
    code = "warpload.prefetch(sys.argv[1], options=warpload.LoadOptions(imports_ahead=False)).wait(60); tell()"

    assert told(code, folder)["noted"] == []


# -- what is asked for ------------------------------------------------------------------------------------------------


def test_packages_are_looked_for_where_an_import_looks(tmp_path: Path) -> None:
    for root, package in (("a", "torch"), ("b", "torch"), ("b", "diffusers")):
        (tmp_path / root / package).mkdir(parents=True)

    asked = list(imports_ahead.requests([str(tmp_path / "missing"), str(tmp_path / "a"), str(tmp_path / "b")]))

    assert {path for path, _, _ in asked if path.startswith(str(tmp_path / "b" / "torch"))} == set()
    assert str(tmp_path / "a" / "torch" / "nn" / "__pycache__") in {path for path, _, _ in asked}
    assert str(tmp_path / "b" / "diffusers" / "__pycache__") in {path for path, _, _ in asked}


def test_where_nothing_is_installed_nothing_is_asked_for(tmp_path: Path) -> None:
    assert list(imports_ahead.requests([str(tmp_path)])) == []


def test_compiled_code_is_looked_for_where_python_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib" / "diffusers").mkdir(parents=True)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "compiled"))

    asked = {path for path, _, _ in imports_ahead.requests([str(tmp_path / "lib")])}

    assert f"{tmp_path}/compiled{tmp_path}/lib/diffusers" in asked
    assert not any("__pycache__" in path for path in asked)


def test_the_compiled_code_is_that_of_this_python(load: dict[str, Any]) -> None:
    (asked,) = load["noted"]
    code = "import importlib.util; print(importlib.util.cache_from_source('x.py').rpartition('x')[2])"

    assert {ending for _, ending, _ in asked if ending.endswith(".pyc")} == {run_python(code).stdout.strip()}


# -- nobody notices ---------------------------------------------------------------------------------------------------


def test_files_are_read_and_counted(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.pyc").write_bytes(bytes(1000))

    reader = _core.FolderReader([(tmp_path, ".pyc", None), (tmp_path / "missing", "", "")], most_of_file=500)
    reader.join()

    assert reader.done
    assert 1 <= reader.files <= 4  # one is a sample; the others are read where that had to be waited for
    assert reader.bytes == 500 * reader.files


MANY = """
import os, sys
from pathlib import Path
from warpload.stock import imports_ahead
for number in range(300):
    folder = Path(sys.argv[1], str(number)); folder.mkdir(exist_ok=True)
    (folder / "x").write_bytes(bytes(100_000))
    with (folder / "x").open() as file:
        os.fsync(file.fileno()); os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
imports_ahead.requests = lambda path: [(os.path.join(sys.argv[1], str(number)), "", None) for number in range(300)]
imports_ahead.begin()
(reader,) = imports_ahead._begun
"""


def test_a_process_ends_while_files_are_read(tmp_path: Path) -> None:
    run_python(MANY + "print(reader.done)", tmp_path)


def test_a_child_by_fork_ends_and_may_begin_anew(tmp_path: Path) -> None:
    code = """
child = os.fork()
if child == 0:
    assert imports_ahead._begun == []
    imports_ahead.begin()
    (own,) = imports_ahead._begun
    own.join()
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
reader.join()
"""
    run_python(MANY + code, tmp_path)


def test_a_load_gives_the_same_with_and_without(folder: Path) -> None:
    code = """
import sys, warpload
from warpload.measuring.digest import pipeline_digest
with warpload.LoadOptions(imports_ahead=sys.argv[2] == "on"):
    pipeline = warpload.DiffusionPipeline.from_pretrained(sys.argv[1])
digest = pipeline_digest(pipeline)
print(digest.classes, digest.tensors)
"""
    assert run_python(code, folder, "on").stdout == run_python(code, folder, "off").stdout
