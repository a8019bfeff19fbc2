"""One load in a fresh process, by stock diffusers or by warpload; the result goes out as JSON.

    python -m warpload.measuring.contender --loader stock --model FOLDER --dtype bfloat16 --mode load

The modes:

whole
    The clock starts with the process: interpreter, `import torch`, the library, and `from_pretrained`, in the way of a
    script. The caller sets WARPLOAD_PROCESS_START to CLOCK_MONOTONIC in nanoseconds right before it starts the
    process; without it the kernel's start time of the process counts (in steps of 10 ms).
load
    Everything that the load needs is imported before the clock: the pipeline's and its models' classes, and those that
    diffusers looks up whatever it loads; only `from_pretrained` is timed.

"load_user" and "load_system" are the processor time of all threads during the load. A load that takes much longer
than their sum had to wait: for the disk, or for other processes.

After the clock, "first_read" is the time that reading one byte in every page of the weights takes: a loader that maps
files is ready before it has read them.

Until the clock stops nothing but the standard library and what a loader needs is imported. To keep even warpload's
own package out of stock's time, start this file by its path.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROCESS_START = "WARPLOAD_PROCESS_START"
LOADERS = ("stock", "stock-parallel", "warpload")
DTYPES = ("float16", "bfloat16", "float32", "none")
MODES = ("whole", "load")

_ENTERED = time.monotonic()


def main() -> None:
    """Run the load that the command line asks for."""
    if sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]  # started by its path: this folder's modules are not top-level ones
    arguments = _parse_arguments()
    if arguments.loader == "stock-parallel":
        os.environ["HF_ENABLE_PARALLEL_LOADING"] = "1"
    result: dict[str, Any] = {key: getattr(arguments, key) for key in ("loader", "mode", "dtype")}
    with contextlib.ExitStack() as cleanup:
        pipeline, timing = _timed_load(arguments, cleanup)
    result.update(timing)
    if arguments.loader == "warpload":
        result.update(_warpload_report())
    _examine(pipeline, arguments.digest, result)
    _write_result(result, arguments.json_fd)


def _timed_load(arguments: argparse.Namespace, cleanup: contextlib.ExitStack) -> tuple[Any, dict[str, Any]]:
    """Return the pipeline, and "seconds" by stage with what else has to be noted at the end of the clock."""
    library = "warpload" if arguments.loader == "warpload" else "diffusers"
    process_start = _process_start()
    seconds = {"interpreter": _ENTERED - process_start, "torch": _timed(lambda: importlib.import_module("torch"))}
    page_cache = "as the caller left it"
    if arguments.mode == "load":
        seconds["library"] = _timed(
            lambda: _import_everything(Path(arguments.model), library, arguments.pipeline_class)
        )
        page_cache = _prepare(Path(arguments.model), arguments.cache, arguments.touch_bytes, cleanup)
    else:
        seconds["library"] = _timed(lambda: _pipeline_class(library, arguments.pipeline_class))

    anonymous = _anonymous() if arguments.mode == "load" else 0
    processor_begin = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.monotonic()
    pipeline_class = _pipeline_class(library, arguments.pipeline_class)
    pipeline = pipeline_class.from_pretrained(arguments.model, **_load_options(arguments.dtype))
    ready = time.monotonic()
    seconds["load"] = ready - begin
    seconds["total"] = ready - (process_start if arguments.mode == "whole" else begin)
    processor_end = resource.getrusage(resource.RUSAGE_SELF)
    seconds["load_user"] = processor_end.ru_utime - processor_begin.ru_utime
    seconds["load_system"] = processor_end.ru_stime - processor_begin.ru_stime
    return pipeline, {
        "seconds": seconds,
        "peak_rss_bytes": _peak_rss(),
        "page_cache": page_cache,
        "anonymous": {"before": anonymous},
    }


def _examine(pipeline: Any, with_digest: bool, result: dict[str, Any]) -> None:
    """Add what is found out after the clock."""
    from warpload.measuring.digest import pipeline_digest, read_every_page

    result["pipeline_class"] = type(pipeline).__name__
    result["seconds"]["first_read"] = _timed(lambda: read_every_page(pipeline))
    result["anonymous"]["until_ns"] = time.monotonic_ns()
    if with_digest:
        digest = pipeline_digest(pipeline)
        result["digest"] = {"classes": digest.classes, "tensors": digest.tensors}


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="contender", description="One timed load in a fresh process.")
    parser.add_argument("--loader", choices=LOADERS, required=True)
    parser.add_argument("--model", required=True, help="folder of a pipeline")
    parser.add_argument(
        "--dtype",
        type=_dtype,
        default="none",
        help="torch_dtype: one of " + ", ".join(DTYPES) + " (leaves it out), or COMPONENT=DTYPE,... for a dictionary",
    )
    parser.add_argument("--mode", choices=MODES, default="load")
    parser.add_argument(
        "--pipeline-class",
        default="auto",
        help="name of the class; auto is DiffusionPipeline, growing:N one of our own with N components",
    )
    parser.add_argument("--digest", action="store_true", help="hash every tensor, after the clock")
    parser.add_argument("--touch-bytes", type=int, default=0, help="memory to keep backed for the load (mode load)")
    parser.add_argument("--cache", choices=("warm", "as-is"), default="warm", help="page cache (mode load)")
    parser.add_argument("--json-fd", type=int, default=1, help="file descriptor for the result")
    arguments = parser.parse_args()
    if arguments.mode == "whole" and arguments.touch_bytes:
        parser.error("in the mode 'whole' the caller has to ready the memory, before it starts this process")
    return arguments


def _dtype(text: str) -> str:
    if any(name.rpartition("=")[2] not in DTYPES for name in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not {', '.join(DTYPES)}, or COMPONENT=DTYPE,...")
    return text


def _process_start() -> float:
    """Return when this process started, in seconds of time.monotonic()."""
    given = os.environ.get(PROCESS_START)
    if given is not None:
        return int(given) / 1e9
    # Field 22, counted from the boot; the name in field 2 may hold spaces.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot)


def _timed(action: Callable[[], Any]) -> float:
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def _pipeline_class(library: str, class_name: str) -> Any:
    if class_name.startswith("growing:"):
        from warpload.measuring.growing_pipeline import growing_pipeline

        if library == "warpload":
            importlib.import_module(library).install()  # the class is nobody's: no name of warpload's leads to it
        return growing_pipeline(int(class_name.partition(":")[2]))
    return getattr(importlib.import_module(library), "DiffusionPipeline" if class_name == "auto" else class_name)


def _import_everything(model: Path, library: str, class_name: str) -> None:
    """Import what a load needs, the classes that the pipeline's index names included; alike for every loader."""
    for module in ("accelerate", "safetensors.torch", "diffusers", "transformers", library):
        importlib.import_module(module)
    _pipeline_class(library, "auto")
    _pipeline_class(library, class_name)
    if library == "warpload":  # its own modules that a load needs come with the first load, otherwise
        from warpload.pipelines import pipeline_load  # noqa: F401
        from warpload.stock import seam_check, seams

        for seam in seams.SEAMS:
            if seam.by:
                seam_check.replacement(seam)
    index = json.loads((model / "model_index.json").read_text(encoding="utf-8"))
    named = [["diffusers", index["_class_name"]], *(entry for entry in index.values() if isinstance(entry, list))]
    for module_name, class_name in named:
        if module_name in ("diffusers", "transformers") and class_name is not None:
            cls = _import_class(module_name, class_name)
            for compatible in getattr(cls, "_compatibles", ()):  # a scheduler's, which diffusers asks for by name
                _import_class("diffusers", compatible)
    # Whose methods diffusers calls: it asks for all of these with each component, guiders and ONNX models too.
    loadable = getattr(importlib.import_module("diffusers.pipelines.pipeline_loading_utils"), "LOADABLE_CLASSES", {})
    for class_name in loadable.get("diffusers", ()):
        _import_class("diffusers", class_name)


def _import_class(module_name: str, class_name: str) -> Any:
    """Return a class; None for one that this installation lacks, or nobody's, which from_pretrained has to report."""
    try:
        return getattr(importlib.import_module(module_name), class_name)
    except (AttributeError, ImportError):
        return None


def _prepare(model: Path, cache: str, touch_bytes: int, cleanup: contextlib.ExitStack) -> str:
    """Read the files and readies memory; returns the state of the page cache."""
    from warpload.measuring import memory_reserve, page_cache, weights

    if touch_bytes > 0:
        cleanup.enter_context(memory_reserve.MemoryReserve()).refill(touch_bytes)
    files = weights.weight_files(model)
    return str(page_cache.warm(files) if cache == "warm" else page_cache.cache_state(files))


def _load_options(dtype: str) -> dict[str, Any]:
    import torch

    if dtype == "none":
        return {}
    if "=" not in dtype:
        return {"torch_dtype": getattr(torch, dtype)}
    pairs = (pair.split("=") for pair in dtype.split(","))
    return {"torch_dtype": {component: getattr(torch, name) for component, name in pairs}}


def _peak_rss() -> int:
    """Return the largest resident size of this process in bytes; mapped pages of files count too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _anonymous() -> int:
    """Return the bytes of this process that no file gives; see warpload.measuring.anonymous_memory."""
    fields = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(field[1]) * 1024 for field in fields if field[0] in ("RssAnon:", "RssShmem:"))


def _warpload_report() -> dict[str, Any]:
    warpload = importlib.import_module("warpload")
    report = warpload.last_report()
    return {"report": str(report), "components": dict(report.components)}


def _write_result(result: dict[str, Any], descriptor: int) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8", closefd=descriptor > 2) as stream:
        stream.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
