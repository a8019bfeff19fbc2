"""`warpload doctor`: what it finds of libraries, the machine, the driver and a place, and what it advises."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from support import checkpoints, commands
from support.pipelines import Saved
from support.processes import run_python
from warpload import _core, mounts
from warpload.doctoring import gpu, libraries, limits, place, system
from warpload.doctoring.finding import Finding, Section
from warpload.doctoring.limits import Limits
from warpload.measuring import page_cache

RATES = Limits(first_touch=1e9, copy=4e9, disk=0.5e9)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing measured for long."""
    monkeypatch.setattr(limits, "_SECONDS", 0.01)
    monkeypatch.setattr(limits, "_MEMORY", 32 << 20)


def doctor(*arguments: object) -> Result:
    return commands.run("doctor", *arguments)


def found(section: Section, name: str) -> Finding:
    (finding,) = [each for each in section[1] if each.name == name]
    return finding


# -- the command ------------------------------------------------------------------------------------------------------


def test_it_tells_of_each_part_and_of_a_place(saved: Saved) -> None:
    result = doctor(saved("stable-diffusion"))

    text = " ".join(result.output.split())
    assert result.exit_code in (0, 1), result.output
    for title in ("libraries", "machine", "GPU", "limits", str(saved("stable-diffusion"))):
        assert title in text
    assert ("nothing to mend" in text) == (result.exit_code == 0)


def test_as_json_there_is_nothing_else(saved: Saved) -> None:
    told = json.loads(doctor(saved("ddpm"), "--json").stdout)

    assert list(told) == ["libraries", "machine", "GPU", "limits", str(saved("ddpm"))]
    assert all(each.keys() == {"name", "value", "level", "advice"} for findings in told.values() for each in findings)


def test_a_place_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    result = doctor(tmp_path / "missing")

    assert result.exit_code == 2
    assert "there is no such file or folder" in result.output
    assert "Traceback" not in result.output


def test_no_library_is_imported() -> None:
    process = run_python(
        "import sys\n"
        "from warpload.doctoring.examination import examine\n"
        "examine(None)\n"
        "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))\n"
    )

    assert process.stdout.strip() == "[]"


# -- libraries --------------------------------------------------------------------------------------------------------


def test_a_version_that_warpload_does_not_admit_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1.0" if name == "safetensors" else genuine(name))

    finding = found(libraries.examine(), "safetensors")

    assert (finding.value, finding.level) == ("0.1.0", "bad")
    assert "safetensors>=" in finding.advice


def test_installed_versions_are_told_and_what_torch_is_built_for() -> None:
    section = libraries.examine()

    assert found(section, "diffusers") == Finding("diffusers", importlib.metadata.version("diffusers"))
    assert found(section, "torch").value == (
        f"{importlib.metadata.version('torch')}, built for "
        f"{f'CUDA {torch.version.cuda}' if torch.version.cuda else 'the CPU'}"
    )


@pytest.mark.parametrize(("name", "level"), [("torch", "bad"), ("diffusers", "note"), ("peft", None)])
def test_a_library_that_is_missing_is_as_bad_as_what_is_lost(
    name: str, level: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = importlib.metadata.version

    def version(asked: str) -> str:
        if asked == name:
            raise importlib.metadata.PackageNotFoundError(name)
        return genuine(asked)

    monkeypatch.setattr(importlib.metadata, "version", version)

    levels = [each.level for each in libraries.examine()[1] if each.name == name]

    assert levels == ([] if level is None else [level])


# -- the machine ------------------------------------------------------------------------------------------------------


def test_a_containers_quota_and_limit_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("8000000000\n")
    monkeypatch.setattr(system, "_CONTROL_GROUP", tmp_path)

    section = system.examine()

    assert "a quota allows 0.5" in found(section, "cores").value
    assert "WARPLOAD_THREADS=1" in found(section, "cores").advice
    assert "8.00 GB" in found(section, "memory").value


@pytest.mark.parametrize(
    ("text", "level"), [("always [madvise] never", "good"), ("always madvise [never]", "bad"), ("", "good")]
)
def test_huge_pages_that_are_refused_are_bad(
    text: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "enabled").write_text(text)
    monkeypatch.setattr(system, "_HUGE_PAGES", tmp_path / "enabled")

    assert found(system.examine(), "huge pages").level == level


def test_little_memory_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "available_memory", lambda: 100 << 20)

    assert found(system.examine(), "memory").level == "bad"


# -- the GPU ----------------------------------------------------------------------------------------------------------


class Driver:
    """Answers as a driver with two devices does, or fails to begin."""

    def __init__(self, code: int = 0) -> None:
        self.code = code

    def cuInit(self, flags: int) -> int:  # noqa: N802 - the driver's name
        return self.code

    def __getattr__(self, name: str) -> Any:
        answers = {"cuDriverGetVersion": 12080, "cuDeviceGetCount": 2, "cuDeviceTotalMem_v2": 80_000_000_000}

        def call(*arguments: Any) -> int:
            if name == "cuDeviceGetName":
                arguments[0].value = b"A card"
            elif name in answers:
                arguments[0]._obj.value = answers[name]
            return 0

        return call


def test_devices_are_told_by_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())

    section = gpu.examine()

    assert found(section, "driver").value == "for CUDA 12.8"
    assert [found(section, f"cuda:{ordinal}").value for ordinal in (0, 1)] == ["A card, 80.0 GB"] * 2


def test_a_driver_that_does_not_begin_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver(999))

    assert found(gpu.examine(), "driver") == Finding(
        "driver", "cuInit fails with 999", "bad", found(gpu.examine(), "driver").advice
    )


@pytest.mark.parametrize(("build", "level"), [("built for CUDA 12.8", "note"), ("built for the CPU", "good")])
def test_without_a_driver_it_depends_on_torch_whether_one_is_missed(
    build: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_library(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    monkeypatch.setattr(libraries, "torch_build", lambda: build)

    assert found(gpu.examine(), "driver").level == level


# -- a place ----------------------------------------------------------------------------------------------------------


def test_the_weights_of_a_place_are_all_its_safetensors(saved: Saved) -> None:
    folder = saved("stable-diffusion")
    expected = sorted(folder.rglob("*.safetensors"))

    assert place.weight_files(folder) == expected
    assert place.weight_files(folder / "unet") == sorted((folder / "unet").glob("*.safetensors"))
    assert place.weight_files(expected[0]) == [expected[0]]


def test_the_file_system_is_the_innermost_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["disk / ext4 rw 0 0", f"server:/x {tmp_path}/far nfs4 rw 0 0", f"other {tmp_path}/farther tmpfs rw 0 0"]
    (tmp_path / "mounts").write_text("\n".join(lines))
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "mounts")
    (tmp_path / "far").mkdir()

    assert mounts.file_system(tmp_path / "far") == ("nfs4", f"{tmp_path}/far")
    assert mounts.file_system(tmp_path) == ("ext4", "/")


def test_cold_files_take_as_long_as_the_disk_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.safetensors"
    checkpoints.save_file({"a": torch.zeros(1_000_000)}, file)
    pages = file.stat().st_size // 4096
    monkeypatch.setattr(page_cache, "cache_state", lambda files: page_cache.CacheState(0, pages))

    section = place.examine(tmp_path, [file], RATES)

    assert found(section, "page cache").level == "note"
    assert "prefetch" in found(section, "page cache").advice
    assert found(section, "load without a cast").value.startswith("about 308 ms")  # 4 MB at 0.5 GB/s


def test_warm_files_take_what_building_takes_and_a_cast_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.safetensors"
    checkpoints.save_file({"a": torch.zeros(1_000_000)}, file)
    monkeypatch.setattr(page_cache, "cache_state", lambda files: page_cache.CacheState(9, 9))

    section = place.examine(tmp_path, [file], RATES)

    assert found(section, "page cache") == Finding("page cache", "all of it is in memory")
    assert found(section, "load without a cast").value.startswith("about 300 ms")
    assert found(section, "load with a cast").value.startswith("about 304 ms")


def test_a_place_without_weights_is_bad(tmp_path: Path) -> None:
    assert found(place.examine(tmp_path, [], RATES), "weights").level == "bad"


# -- limits -----------------------------------------------------------------------------------------------------------


def test_limits_are_measured_as_far_as_they_can_be(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(32 << 20))

    measured, without_files = limits.measure([file]), limits.measure([])

    assert measured.first_touch is not None
    assert measured.copy is not None
    assert min(measured.first_touch, measured.copy) > 0
    assert measured.disk is None or measured.disk > 0
    assert without_files.disk is None


def test_without_memory_to_spare_none_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "available_memory", lambda: 1 << 20)

    assert limits.measure([]) == Limits(None, None, None)
