"""One load in a fresh process; the result goes out as JSON. Started by its path.

    python benchmarks/gpu/contender.py --loader warpload --model FOLDER --device cuda:0 --dtype float16

The modes:

load
    Before the clock, alike for every contender: its libraries are imported, the CUDA context exists, torch's
    allocator has served one small tensor and holds nothing. Pinned buffers and the memory for the weights are the
    load's own business, as in a process that loads once. The clock stops after `torch.cuda.synchronize()`.
whole
    The clock starts with the process: interpreter, `import torch`, the library, the CUDA context, and the load, in
    the way of a script; for loaders of pipelines.

With `--again` a second load follows in the same process, after the first result is dropped and torch's cache emptied:
what a service that loads often sees, with the pinned buffers at hand. The caller sets WARPLOAD_PROCESS_START to
CLOCK_MONOTONIC in nanoseconds right before it starts this process.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

PROCESS_START = "WARPLOAD_PROCESS_START"
MODES = ("load", "whole")
_ENTERED = time.monotonic_ns()
_ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    sys.path[0] = str(_ROOT)  # started by its path: this folder's modules are no top-level ones

from benchmarks.gpu.loaders import LOADERS, Job, Loader, load_all_files, pipeline_tensors  # noqa: E402

REFERENCE = ("safetensors", "stock-to")  # what others' tensors are compared with, and loads on the CPU


def main() -> None:
    """Run the load that the command line asks for."""
    arguments = _parse_arguments()
    if arguments.loader is None:
        result = _reference(arguments)
    else:
        result = _run_if_installed(LOADERS[arguments.loader], arguments)
    with os.fdopen(arguments.json_fd, "w", encoding="utf-8", closefd=arguments.json_fd > 2) as stream:
        stream.write(json.dumps(result) + "\n")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="contender", description="One timed load in a fresh process.")
    parser.add_argument("--loader", choices=LOADERS, help="without it, checksums of what the others must load")
    parser.add_argument("--model", type=Path, required=True, help="folder of a pipeline")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--dtype", default="float16", help="of the files")
    parser.add_argument("--mode", choices=MODES, default="load")
    parser.add_argument("--cold", action="store_true", help="the files are not in the page cache")
    parser.add_argument("--again", action="store_true", help="load a second time")
    parser.add_argument("--checksums", action="store_true", help="of every tensor, after the clock")
    parser.add_argument("--json-fd", type=int, default=1, help="file descriptor for the result")
    arguments = parser.parse_args()
    if arguments.mode == "whole" and not LOADERS[arguments.loader].pipeline:
        parser.error("the mode 'whole' is for loaders of pipelines")
    return arguments


def _reference(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the checksums of the files' tensors and of stock's pipeline, both on the CPU."""
    from benchmarks.gpu.checksums import checksums

    job = Job(arguments.model, "cpu", arguments.dtype, cold=False)
    files, pipeline = (LOADERS[name] for name in REFERENCE)
    return {
        "files": checksums(load_all_files(files, job)[0]),
        "pipeline": checksums(pipeline_tensors(pipeline.load(job))),
    }


def _run_if_installed(loader: Loader, arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.mode == "load":
        try:
            loader.check()
        except (ImportError, OSError) as error:  # OSError: a shared library that is not there
            return {"missing": f"{type(error).__name__}: {error}"}
    if loader.needs_cuda and arguments.device == "cpu":
        result: dict[str, Any] = {"needs_gpu": True}  # but its libraries are here, which is worth knowing
    else:
        result = _run(loader, arguments)
    result["versions"] = {name: importlib.metadata.version(name) for name in loader.distributions}
    return result


def _run(loader: Loader, arguments: argparse.Namespace) -> dict[str, Any]:
    job = Job(arguments.model, arguments.device, arguments.dtype, arguments.cold)
    if arguments.mode == "load":
        _prepare(loader, job)
    before = _so_far()
    begin = time.monotonic_ns()
    loaded = _load(loader, job)
    ready = time.monotonic_ns()
    start = begin if arguments.mode == "load" else int(os.environ.get(PROCESS_START, _ENTERED))
    result: dict[str, Any] = {
        "before": before,
        "seconds": (ready - start) / 1e9,
        "load_seconds": (ready - begin) / 1e9,
        "clock": [begin, ready],
        "allocator_peak_bytes": _allocator_peak(job.device),
    }
    if arguments.checksums:
        from benchmarks.gpu.checksums import checksums

        result["checksums"] = checksums(pipeline_tensors(loaded) if loader.pipeline else loaded[0])
    if arguments.again:
        del loaded
        result["again_seconds"] = _load_again(loader, job)
    return result


def _so_far() -> dict[str, float]:
    """Return what the process took until now, as a slow start-up is work, or waiting for a disk."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = (time.monotonic_ns() - int(os.environ.get(PROCESS_START, _ENTERED))) / 1e9
    return {"seconds": seconds, "user": used.ru_utime, "system": used.ru_stime, "major_faults": used.ru_majflt}


def _prepare(loader: Loader, job: Job) -> None:
    import torch

    if loader.pipeline:
        _import_classes(job.folder)
    if job.device != "cpu":
        torch.ones(1, device=job.device).add_(1)
        torch.cuda.synchronize(job.device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(job.device)


def _import_classes(folder: Path) -> None:
    """Import the classes that the pipeline's index names, which from_pretrained would import otherwise."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    named = [["diffusers", index["_class_name"]], *(entry for entry in index.values() if isinstance(entry, list))]
    for module, name in named:
        if module in ("diffusers", "transformers") and name is not None:
            getattr(importlib.import_module(module), name)


def _load(loader: Loader, job: Job) -> Any:
    loaded = loader.load(job) if loader.pipeline else load_all_files(loader, job)
    _synchronize(job.device)
    return loaded


def _load_again(loader: Loader, job: Job) -> float:
    gc.collect()
    if job.device != "cpu":
        import torch

        torch.cuda.empty_cache()
    begin = time.monotonic_ns()
    loaded = _load(loader, job)
    seconds = (time.monotonic_ns() - begin) / 1e9
    del loaded
    return seconds


def _synchronize(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize(device)


def _allocator_peak(device: str) -> int | None:
    """Return the most that torch's allocator has had in use; memory from elsewhere does not count."""
    if device == "cpu":
        return None
    import torch

    return torch.cuda.max_memory_allocated(device)


if __name__ == "__main__":
    main()
