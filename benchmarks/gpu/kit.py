"""Makes the kit: all that a machine with a GPU and without a network needs, small enough to be carried there.

`make gpu-kit` calls it: python -m benchmarks.gpu.kit build/gpu-kit --python python3.12

wheels/         warpload, with kernels for one kind of GPU; packages that such a machine lacks; GoogleTest as .deb
programs/       the C++ tests that have cases on a GPU, the fake driver, the benchmarks' programs, CTestTestfile.cmake
manifest.json   versions, hashes, the commit
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from . import manifest
from .place import ROOT

MOST_BYTES = 60 << 20
_TEST_PROGRAMS = "warpload_gpu_tests"  # the target of all that have cases on a GPU
_FAKE_DRIVER = "libfake_cuda.so"
BENCHMARK_PROGRAMS = ("warpload_disk_ceiling", "warpload_modelled_link")
_OTHER_PACKAGES = Path(__file__).with_name("kit-packages.txt")
# pip matches the number of a manylinux tag exactly, so all that a machine of the last years accepts are named.
_PLATFORMS = ("manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64",
              *(f"manylinux_2_{minor}_x86_64" for minor in range(17, 37)))  # fmt: skip
_TIMEOUT = 60  # seconds for one case of a test


def main(
    kit: Annotated[Path, typer.Argument(help="Folder of the kit; what is in it is replaced.")],
    python: Annotated[str, typer.Option(help="A Python of the version that the machine has.")] = "python3.12",
    architectures: Annotated[str, typer.Option(help="Compute capability of the GPU, such as 90.")] = "90",
    build: Annotated[Path, typer.Option(help="Where to build; stays, and makes the next kit faster.")] = Path(
        "build/gpu-kit-build"
    ),
) -> None:
    """Build everything and put it together."""
    tools = _tools(python, build / "environment")
    shutil.rmtree(kit, ignore_errors=True)
    wheels = kit / "wheels"
    wheels.mkdir(parents=True)
    tag = subprocess.run([tools, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], check=True,
                         capture_output=True, text=True).stdout.strip()  # fmt: skip
    kernels = kernel_options(architectures)
    _build_wheel(tools, build.absolute() / "wheel", kernels, wheels)
    _download(tools, tag, wheels)
    build_programs(build.absolute() / "programs", kernels, _with_programs_of(tools))
    lay_out_programs(build / "programs", kit / "programs", _with_programs_of(tools))
    content = manifest.make(kit, ROOT, _versions(wheels, tag, architectures))
    mebibytes = content["bytes"] / 2**20
    print(f"{kit}: {mebibytes:.1f} MiB in {len(content['files'])} files, of commit {content['commit'][:12]}")
    if content["bytes"] > MOST_BYTES:
        sys.exit(
            f"error: the kit has more than {MOST_BYTES >> 20} MiB, which is what can be carried; leave a wheel out"
        )


def kernel_options(architectures: str) -> list[str]:
    """Return CMake's options for kernels of one kind of GPU."""
    return [f"-DWARPLOAD_CUDA_ARCHITECTURES={architectures}", "-DWARPLOAD_CUDA_KERNELS=ON"]


def _tools(python: str, environment: Path) -> Path:
    """Make an environment of that Python with what the builds need; returns its interpreter."""
    interpreter = environment.absolute() / "bin" / "python"
    try:  # a name on the PATH may be no more than a version manager's: it is asked
        subprocess.run([python, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"error: {python} does not run; name a Python of the machine's version: make gpu-kit KIT_PYTHON=PATH")
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", str(environment)], check=True)
    needed = ["scikit-build-core>=0.11", "pybind11>=2.13", "nlohmann-json>=3.11", "cmake>=3.22", "ninja", "pip"]
    subprocess.run([*_pip(interpreter, "install"), *needed], check=True)
    return interpreter


def _pip(interpreter: Path, verb: str) -> list[str]:
    return [str(interpreter), "-m", "pip", "--disable-pip-version-check", verb, "--quiet"]


def _with_programs_of(interpreter: Path) -> dict[str, str]:
    return {**os.environ, "PATH": os.pathsep.join([str(interpreter.parent), os.environ.get("PATH", "")])}


def _build_wheel(interpreter: Path, build: Path, kernels: Sequence[str], wheels: Path) -> None:
    settings = [f"--config-settings=cmake.define.{option.removeprefix('-D')}" for option in kernels]
    settings.append(f"--config-settings=build-dir={build}")
    command = [*_pip(interpreter, "wheel"), "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels)]
    subprocess.run([*command, *settings, str(ROOT)], check=True, env=_with_programs_of(interpreter))


def _download(interpreter: Path, tag: str, wheels: Path) -> None:
    """Get the packages that the machine lacks, and GoogleTest where this is Debian or the like."""
    command = [*_pip(interpreter, "download"), "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", tag, "--dest", str(wheels), "--requirement", str(_OTHER_PACKAGES)]
    subprocess.run([*command, *(word for name in _PLATFORMS for word in ("--platform", name))], check=True)
    if shutil.which("apt-get"):
        result = subprocess.run(["apt-get", "download", "--quiet", "libgtest-dev"], cwd=wheels, check=False)
        if result.returncode == 0:
            return
    print("GoogleTest's package cannot be had here, so the kit cannot build the tests there if they do not run")


def unpack_googletest(kit: Path, target: Path) -> str:
    """Unpack GoogleTest's Debian package; returns CMAKE_PREFIX_PATH for it, which is empty where the kit has none."""
    packages = sorted(kit.glob("wheels/libgtest-dev_*.deb"))
    if not packages:
        return ""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-x", str(packages[-1]), str(target)], check=True)
    (config,) = target.rglob("GTestConfig.cmake")
    return f"{target / 'usr'};{config.parent}"


def build_programs(build: Path, options: Sequence[str], environment: Mapping[str, str]) -> None:
    """Build the programs of a kit; the benchmarks' where this tree has them."""
    python = shutil.which("python3", path=environment["PATH"]) or sys.executable
    configure = ["cmake", "-S", str(ROOT), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"]
    configure += ["-DWARPLOAD_PYTHON=OFF", "-DWARPLOAD_TESTS=ON", "-DWARPLOAD_GPU_TESTS=ON", "-DWARPLOAD_BENCHMARKS=ON"]
    configure += [f"-DPython_EXECUTABLE={python}", "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON"]
    # Beside the program in a kit; in the build tree, where cases are listed, in the fake's own folder.
    configure += ["-DCMAKE_INSTALL_RPATH=$ORIGIN;$ORIGIN/../fakes;$ORIGIN/../tests/fakes"]
    with (build.parent / f"{build.name}.log").open("w", encoding="utf-8") as log:
        run = {"check": True, "env": environment, "stdout": log, "stderr": subprocess.STDOUT}
        subprocess.run([*configure, *options], **run)  # type: ignore[call-overload]
        known = _targets(build, environment)
        targets = [_TEST_PROGRAMS, *(name for name in BENCHMARK_PROGRAMS if name in known)]
        subprocess.run(["cmake", "--build", str(build), "--target", *targets], **run)  # type: ignore[call-overload]


def _targets(build: Path, environment: Mapping[str, str]) -> set[str]:
    command = ["cmake", "--build", str(build), "--target", "help"]
    result = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return {line.partition(":")[0] for line in result.stdout.splitlines()}


def lay_out_programs(build: Path, target: Path, environment: Mapping[str, str]) -> None:
    """Copy the programs into one folder, without symbols, with the list of their cases for ctest."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    tests = _gpu_tests(build, environment)
    for name in (*sorted({test["program"] for test in tests}), _FAKE_DRIVER, *BENCHMARK_PROGRAMS):
        found = [path for path in build.rglob(name) if path.is_file()]
        if not found:
            print(f"{name} is not built from this tree")
            continue
        shutil.copy2(found[0], target / name)
        subprocess.run(["strip", str(target / name)], check=True)
    (target / "CTestTestfile.cmake").write_text(_test_list(tests), encoding="utf-8")


def _gpu_tests(build: Path, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what the build tree's ctest knows of the programs that have cases on a GPU, their other cases too."""
    command = ["ctest", "--test-dir", str(build), "--show-only=json-v1"]
    result = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    tests = []
    for test in json.loads(result.stdout)["tests"]:
        program, *arguments = test.get("command", [""])
        labels = next((entry["value"] for entry in test["properties"] if entry["name"] == "LABELS"), [])
        tests.append({"name": test["name"], "program": Path(program).name, "arguments": arguments, "labels": labels})
    chosen = {test["program"] for test in tests if "gpu" in test["labels"]}
    return [test for test in tests if test["program"] in chosen]


def _test_list(tests: Sequence[dict[str, Any]]) -> str:
    """Return CTestTestfile.cmake, with relative paths."""
    lines = ["# Written by benchmarks/gpu/kit.py; the programs are beside it."]
    for test in tests:
        name = _quoted(test["name"])
        words = " ".join(_quoted(word) for word in test["arguments"])
        labels = _quoted(";".join(test["labels"]))
        lines.append(f'add_test({name} "${{CMAKE_CURRENT_LIST_DIR}}/{test["program"]}" {words})')
        lines.append(f"set_tests_properties({name} PROPERTIES TIMEOUT {_TIMEOUT} LABELS {labels})")
    return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _versions(wheels: Path, tag: str, architectures: str) -> dict[str, Any]:
    def first_line(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]

    return {
        "python": tag,
        "cuda_architectures": architectures,
        "built_on": {
            "machine": platform.machine(),
            "libc": " ".join(platform.libc_ver()),
            "g++": first_line("g++", "--version"),
        },
        "wheels": dict(wheel.name.split("-")[:2] for wheel in sorted(wheels.glob("*.whl"))),
    }


if __name__ == "__main__":
    typer.run(main)
