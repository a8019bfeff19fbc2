"""Runs contenders in fresh processes, one at a time, on a machine in a known state."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from warpload.measuring import contender, file_contender, machine, page_cache, weights
from warpload.measuring.digest import Digest
from warpload.measuring.fresh_process import NotInstalledError, run_process
from warpload.measuring.memory_reserve import MemoryReserve

ELEMENT_SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "none": None}


def element_size(dtype: str) -> int | None:
    """Return the bytes an element takes; the largest for a dictionary by component, None for the files' own."""
    sizes = [ELEMENT_SIZES[name.rpartition("=")[2]] for name in dtype.split(",")]
    return max((size for size in sizes if size is not None), default=None)


# What a process allocates beside the weights while it loads: libraries, buffers, one tensor before its cast.
_PROCESS_BYTES = 10**9


@dataclass(frozen=True)
class Request:
    """One load to run.

    Attributes:
        loader: a contender; see warpload.measuring.contenders.
        dtype: "float16", "bfloat16", "float32", "none" for the files' own, or "COMPONENT=DTYPE,..." for a dictionary.
        mode: "load" or "whole" of a pipeline, see warpload.measuring.contender; or "files", see file_contender.
        digest: hash every tensor after the clock.
        pipeline_class: name of the class to load with; "auto" is DiffusionPipeline.
        packages: folder of the contender's own packages, for the mode "files".
        memory: watch the process's memory, which spoils its times a little.
        limit: seconds after which the process is ended.
    """

    loader: str
    dtype: str
    mode: str
    digest: bool = False
    pipeline_class: str = "auto"
    packages: Path | None = None
    memory: bool = False
    limit: float = 1800.0


@dataclass(frozen=True)
class Run:
    """What came out of one load.

    Attributes:
        loader: as in the request.
        mode: as in the request.
        dtype: as in the request.
        seconds: wall-clock seconds by stage: interpreter, torch, library, load, total, first_read; and load_user and
            load_system, the processor time of the load.
        peak_rss_bytes: largest resident memory until the pipeline was ready.
        page_cache: state of the model's files before the process started, and after it ended.
        digest: of the pipeline, when it was asked for.
        report: warpload's own report, else empty.
        components: who loaded each component, for warpload.
        anonymous_bytes: by how much memory that no file gives grew at most, first reads included; None where it was not
            watched.
        versions: of the contender's packages, in the mode "files".
    """

    loader: str
    mode: str
    dtype: str
    seconds: dict[str, float]
    peak_rss_bytes: int
    page_cache: tuple[str, str]
    digest: Digest | None = None
    report: str = ""
    components: dict[str, str] = field(default_factory=dict)
    anonymous_bytes: int | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some runs, in seconds."""

    median: float
    smallest: float
    largest: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Summarize at least one value."""
        return Spread(statistics.median(values), min(values), max(values), len(values))


def median_seconds(runs: Sequence[Run], *stages: str) -> float:
    """Return the median over runs of the sum of some stages, in seconds."""
    return statistics.median(sum(run.seconds[stage] for stage in stages) for run in runs)


class Conditions:
    """The state that every load of one pipeline finds the machine in; a context manager.

    Warm: the model's files are in the page cache; locked there where this process may and memory is ample, else read
    before each load. Cold: they are dropped from it before each load. In both, memory for the result is kept backed.

    Args:
        model: folder of the pipeline.
        cold: the state of the page cache.
        files: that are loaded; by default all with weights in the folder.
        like: files in safetensors that have the same tensors, where those are in another format.
    """

    def __init__(
        self,
        model: Path,
        *,
        cold: bool = False,
        files: Sequence[Path] | None = None,
        like: Sequence[Path] | None = None,
    ) -> None:
        self.model = model
        self.cold = cold
        self._files = weights.weight_files(model) if files is None else list(files)
        self._like = self._files if like is None else list(like)
        self._reserve = MemoryReserve()
        may_pin = not cold and weights.total_size(self._files) <= machine.available_memory() // 2
        self._pins = page_cache.PinnedFiles(self._files if may_pin else [])
        self._pinned = may_pin and self._pins.pinned
        if self._pinned:
            # In a virtual machine pages that came from the disk cost more when the processor first reads them.
            page_cache.warm(self._files)

    def __enter__(self) -> Conditions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pins.close()
        self._reserve.__exit__(kind, error, traceback)

    def expected_memory(self, dtype: str) -> int:
        """Return the bytes that loading the pipeline in that dtype is expected to allocate."""
        return weights.result_bytes(self._like, element_size(dtype)) + _PROCESS_BYTES

    def room(self) -> int:
        """Return the bytes that can be allocated beside the model's files in the page cache."""
        # Locked pages do not count as available; others do, although they are to stay.
        files = 0 if self._pinned or self.cold else weights.total_size(self._files)
        return machine.available_memory() + self._reserve.held - files

    def description(self) -> str:
        """Return how the state is kept, in words."""
        files = "locked in the page cache" if self._pinned else "read" if not self.cold else "dropped"
        return f"files {files}{'' if self._pinned else ' before each run'}; memory kept backed"

    def prepare(self, dtype: str) -> page_cache.CacheState:
        """Bring the machine in the state for a load in that dtype; returns what the page cache really holds."""
        self._reserve.refill(self.expected_memory(dtype))
        if self.cold:
            return page_cache.evict(self._files)
        if self._pinned:
            return self.cache_state()
        return page_cache.warm(self._files)

    def cache_state(self) -> page_cache.CacheState:
        """Return what the page cache holds of the model's files now."""
        return page_cache.cache_state(self._files)


def run_contender(request: Request, conditions: Conditions) -> Run:
    """Ready the machine, run one load in a fresh process, and return what it measured.

    Raises:
        ContenderError: the process failed, or its packages are not installed.
    """
    before = conditions.prepare(request.dtype)
    command = _command(request, conditions)
    result, sampler = run_process(command, limit=request.limit, watched=request.memory)
    if "missing" in result:
        raise NotInstalledError(result["missing"])
    digest = result.get("digest")
    anonymous = result["anonymous"]
    return Run(
        loader=request.loader,
        mode=request.mode,
        dtype=request.dtype,
        seconds=result["seconds"],
        peak_rss_bytes=result["peak_rss_bytes"],
        page_cache=(str(before), str(conditions.cache_state())),
        digest=Digest(**digest) if digest else None,
        report=result.get("report", ""),
        components=result.get("components", {}),
        anonymous_bytes=sampler.peak(anonymous["until_ns"]) - anonymous["before"] if sampler else None,
        versions=result.get("versions", {}),
    )


@dataclass(frozen=True)
class Conversion:
    """What making the files of a contender's own format took.

    Attributes:
        seconds: of the writing alone, until the bytes are on the disk.
        byte_count: of the files.
    """

    seconds: float
    byte_count: int


def convert(loader: str, model: Path, target: Path, packages: Path | None, *, limit: float = 1800.0) -> Conversion:
    """Write a pipeline's weights in a contender's own format, in a process of its own.

    Raises:
        ContenderError: it failed, or its packages are not installed.
    """
    command = [
        *(sys.executable, file_contender.__file__, "--loader", loader, "--model", str(model)),
        *("--convert", str(target), *_packages(packages)),
    ]
    result, _ = run_process(command, limit=limit)
    if "missing" in result:
        raise NotInstalledError(result["missing"])
    return Conversion(result["seconds"]["convert"], result["bytes"])


def _command(request: Request, conditions: Conditions) -> list[str]:
    program = file_contender if request.mode == "files" else contender
    common = [
        *(sys.executable, str(program.__file__), "--loader", request.loader, "--model", str(conditions.model)),
        *("--dtype", request.dtype, *(["--digest"] if request.digest else [])),
    ]
    if request.mode == "files":
        return [*common, *(["--cold"] if conditions.cold else []), *_packages(request.packages)]
    return [*common, "--mode", request.mode, "--pipeline-class", request.pipeline_class, "--cache", "as-is"]


def _packages(folder: Path | None) -> list[str]:
    return [] if folder is None else ["--packages", str(folder.absolute())]
