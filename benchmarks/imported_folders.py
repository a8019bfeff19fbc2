"""Which folders the start of a pipeline imports from: makes the table of `warpload.stock.imported_folders`.

    python benchmarks/imported_folders.py FOLDER... > table

Loads each pipeline in a process of its own and notes what has been imported by the end, in that order. A folder is in
the table if at least half of its compiled code was needed, counted in bytes: the rest is read in vain. Paste what is
printed between the quotes of the table; lines that were added there by hand (libraries, what is read but not imported)
have to be kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig

_LEAST_SHARE = 0.5

_LOAD = """
import json, sys, warpload
warpload.DiffusionPipeline.from_pretrained(sys.argv[1])
modules = [getattr(module, "__cached__", None) for module in list(sys.modules.values())]
print(json.dumps([each for each in modules if isinstance(each, str)]))
"""


def main() -> None:
    """Print the table for the pipelines that the command line names."""
    root = sysconfig.get_paths()["purelib"] + os.sep
    needed: dict[str, set[str]] = {}
    for pipeline in sys.argv[1:]:
        for compiled in _imported(pipeline):
            if compiled.startswith(root) and not compiled.startswith(os.path.join(root, "warpload")):
                folder, name = os.path.split(compiled)
                needed.setdefault(folder, set()).add(name)
    for folder, names in needed.items():
        package = os.path.dirname(folder)
        if package + os.sep != root and _size(folder, names) >= _LEAST_SHARE * _size(folder, os.listdir(folder)):
            print(package.removeprefix(root))


def _imported(pipeline: str) -> list[str]:
    """Return the compiled files of the modules that a load leaves, in the order in which their import began."""
    run = subprocess.run([sys.executable, "-c", _LOAD, pipeline], check=True, capture_output=True, text=True)
    modules: list[str] = json.loads(run.stdout.splitlines()[-1])
    return [each for each in modules if os.path.isfile(each)]


def _size(folder: str, names: set[str] | list[str]) -> int:
    suffix = f".{sys.implementation.cache_tag}.pyc"
    return sum(os.path.getsize(os.path.join(folder, each)) for each in names if each.endswith(suffix))


if __name__ == "__main__":
    main()
