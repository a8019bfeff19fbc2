#!/usr/bin/env bash
# Uses a wheel where there is nothing to build it: `make test-wheel`.
#
#   tests/wheel/run.sh PYTHON WHEEL
#
# In a new environment of PYTHON's version the wheel is installed by the pip that comes with it, without an index. What the
# wheel depends on, pytest and mypy are those of PYTHON's environment. The tests run outside of the tree, with no other
# programs than the new environment's and no variables of the caller's.
set -euo pipefail

[[ $# -eq 2 ]] || { sed -n '2,/^set/p' "${BASH_SOURCE[0]}" | sed -e '/^set/d' -e 's/^# \{0,1\}//' >&2 && exit 2; }
python=$1
wheel=$(realpath "$2")
tests=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
folder=$(mktemp --directory)
trap 'rm -rf "$folder"' EXIT

environment=$folder/environment
"$python" -m venv "$environment"
"$environment/bin/python" -m pip --disable-pip-version-check install --quiet --no-index --no-deps "$wheel"
packages='import sysconfig; print(sysconfig.get_path("purelib"))'
others=$folder/others # without the warpload among them, which would stand in for what this one lacks
mkdir "$others"
ln -s "$("$python" -c "$packages")"/* "$others"
rm -f "$others"/warpload*
echo "import site; site.addsitedir('$others')" >"$("$environment/bin/python" -c "$packages")/others.pth"

bare=(env --ignore-environment HOME="$folder" PATH="$environment/bin" LANG=C.UTF-8 HF_HUB_OFFLINE=1)
for compiler in cc c++ gcc g++ clang clang++ nvcc cmake ninja make ld; do
  if "${bare[@]}" "$environment/bin/python" -c "import shutil, sys; sys.exit(not shutil.which('$compiler'))"; then
    echo "error: $compiler is there, where the wheel is to be used without it" >&2
    exit 1
  fi
done
mkdir "$folder/tests"
cp "$tests"/test_*.py "$folder/tests"
cd "$folder/tests"
"${bare[@]}" "$environment/bin/python" -m pytest -p no:cacheprovider "$folder/tests"
