#!/usr/bin/env bash
# Builds, tests and measures warpload on a machine with a GPU, torch and nvcc; needs no network.
#
#   benchmarks/gpu_suite.sh [build|tests|benchmarks|all] OUTPUT_FOLDER
#
# build       the package, the C++ tests and the programs of the benchmarks
# tests       build; then ctest -L gpu, pytest -m gpu, and compute-sanitizer where the machine has it
# benchmarks  build, without the tests; then python -m benchmarks.gpu
# all         tests, then benchmarks; the default
#
# One JSON file, named after the GPU, and one log go to the folder; what is in them stays, and is replaced or added to.
# The exit status is not 0 when something failed, and when a test on the GPU did not run: on such a machine there is no
# reason to skip one. Bars that are missed are figures, no failures.
#
# Environment:
#   WARPLOAD_WHEELS       folder of wheels, for packages that are missing here, and of GoogleTest's .deb; see README.md
#   WARPLOAD_BUILD        where to build (build/gpu)
#   WARPLOAD_GPU_MODELS   where the pipelines of the benchmarks are or go, and stay (models in the build folder)
#   WARPLOAD_GPU_SECONDS  what the stages tests and benchmarks may take each, the build included (570)
#   WARPLOAD_GPU_OPTIONS  further options for python -m benchmarks.gpu, such as "--pipeline large --runs 3"
#   PYTHON                the interpreter that has torch (python3)
set -euo pipefail

usage() {
  sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed -e '/^set/d' -e 's/^# \{0,1\}//' -e '1s/^/usage: /' >&2
  exit 2
}

say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

fail() {
  printf 'gpu_suite: %s\n' "$*" >&2
  exit 1
}

# Seconds of the stage that are left, but no fewer than the argument.
seconds_left() {
  local left=$((began + limit - SECONDS))
  echo $((left > $1 ? left : $1))
}

# ---- what the machine has -------------------------------------------------------------------------------------------

check_machine() {
  say "machine"
  command -v "$python" >/dev/null || fail "there is no $python; name the interpreter that has torch in PYTHON"
  # Where pip puts programs, such as cmake and ninja, and where NVIDIA puts its own.
  PATH=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$PATH:/usr/local/cuda/bin
  "$python" -c 'import torch' || fail "$python has no torch"
  command -v nvcc >/dev/null || fail "there is no nvcc on the PATH"
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || fail "nvidia-smi finds no GPU"
  "$python" -c '
import sys, torch
assert torch.cuda.is_available(), "torch sees no GPU"
print("python", sys.version.split()[0], "torch", torch.__version__, torch.cuda.get_device_name())
from importlib.metadata import PackageNotFoundError, version
for name in ("accelerate", "diffusers", "huggingface_hub", "safetensors", "transformers"):
    try:
        print(name, version(name))
    except PackageNotFoundError:
        print(name, "is missing")'
  nvcc --version | tail -n 2
  free -g | head -n 2
  df -h . | tail -n 1
}

# Prints the version of a package, or nothing.
version_of() {
  "$python" -c '
import importlib.metadata, sys
try:
    print(importlib.metadata.version(sys.argv[1]))
except importlib.metadata.PackageNotFoundError:
    pass' "$1"
}

# Installs from the folder what is missing here; torch is never replaced. A newer safetensors than the installed one
# goes into a folder of its own, which only the contender that needs it sees.
install_wheels() {
  [[ -n ${WARPLOAD_WHEELS:-} ]] || return 0
  [[ -d $WARPLOAD_WHEELS ]] || fail "WARPLOAD_WHEELS is $WARPLOAD_WHEELS, which is no folder"
  say "wheels from $WARPLOAD_WHEELS"
  local pip=("$python" -m pip install --disable-pip-version-check --quiet --no-index --no-deps
    --find-links "$WARPLOAD_WHEELS")
  local names name version
  names=$(find "$WARPLOAD_WHEELS" -maxdepth 1 -name '*.whl' -printf '%f\n' | sed 's/-.*//' | sort -u)
  for name in $names; do
    version=$(version_of "$name")
    if [[ $name == torch ]]; then
      echo "$name $version: never replaced"
    elif [[ $name == safetensors && $version == 0.[0-8].* ]]; then
      rm -rf "$overlay"
      "${pip[@]}" --target "$overlay" 'safetensors>=0.9.0rc0' || continue # there may be an older one only
      echo "$name $version: stays; a newer one is in $overlay"
    elif [[ -n $version ]]; then
      echo "$name $version: is there"
    else
      # A contender that cannot be installed here is left out; a package that the build needs stops the build.
      "${pip[@]}" --pre "$name" || continue
      echo "$name $(version_of "$name"): installed"
    fi
  done
}

# Unpacks GoogleTest from a Debian package into the build folder and prints, for CMake, where it is.
unpack_googletest() {
  local package config
  [[ -n ${WARPLOAD_WHEELS:-} ]] || return 0
  package=$(find "$WARPLOAD_WHEELS" -maxdepth 1 -name 'libgtest-dev_*.deb' | sort | tail -n 1)
  [[ -n $package ]] || return 0
  rm -rf "$build/googletest"
  dpkg-deb -x "$package" "$build/googletest"
  config=$(find "$build/googletest" -name GTestConfig.cmake)
  echo "$build/googletest/usr;$(dirname "$config")"
}

# ---- build ----------------------------------------------------------------------------------------------------------

build_package() {
  say "pip install"
  "$python" -m pip install --disable-pip-version-check --quiet --no-index --no-build-isolation --no-deps \
    --force-reinstall --config-settings=build-dir="$build/wheel" .
  (cd / && "$python" -c 'import warpload; print("warpload", warpload.__version__, warpload.__file__)')
}

# Arguments: further options of CMake.
build_programs() {
  local googletest
  googletest=$(unpack_googletest)
  say "cmake $*"
  cmake -S . -B "$build/cpp" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DWARPLOAD_PYTHON=OFF \
    -DWARPLOAD_BENCHMARKS=ON -DCMAKE_PREFIX_PATH="$googletest" -DFETCHCONTENT_FULLY_DISCONNECTED=ON \
    -DPython_EXECUTABLE="$("$python" -c 'import sys; print(sys.executable)')" "$@"
  cmake --build "$build/cpp" --parallel
}

build_all() {
  build_package
  build_programs -DWARPLOAD_TESTS=ON -DWARPLOAD_GPU_TESTS=ON
}

# ---- tests ----------------------------------------------------------------------------------------------------------

run_ctest() {
  say "ctest -L gpu"
  ctest --test-dir "$build/cpp" -L gpu --no-tests=error --output-on-failure --timeout 300 \
    --output-junit "$build/ctest.xml"
}

# Only the files that have such tests: a bare machine lacks packages that other files need.
run_pytest() {
  say "pytest -m gpu"
  # Interrupted, pytest still writes what it has seen; the figures of the record need that.
  HF_HUB_OFFLINE=1 timeout --signal=INT --kill-after=20 "$(seconds_left 60)" "$python" -m pytest -m gpu -p no:cacheprovider --junitxml="$build/pytest.xml" \
    tests/python/test_device_*.py
}

# The GPU's cases of each C++ test program under memcheck; ctest knows the programs. The tests provoke errors of the
# driver's functions, so those are not reported; sets $sanitizer to what came of it.
run_sanitizer() {
  say "compute-sanitizer"
  if ! command -v compute-sanitizer >/dev/null; then
    echo "this machine has none"
    return 0
  fi
  local programs program status
  programs=$(ctest --test-dir "$build/cpp" -L gpu --show-only=json-v1 | "$python" -c '
import json, sys
tests = json.load(sys.stdin)["tests"]
print("\n".join(sorted({test["command"][0] for test in tests if test.get("command")})))')
  sanitizer=errors
  [[ -n $programs ]] || return 1
  while IFS= read -r program; do
    echo "$program"
    status=0
    timeout "$(seconds_left 30)" compute-sanitizer --tool memcheck --error-exitcode 9 --report-api-errors no \
      "$program" --gtest_filter='*/gpu' --gtest_brief=1 </dev/null || status=$?
    [[ $status -ne 124 ]] || { sanitizer="not finished in time" && return 1; }
    [[ $status -eq 0 ]] || return 1
  done <<<"$programs"
  sanitizer=clean
}

# Every part runs, whatever the others say; the record decides.
run_tests() {
  local failed=()
  sanitizer="not run"
  rm -f "$build/ctest.xml" "$build/pytest.xml"
  run_ctest || failed+=(ctest)
  run_pytest || failed+=(pytest)
  run_sanitizer || failed+=(compute-sanitizer)
  say "results of the tests"
  "$python" -m benchmarks.gpu.record "$output" --ctest "$build/ctest.xml" --pytest "$build/pytest.xml" \
    --sanitizer "$sanitizer" || failed+=("tests that failed or did not run")
  [[ ${#failed[@]} -eq 0 ]] || fail "failed: $(IFS=, && echo "${failed[*]}")"
}

# ---- benchmarks -----------------------------------------------------------------------------------------------------

run_benchmarks() {
  say "benchmarks"
  local options=(--budget "$(seconds_left 60)" --disk-program "$build/cpp/benchmarks/warpload_disk_ceiling")
  options+=(--folder "${WARPLOAD_GPU_MODELS:-$build/models}")
  [[ ! -d $overlay ]] || options+=(--overlay "$overlay")
  local further
  read -r -a further <<<"${WARPLOAD_GPU_OPTIONS:-}"
  PYTHONUNBUFFERED=1 "$python" -m benchmarks.gpu "$output" "${options[@]}" "${further[@]}"
}

# ---- stages ---------------------------------------------------------------------------------------------------------

run_stage() {
  check_machine
  install_wheels
  began=0
  case $1 in
    build) build_all ;;
    tests)
      build_all
      run_tests
      ;;
    benchmarks)
      build_package
      build_programs
      run_benchmarks
      ;;
    all)
      build_all
      local status=0
      (run_tests) || status=1 # the figures are wanted all the same
      began=$SECONDS
      (run_benchmarks) || status=1
      return $status
      ;;
  esac
}

main() {
  local stage=all
  case ${1:-} in
    build | tests | benchmarks | all)
      stage=$1
      shift
      ;;
  esac
  if [[ $# -ne 1 || $1 == -* ]]; then usage; fi
  mkdir -p "$1"
  output=$(cd "$1" && pwd)
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  python=${PYTHON:-python3}
  limit=${WARPLOAD_GPU_SECONDS:-570}
  mkdir -p "${WARPLOAD_BUILD:-build/gpu}"
  build=$(cd "${WARPLOAD_BUILD:-build/gpu}" && pwd)
  overlay=$build/overlay
  # Not in a condition, where bash would go on after an error.
  run_stage "$stage" 2>&1 | tee -a "$output/log"
}

main "$@"
