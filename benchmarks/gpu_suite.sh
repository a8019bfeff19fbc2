#!/usr/bin/env bash
# Tests and measures warpload on a machine with a GPU and torch, in one bounded call; needs no network.
#
#   benchmarks/gpu_suite.sh --kit build/gpu-kit [--seconds 560] [--second] [--rehearse] [--only STEP] OUTPUT_FOLDER
#
# --kit       what `make gpu-kit` has made, carried along with the tree
# --seconds   for everything; the steps' limits move with it
# --second    a further call on the same machine, of 200 s: the engine's settings swept, compute-sanitizer
# --rehearse  the same without a GPU: on the CPU, with the tests' fake driver and tiny pipelines; no figure means anything
# --only      one step; may be repeated
# --work      where everything is installed, built and written (build/gpu)
#
# Every result is appended at once to OUTPUT_FOLDER/results.jsonl, beside the log, and at the end put together in one JSON
# file named after the GPU. Of a call that was killed: python3 -m benchmarks.gpu.merge OUTPUT_FOLDER.
# The exit status is not 0 when something failed, and when a test did not run. Bars that are missed are figures, no
# failures. PYTHON names the interpreter that has torch (python3). benchmarks/README.md has the steps.
set -euo pipefail

usage() {
  sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed -e '/^set/d' -e 's/^# \{0,1\}//' -e '1s/^/usage: /' >&2
  exit 2
}

fail() {
  printf 'gpu_suite: %s\n' "$*" >&2
  exit 1
}

[[ " $* " == *" --kit "* && $# -ge 3 && ${!#} != -* ]] || usage

python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "there is no $python; name the interpreter that has torch in PYTHON"
# What the steps' commands are made with, before anything can be installed.
"$python" -c 'import rich, typer' || fail "$python lacks rich or typer: pip install rich typer"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# The folders are the caller's; the code is the tree's.
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "$python" -m benchmarks.gpu.suite "$@"
