"""One load of a pipeline's files as tensors on the CPU, in a fresh process; the result goes out as JSON.

    python -m warpload.measuring.file_contender --loader fastsafetensors --model FOLDER --dtype bfloat16

Everything that the load needs is imported before the clock. After it, "first_read" is the time that reading one byte
in every page of every tensor takes: who maps files is ready before it has read them. `--convert FOLDER` writes the
files of a contender's own format instead, one a component, and times that.

The contender's own packages (`--packages`) come before the installed ones. What is not installed is in the result as
"missing", with the reason; any other failure is the process's own.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__" and sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    del sys.path[0]  # started by its path: this folder's modules are not top-level ones


def main() -> None:
    """Do what the command line asks for."""
    arguments = _parse_arguments()
    if arguments.packages is not None:
        sys.path.insert(0, str(arguments.packages))
    from warpload.measuring.loaders import FILE_LOADERS

    loader = FILE_LOADERS[arguments.loader]
    try:
        loader.check()
    except (ImportError, OSError) as error:  # OSError: a shared library that is not there
        result: dict[str, Any] = {"missing": f"{type(error).__name__}: {error}"}
    else:
        result = _convert(loader, arguments) if arguments.convert is not None else _load(loader, arguments)
        result["versions"] = _versions(arguments.loader)
    with os.fdopen(arguments.json_fd, "w", encoding="utf-8", closefd=arguments.json_fd > 2) as stream:
        stream.write(json.dumps(result) + "\n")


def _parse_arguments() -> argparse.Namespace:
    from warpload.measuring.loaders import FILE_LOADERS

    parser = argparse.ArgumentParser(prog="file_contender", description="One timed load of files in a fresh process.")
    parser.add_argument("--loader", choices=FILE_LOADERS, required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder with a folder a component")
    parser.add_argument("--dtype", default="none", help="by torch's name; none leaves the files' own")
    parser.add_argument("--cold", action="store_true", help="the files are not in the page cache")
    parser.add_argument("--digest", action="store_true", help="hash every tensor, after the clock")
    parser.add_argument("--packages", type=Path, help="folder of packages that come before the installed ones")
    parser.add_argument("--convert", type=Path, help="write the contender's own format there")
    parser.add_argument("--json-fd", type=int, default=1, help="file descriptor for the result")
    return parser.parse_args()


def _load(loader: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    from warpload.measuring import anonymous_memory, digest, weights
    from warpload.measuring.contenders import CONTENDERS
    from warpload.measuring.loaders import Job, load_component

    components = weights.component_files(arguments.model, CONTENDERS[arguments.loader].suffix or ".safetensors")
    job = Job(arguments.cold, arguments.dtype)
    anonymous = anonymous_memory.of_process(os.getpid())
    processor_begin = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.monotonic_ns()
    loaded = {name: load_component(loader, files, job) for name, files in components.items()}
    ready = time.monotonic_ns()
    processor_end = resource.getrusage(resource.RUSAGE_SELF)
    tensors = {
        f"{component}/{name}": tensor for component, (found, _) in loaded.items() for name, tensor in found.items()
    }
    first = time.monotonic_ns()
    digest.read_pages(tensors.values())
    used = time.monotonic_ns()
    seconds = {
        "load": (ready - begin) / 1e9,
        "total": (ready - begin) / 1e9,
        "first_read": (used - first) / 1e9,
        "load_user": processor_end.ru_utime - processor_begin.ru_utime,
        "load_system": processor_end.ru_stime - processor_begin.ru_stime,
    }
    result = {
        "seconds": seconds,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "anonymous": {"before": anonymous, "until_ns": used},
    }
    if arguments.digest:
        result["digest"] = {"classes": {}, "tensors": digest.fingerprints(tensors)}
    return result


def _convert(loader: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Write one file a component; all that is read is in the page cache or comes into it, outside the clock."""
    from safetensors.torch import load_file

    from warpload.measuring import digest, weights
    from warpload.measuring.contenders import CONTENDERS

    suffix = CONTENDERS[arguments.loader].suffix
    seconds = 0.0
    written = 0
    for component, files in weights.component_files(arguments.model).items():
        tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
        digest.read_pages(tensors.values())
        file = arguments.convert / component / f"weights{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        loader.convert(tensors, file)
        with file.open("rb") as opened:
            os.fsync(opened.fileno())  # else the kernel would write it back while loads are being timed
        seconds += time.monotonic() - begin
        written += file.stat().st_size
    return {"seconds": {"convert": seconds}, "bytes": written}


def _versions(loader: str) -> dict[str, str]:
    from warpload.measuring.contenders import CONTENDERS

    return {name: importlib.metadata.version(name) for name in CONTENDERS[loader].distributions}


if __name__ == "__main__":
    main()
