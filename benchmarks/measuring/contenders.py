"""The one table of contenders on the CPU: what each is, which packages it is made of, and its best settings.

The settings are those that each one's own documentation, or source where that is silent, gives for the state of the
page cache; `loaders` applies them. Imports only the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FILES, PIPELINE = "files", "pipeline"
OWN = "warpload"
FLOOR = "floor"


@dataclass(frozen=True)
class Contender:
    """One who loads.

    Attributes:
        name: in results and on the command line.
        what: it does, in words.
        kinds: what it makes: tensors of files (FILES), pipelines (PIPELINE), or both.
        warm: settings where the files are in the page cache, in words.
        cold: settings where they are not.
        distributions: packages that it is made of, as they are named for pip.
        requirement: for pip, where nothing that warpload requires brings it; else empty.
        suffix: of the files in a format of its own, which are made before it can load; else empty.
        needs_gpu: it loads to GPUs only.
    """

    name: str
    what: str
    kinds: tuple[str, ...]
    warm: str
    cold: str
    distributions: tuple[str, ...]
    requirement: str = ""
    suffix: str = ""
    needs_gpu: bool = False

    def settings(self, *, cold: bool) -> str:
        """Return the settings for a state of the page cache, in words."""
        return self.cold if cold else self.warm

    @property
    def cure(self) -> str:
        """What to do where it is not installed."""
        if self.name == FLOOR:
            return "build warpload_floor (benchmarks/README.md has the commands) and name it by --floor"
        if self.distributions[0] == "safetensors":  # warpload requires another version
            return f"pip install --no-deps --target FOLDER/{self.name} '{self.requirement}', then --packages FOLDER"
        return f"pip install '{self.requirement}'; or `make bench-contenders`, then --packages build/contenders"


_DIFFUSERS = ("diffusers", "transformers", "accelerate", "safetensors", "torch")

CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender(
            name=OWN,
            what="warpload.DiffusionPipeline.from_pretrained; of files, warpload.load_file of each component",
            kinds=(FILES, PIPELINE),
            warm="none",
            cold="none",
            distributions=("warpload", *_DIFFUSERS),
        ),
        Contender(
            name="stock",
            what="diffusers.DiffusionPipeline.from_pretrained",
            kinds=(PIPELINE,),
            warm="none",
            cold="none",
            distributions=_DIFFUSERS,
        ),
        Contender(
            name="stock-parallel",
            what="the same with parallel loading, which diffusers heeds for sharded models",
            kinds=(PIPELINE,),
            warm="HF_ENABLE_PARALLEL_LOADING=1",
            cold="HF_ENABLE_PARALLEL_LOADING=1",
            distributions=_DIFFUSERS,
        ),
        Contender(
            name="safetensors",
            what="safetensors.torch.load_file of each file, the release that warpload requires",
            kinds=(FILES,),
            warm="backend mmap (its default)",
            cold="backend pread",
            distributions=("safetensors", "torch"),
        ),
        Contender(
            name="safetensors-0.9",
            what="the same of the candidate for 0.9, whose prefetch is for GPUs only",
            kinds=(FILES,),
            warm="backend mmap (its default)",
            cold="backend pread",
            distributions=("safetensors", "torch"),
            requirement="safetensors>=0.9.0rc1",
        ),
        Contender(
            name="fastsafetensors",
            what="SafeTensorsFileLoader of a component's files, without GDS",
            kinds=(FILES,),
            warm="FASTSAFETENSORS_ODIRECT=0, a thread a core",
            cold="FASTSAFETENSORS_ODIRECT=1, a thread a core",
            distributions=("fastsafetensors", "torch"),
            requirement="fastsafetensors",
        ),
        Contender(
            name="runai-streamer",
            what="SafetensorsStreamer of a component's files",
            kinds=(FILES,),
            warm="RUNAI_STREAMER_FS_STRATEGY=sync_buffered, RUNAI_STREAMER_CONCURRENCY: a thread a core",
            cold="its defaults (reads around the page cache)",
            distributions=("runai-model-streamer", "torch"),
            requirement="runai-model-streamer",
        ),
        Contender(
            name="flashpack",
            what="read_flashpack_file of one file a component, in its own format",
            kinds=(FILES,),
            warm="views of the mapped file (its default)",
            cold="FLASHPACK_CPU_PARALLEL_READ=1",
            distributions=("flashpack", "torch"),
            requirement="flashpack",
            suffix=".flashpack",
        ),
        Contender(
            name="tensorizer",
            what="TensorDeserializer of one file a component, in its own format",
            kinds=(FILES,),
            warm="num_readers: a thread a core",
            cold="num_readers: a thread a core",
            distributions=("tensorizer", "torch"),
            requirement="tensorizer",
            suffix=".tensors",
        ),
        Contender(
            name="instanttensor",
            what="safe_open of a component's files; to GPUs only",
            kinds=(FILES,),
            warm="BackendPolicy.BUFFERED",
            cold="its default (reads around the page cache)",
            distributions=("instanttensor", "torch"),
            requirement="instanttensor",
            needs_gpu=True,
        ),
        Contender(
            name=FLOOR,
            what="bare threads that read the same bytes and cast or copy them: no Python, no tensors; the least work",
            kinds=(FILES,),
            warm="a thread a core",
            cold="a thread a core",
            distributions=(),
        ),
    )
}


def package_folder(packages: Path | None, name: str) -> Path | None:
    """Return the folder with a contender's own packages, which come before the installed ones; None without one."""
    folder = packages / name if packages is not None else None
    return folder if folder is not None and folder.is_dir() else None
