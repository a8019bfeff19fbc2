"""What `warpload bench` is made of: the table of contenders, single loads, the files that grow, memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.pipelines import Saved
from support.processes import memory_taken
from warpload.bench.growth_files import TINY_SIZES, write_growth_files
from warpload.measuring import weights
from warpload.measuring.contenders import CONTENDERS, FILES, FLOOR, PIPELINE
from warpload.measuring.fresh_process import ContenderError
from warpload.measuring.growing_pipeline import growing_pipeline
from warpload.measuring.loaders import FILE_LOADERS
from warpload.measuring.results import AXES
from warpload.measuring.runs import Conditions, Request, run_contender

ROOT = Path(__file__).resolve().parents[2]


# The table of contenders


def test_every_contender_of_files_has_functions_and_own_formats_can_be_written() -> None:
    of_files = {name for name, it in CONTENDERS.items() if FILES in it.kinds} - {FLOOR}
    assert FILE_LOADERS.keys() == of_files
    assert {name for name, it in FILE_LOADERS.items() if it.convert} == {n for n in CONTENDERS if CONTENDERS[n].suffix}


def test_what_is_installed_for_the_benchmark_are_contenders_of_the_table_that_say_their_requirement() -> None:
    lines = (ROOT / "benchmarks" / "contenders.txt").read_text(encoding="utf-8").splitlines()
    installed = {line.split()[0]: line.split()[1] for line in lines if not line.startswith("#")}
    required = {name: it.requirement for name, it in CONTENDERS.items() if it.requirement}
    assert installed.keys() == required.keys()
    for name, requirement in required.items():
        assert installed[name].split("==")[0] == requirement.split(">=")[0]


def test_both_lists_of_packages_have_one_version_of_each_contender() -> None:
    kit = (ROOT / "benchmarks" / "gpu" / "kit-packages.txt").read_text(encoding="utf-8").splitlines()
    here = (ROOT / "benchmarks" / "contenders.txt").read_text(encoding="utf-8").split()
    pins = dict(line.split("==") for line in kit if "==" in line)
    shared = {name: pin for name, _, pin in (word.partition("==") for word in here if "==" in word) if name in pins}
    assert {"safetensors", "fastsafetensors", "runai-model-streamer", "instanttensor"} <= shared.keys()
    assert shared == {name: pins[name] for name in shared}


def test_the_gpu_suite_loads_by_the_same_functions() -> None:
    from benchmarks.gpu.loaders import LOADERS

    for name in ("fastsafetensors", "instanttensor", "runai-streamer"):
        assert LOADERS[name].distributions[0] in CONTENDERS[name].distributions


# Single loads


def test_a_watched_load_tells_its_memory_and_one_that_is_timed_does_not(saved: Saved) -> None:
    with Conditions(saved("ddpm")) as conditions:
        watched, timed = (
            run_contender(Request("safetensors", "bfloat16", "files", memory=memory), conditions)
            for memory in (True, False)
        )
    assert watched.anonymous_bytes is not None
    assert watched.anonymous_bytes > 0  # the cast tensors
    assert timed.anonymous_bytes is None


def test_a_load_that_does_not_end_is_killed_and_reported(saved: Saved) -> None:
    with Conditions(saved("ddpm")) as conditions, pytest.raises(ContenderError) as error:
        run_contender(Request("safetensors", "none", "files", limit=0.01), conditions)
    assert error.value.reason == "it did not end within 0.01 s and was killed"


# Files and memory


def test_the_files_of_a_component_are_those_that_stock_loads_by_default(tmp_path: Path) -> None:
    for name in ("unet/model.safetensors", "unet/model.fp16.safetensors", "vae/a-00001-of-00002.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "vae" / "a-00002-of-00002.safetensors").touch()
    (tmp_path / "vae" / "a-old.fp16.safetensors").touch()
    index = {"weight_map": {"x": "a-00002-of-00002.safetensors", "y": "a-00001-of-00002.safetensors"}}
    (tmp_path / "vae" / "a.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    (tmp_path / "scheduler").mkdir()

    assert weights.component_files(tmp_path) == {
        "unet": [tmp_path / "unet" / "model.safetensors"],
        "vae": [tmp_path / "vae" / f"a-0000{number}-of-00002.safetensors" for number in (1, 2)],
    }


def test_growing_files_have_what_their_points_say(tmp_path: Path) -> None:
    from safetensors import safe_open

    for point in write_growth_files(tmp_path, TINY_SIZES, tuple(AXES)):
        components = weights.component_files(point.folder)
        files = [file for found in components.values() for file in found]
        tensors = 0
        for file in files:
            with safe_open(file, framework="pt") as opened:
                tensors += len(opened.keys())
        found = {
            "bytes": sum(sum(weights.bytes_by_dtype(file).values()) for file in files) / 1e9,
            "tensors": tensors,
            "shards": len(files),
            "components": len(components),
        }
        assert found[point.axis] == point.amount


def test_a_growing_pipeline_is_loaded_by_the_core_and_equal_to_stocks(tmp_path: Path) -> None:
    import torch

    import warpload

    *_, point = write_growth_files(tmp_path, TINY_SIZES, ("components",))
    assert point.kind == PIPELINE
    pipeline_class = growing_pipeline(2)
    expected = pipeline_class.from_pretrained(point.folder)
    with warpload.accelerated():
        actual = pipeline_class.from_pretrained(point.folder)

    assert warpload.last_report().components == {"model_0": "native", "model_1": "native"}
    for name, model in expected.components.items():
        own = actual.components[name].state_dict()
        assert all(torch.equal(tensor, own[key]) for key, tensor in model.state_dict().items())


def test_memory_of_mapped_files_is_the_page_caches_and_copies_are_the_processs_own(tmp_path: Path) -> None:
    size = 64 << 20
    file = tmp_path / "file"
    file.write_bytes(bytes(size))
    program = (
        "import mmap, sys, time\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        f"with open({str(file)!r}, 'rb') as f:\n"
        "    mapped = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n"
        "    total = sum(mapped[::4096]) if sys.argv[1] == 'map' else len(bytearray(f.read()))\n"
        "print('done', flush=True); sys.stdin.readline()\n"
    )
    grown = {how: memory_taken(program, how)[0] for how in ("map", "copy")}
    assert grown["map"] < size // 2
    assert grown["copy"] >= size
