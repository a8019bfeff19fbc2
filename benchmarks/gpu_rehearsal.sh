#!/usr/bin/env bash
# Rehearses gpu_suite.sh on a machine without a GPU: `make gpu-rehearsal`, with the kit made before.
#
#   benchmarks/gpu_rehearsal.sh KIT PYTHON [FOLDER]
#
# Makes an environment with the versions of a machine with a GPU (gpu/machine-packages.txt: torch's CUDA build and its
# libraries, some gigabytes), copies the tree and the kit to a fresh folder, and runs both calls of the suite there with
# `--rehearse`, without a network. The environment stays in FOLDER (build/gpu-rehearsal) for the next time.
#
# SECONDS_FIRST, SECONDS_SECOND  what the calls may take: here there are fewer cores than where 560 and 200 s are for
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*"; }

# Arguments: the folder, the Python it is made with.
make_environment() {
  local environment=$1/environment list=benchmarks/gpu/machine-packages.txt
  if ! cmp -s "$list" "$environment/made-from.txt"; then
    say "environment: packages of a machine with a GPU"
    rm -rf "$environment"
    "$2" -m venv "$environment"
    # Not this machine's constraints: the other machine has its own versions.
    PIP_CONSTRAINT='' "$environment/bin/python" -m pip install --isolated --quiet --disable-pip-version-check \
      --requirement "$list"
    cp "$list" "$environment/made-from.txt"
  fi
  "$environment/bin/python" -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)'
}

# What travels: tracked files, untracked ones that are not ignored, and the kit.
copy_tree() {
  say "copy of the tree and of the kit"
  rm -rf "$2"
  mkdir -p "$2/build"
  git ls-files --cached --others --exclude-standard -z | tar --create --null --ignore-failed-read --files-from - \
    | tar --extract --directory "$2"
  cp -r "$1" "$2/build/gpu-kit"
  du -sh "$2" "$2/build/gpu-kit"
}

# Runs a command without a network, as far as this machine's user may shut it off.
offline() {
  if unshare --net true 2>/dev/null; then
    unshare --net "$@"
  else
    env http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 PIP_NO_INDEX=1 "$@"
  fi
}

main() {
  [[ $# -ge 2 ]] || { sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed -e '/^set/d' -e 's/^# \{0,1\}//' >&2 && exit 2; }
  mkdir -p "${3:-build/gpu-rehearsal}"
  local folder
  folder=$(cd "${3:-build/gpu-rehearsal}" && pwd)
  make_environment "$folder" "$2"
  copy_tree "$1" "$folder/tree"
  rm -rf "$folder/output" "$folder/output-second"
  cd "$folder/tree"
  export PYTHON=$folder/environment/bin/python
  local suite=(benchmarks/gpu_suite.sh --kit build/gpu-kit --rehearse) status=0
  say "first call"
  offline "${suite[@]}" --seconds "${SECONDS_FIRST:-1120}" "$folder/output" || status=1
  say "what the kit's packages miss (they are installed without their dependencies; torch is the machine's)"
  PYTHONPATH=build/gpu/site "$PYTHON" -m pip check || true
  say "second call"
  offline "${suite[@]}" --seconds "${SECONDS_SECOND:-400}" --second "$folder/output-second" || status=1
  say "both together"
  PYTHONPATH=. "$PYTHON" -m benchmarks.gpu.merge "$folder/output" "$folder/output-second" --output "$folder" || status=1
  return $status
}

main "$@"
