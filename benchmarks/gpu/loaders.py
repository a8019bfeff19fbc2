"""The contenders: one function each, which puts all weights of a pipeline's folder on a device.

Nothing but the standard library is imported before a contender's own function asks for it: the time from the start of
the process is measured too.

Two kinds. Loaders of files return every tensor of every weight file, by component; a component's files are one call, as
names repeat from component to component. Loaders of pipelines return a ready pipeline. Each has the settings that suit
the state of the page cache best, by its own documentation.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Tensors = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What to load, and where to.

    Attributes:
        folder: of the pipeline.
        device: "cuda:0", or "cpu" to try the same code without a GPU.
        dtype: of the files, by torch's name; nothing is cast.
        cold: the files are not in the page cache.
    """

    folder: Path
    device: str
    dtype: str
    cold: bool

    @property
    def device_map(self) -> str:
        """As stock diffusers takes it: without an index."""
        return self.device.partition(":")[0]


@dataclass(frozen=True)
class Loader:
    """A contender.

    Attributes:
        name: in the results.
        distributions: packages that it is made of, as they are named for pip.
        check: imports what the load needs; raises ImportError where this installation cannot do it.
        load: for files `(files, job) -> (tensors, owner)`, for pipelines `(job) -> pipeline`.
        pipeline: whether it makes a pipeline.
        needs_cuda: whether it can only load to a GPU.
    """

    name: str
    distributions: tuple[str, ...]
    check: Callable[[], Any]
    load: Callable[..., Any]
    pipeline: bool = False
    needs_cuda: bool = False


def component_files(folder: Path) -> dict[str, list[Path]]:
    """Return the safetensors files of each component that has any."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.safetensors")):
        found.setdefault(path.parent.name, []).append(path)
    return found


def load_all_files(loader: Loader, job: Job) -> tuple[Tensors, list[Any]]:
    """Return the tensors as "component/name", and what has to stay alive with them."""
    tensors: Tensors = {}
    owners = []
    for component, files in component_files(job.folder).items():
        loaded, owner = loader.load(files, job)
        owners.append(owner)
        tensors.update({f"{component}/{name}": tensor for name, tensor in loaded.items()})
    return tensors, owners


def pipeline_tensors(pipeline: Any) -> Tensors:
    """Return the saved tensors of a pipeline's models, as "component/name"."""
    import torch

    return {
        f"{component}/{name}": tensor
        for component, module in pipeline.components.items()
        if isinstance(module, torch.nn.Module)
        for name, tensor in module.state_dict().items()
    }


# ---- warpload -------------------------------------------------------------------------------------------------------


def _arena_on(device: str) -> Any:
    """On the CPU, send the load through the code that a GPU's load goes through."""
    import warpload

    return warpload.LoadOptions(arena="always") if device == "cpu" else contextlib.nullcontext()


def _check_warpload() -> None:
    import torch  # noqa: F401

    import warpload

    _ = warpload.load_file  # comes when it is first asked for


def _check_warpload_pipeline() -> None:
    import warpload

    _import_pipeline_libraries()
    _ = warpload.DiffusionPipeline.from_pretrained


def _warpload(files: list[Path], job: Job) -> tuple[Tensors, None]:
    import warpload

    with _arena_on(job.device):
        return warpload.load_file(files if len(files) > 1 else files[0], device=job.device), None


def _warpload_pipeline(job: Job) -> Any:
    import torch

    import warpload

    with _arena_on(job.device):
        return warpload.DiffusionPipeline.from_pretrained(
            job.folder, dtype=getattr(torch, job.dtype), device_map=job.device_map
        )


# ---- stock diffusers ------------------------------------------------------------------------------------------------


def _import_pipeline_libraries() -> None:
    import accelerate  # noqa: F401
    import safetensors.torch  # noqa: F401
    import transformers  # noqa: F401
    from diffusers import DiffusionPipeline  # noqa: F401


def _stock_device_map(job: Job) -> Any:
    import torch
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(job.folder, dtype=getattr(torch, job.dtype), device_map=job.device_map)


def _stock_to(job: Job) -> Any:
    import torch
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(job.folder, dtype=getattr(torch, job.dtype)).to(job.device)


# ---- safetensors ----------------------------------------------------------------------------------------------------


def _check_safetensors() -> None:
    import safetensors.torch  # noqa: F401


def _safetensors(files: list[Path], job: Job) -> tuple[Tensors, None]:
    from safetensors.torch import load_file

    tensors: Tensors = {}
    for path in files:
        tensors.update(load_file(path, device=job.device))
    return tensors, None


def _check_prefetch() -> None:
    import torch  # noqa: F401
    from safetensors import __version__, safe_open

    if not hasattr(safe_open, "prefetch"):
        raise ImportError(f"safetensors {__version__} has no prefetch; 0.9 has")


def _safetensors_prefetch(files: list[Path], job: Job) -> tuple[Tensors, Any]:
    """All files at once, with as many reader threads as there are cores, but no fewer than two a file."""
    from safetensors import safe_open

    threads = max(2, len(os.sched_getaffinity(0)) // len(files))
    tensors: Tensors = {}
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(safe_open(path, framework="pt", device=job.device)) for path in files]
        for prefetched in [file.prefetch(threads=threads) for file in opened]:
            tensors.update(prefetched)
    return tensors, None


# ---- others ---------------------------------------------------------------------------------------------------------


def _as_on_the_cpu(name: str, distribution: str) -> Loader:
    """Return a contender whose functions and settings are those of the table for the CPU, warpload.measuring's."""

    def check() -> None:
        from warpload.measuring.loaders import FILE_LOADERS

        FILE_LOADERS[name].check()

    def load(files: list[Path], job: Job) -> tuple[Tensors, Any]:
        from warpload.measuring import loaders

        return loaders.FILE_LOADERS[name].load(files, loaders.Job(job.cold, device=job.device))

    return Loader(name, (distribution,), check, load, needs_cuda=True)


_DIFFUSERS = ("diffusers", "transformers", "accelerate", "safetensors")

LOADERS: dict[str, Loader] = {
    loader.name: loader
    for loader in (
        Loader("warpload", ("warpload",), _check_warpload, _warpload),
        Loader(
            "warpload-pipeline", ("warpload", *_DIFFUSERS), _check_warpload_pipeline, _warpload_pipeline, pipeline=True
        ),
        Loader("stock-device-map", _DIFFUSERS, _import_pipeline_libraries, _stock_device_map, pipeline=True),
        Loader("stock-to", _DIFFUSERS, _import_pipeline_libraries, _stock_to, pipeline=True),
        Loader("safetensors", ("safetensors",), _check_safetensors, _safetensors),
        Loader("safetensors-prefetch", ("safetensors",), _check_prefetch, _safetensors_prefetch, needs_cuda=True),
        _as_on_the_cpu("fastsafetensors", "fastsafetensors"),
        _as_on_the_cpu("instanttensor", "instanttensor"),
        _as_on_the_cpu("runai-streamer", "runai-model-streamer"),
    )
}
# What is measured by default. Plain safetensors is there for what the others' tensors are compared with.
MEASURED = tuple(name for name in LOADERS if name != "safetensors")
# Measured once, when all rounds of the others are done.
EXTRA = frozenset({"stock-to", "runai-streamer"})
# These need another version of safetensors than the pipelines are loaded with; it may lie in a folder of its own.
OVERLAID = frozenset({"safetensors-prefetch"})
