"""Installs what the kit brings: wheels of what is missing here, warpload's own, and the prebuilt programs.

Nothing of the machine is changed: packages go to a folder of their own, and what is installed already stays. What was
prebuilt and does not run here is built from the tree instead, and a line of the journal says so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import kit, manifest
from .journal import Journal
from .place import ROOT, Place

_OVERLAID = "safetensors"


class InstallError(RuntimeError):
    """Neither the prebuilt part nor the one that was built here runs."""


def install(journal: Journal, place: Place) -> None:
    """Install everything; may be called again on a machine that has it."""
    place.work.mkdir(parents=True, exist_ok=True)
    found = manifest.check(place.kit, ROOT)
    journal.add("fact", name="kit", **found)
    if found["damaged"]:
        print(f"damaged in the kit: {', '.join(found['damaged'])}")
    if not found["made_from_this_tree"]:
        print("THE KIT WAS MADE FROM ANOTHER TREE: what is measured is the kit's; make it anew")
    wheels = [wheel for wheel in sorted(place.kit.glob("wheels/*.whl")) if not wheel.name.startswith("warpload-")]
    _install_wheels(journal, place, wheels)
    kernels = kit.kernel_options(found["cuda_architectures"])
    _install_warpload(journal, place, kernels)
    _install_programs(journal, place, kernels)


def _install_wheels(journal: Journal, place: Place, wheels: Sequence[Path]) -> None:
    missing = []
    for wheel in wheels:
        name, offered = wheel.name.split("-")[:2]
        present = _version_of(name)
        if present is None:
            missing.append(wheel)
            continue
        how = f"{present} is there"
        if name == _OVERLAID and present != offered:
            _pip(place.overlay, [wheel])
            how += f", {offered} beside it for its own contender"
        journal.add("fact", name="package", package=name, version=present, how=how)
    if not missing:
        return
    try:
        _pip(place.site, missing)
        failed: dict[str, str] = {}
    except subprocess.CalledProcessError:
        failed = _one_by_one(place, missing)
    for wheel in missing:
        name, offered = wheel.name.split("-")[:2]
        how = failed.get(wheel.name, "from the kit")
        journal.add("fact", name="package", package=name, version=offered, how=how)
        print(f"{name} {offered}: {how}")


def _one_by_one(place: Place, wheels: Sequence[Path]) -> dict[str, str]:
    """Install what can be installed: one contender that cannot be must not keep the others out."""
    failed = {}
    for wheel in wheels:
        try:
            _pip(place.site, [wheel])
        except subprocess.CalledProcessError as error:
            failed[wheel.name] = f"not installed: {(error.stderr or '').strip()[-300:]}"
    return failed


def _install_warpload(journal: Journal, place: Place, kernels: Sequence[str]) -> None:
    wheels = sorted(place.kit.glob("wheels/warpload-*.whl"))
    try:
        if not wheels:
            raise InstallError("the kit has no wheel of warpload")
        _pip(place.site, wheels[-1:])
        _try_warpload(place)
    except (InstallError, subprocess.CalledProcessError) as error:
        journal.add("fallback", what="warpload", reason=_reason(error))
        print(f"warpload is built here, as the kit's does not run: {_reason(error)}")
        _clear(place.site, "warpload*")
        options = ["--no-build-isolation", f"--config-settings=build-dir={place.work / 'wheel'}"]
        options += [f"--config-settings=cmake.define.{option.removeprefix('-D')}" for option in kernels]
        _pip(place.site, [ROOT], *options)
        _try_warpload(place)


def _try_warpload(place: Place) -> None:
    code = "import warpload._core, warpload; print('warpload', warpload.__version__, warpload.__file__)"
    result = _run([sys.executable, "-c", code], place, cwd=place.work)
    print(result.stdout.strip())
    if str(place.site) not in result.stdout:
        raise InstallError(f"another warpload is found first: {result.stdout.strip()}")


def _install_programs(journal: Journal, place: Place, kernels: Sequence[str]) -> None:
    shutil.rmtree(place.built_programs, ignore_errors=True)
    try:
        _try_programs(place)
    except (InstallError, OSError, subprocess.SubprocessError) as error:
        journal.add("fallback", what="programs", reason=_reason(error))
        print(f"the programs are built here, as the kit's do not run: {_reason(error)}", flush=True)
        _build_programs(place, kernels)
        _try_programs(place)


def _try_programs(place: Place) -> None:
    if not (place.programs / "CTestTestfile.cmake").is_file():
        raise InstallError(f"{place.programs} has no CTestTestfile.cmake")
    for program in sorted(place.programs.glob("*_test")):
        _run([str(program), "--gtest_list_tests"], place)


def _build_programs(place: Place, kernels: Sequence[str]) -> None:
    """Build the programs from the tree and lay them out as a kit has them."""
    build = place.work / "cpp"
    prefix = kit.unpack_googletest(place.kit, place.work / "googletest")
    options = [f"-DCMAKE_PREFIX_PATH={prefix}", "-DFETCHCONTENT_FULLY_DISCONNECTED=ON", *kernels]
    kit.build_programs(build, options, place.environment())
    kit.lay_out_programs(build, place.built_programs, place.environment())


def _pip(target: Path, sources: Sequence[Path], *options: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-compile", "--no-cache-dir", "--upgrade", "--target", str(target), *options]
    subprocess.run([*command, *map(str, sources)], check=True, stderr=subprocess.PIPE, text=True)


def _clear(folder: Path, pattern: str) -> None:
    for path in folder.glob(pattern):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _run(command: Sequence[str], place: Place, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, env=place.environment(), cwd=cwd
    )


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _reason(error: Exception) -> str:
    details = getattr(error, "stderr", None)
    return f"{error}{': ' + details.strip()[-500:] if details else ''}"
