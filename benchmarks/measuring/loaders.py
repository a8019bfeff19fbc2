"""How each contender loads the tensors of files, and writes the files of its own format where it has one.

Nothing of a contender is imported before it is asked for: each runs in a process of its own, with its own packages.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Tensors = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What a contender is to do with the files of one component.

    Attributes:
        cold: the files are not in the page cache.
        dtype: that floating-point tensors are wanted in, by torch's name; "none" for the files' own.
        device: where the tensors go; the CPU, but for benchmarks/gpu.
    """

    cold: bool
    dtype: str = "none"
    device: str = "cpu"

    @property
    def torch_dtype(self) -> Any:
        """The dtype, or None for the files' own."""
        import torch

        return None if self.dtype == "none" else getattr(torch, self.dtype)


@dataclass(frozen=True)
class FileLoader:
    """A contender's functions.

    Attributes:
        check: imports what the load needs; raises ImportError or OSError where this installation cannot do it.
        load: `(files, job) -> (tensors, what must live as long)`.
        convert: `(tensors, file)` writes its own format.
        casts: whether it casts by itself; else torch does afterwards, tensor by tensor, as its user would.
    """

    check: Callable[[], Any]
    load: Callable[[Sequence[Path], Job], tuple[Tensors, Any]]
    convert: Callable[[Tensors, Path], None] | None = None
    casts: bool = False


def load_component(loader: FileLoader, files: Sequence[Path], job: Job) -> tuple[Tensors, Any]:
    """Load one component's files, cast where that is wanted."""
    tensors, owner = loader.load(files, job)
    wanted = None if loader.casts else job.torch_dtype
    if wanted is not None:
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                tensors[name] = tensor.to(wanted)  # one by one, so that no more than needed is there twice
    return tensors, owner


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _check_warpload() -> None:
    import torch  # noqa: F401

    import warpload

    _ = warpload.load_file  # comes when it is first asked for


def _warpload(files: Sequence[Path], job: Job) -> tuple[Tensors, None]:
    import warpload

    return warpload.load_file(list(files) if len(files) > 1 else files[0], dtype=job.torch_dtype), None


def _check_safetensors() -> None:
    import safetensors.torch  # noqa: F401


def _check_safetensors_0_9() -> None:
    import safetensors.torch

    if tuple(int(part) for part in safetensors.__version__.split(".")[:2]) < (0, 9):
        raise ImportError(f"safetensors here is {safetensors.__version__}")


def _safetensors(files: Sequence[Path], job: Job) -> tuple[Tensors, None]:
    from safetensors.torch import load_file

    tensors: Tensors = {}
    for path in files:
        tensors.update(load_file(path, backend="pread" if job.cold else "mmap"))
    return tensors, None


def _check_fastsafetensors() -> None:
    import torch  # noqa: F401
    from fastsafetensors import SafeTensorsFileLoader  # noqa: F401


def _fastsafetensors(files: Sequence[Path], job: Job) -> tuple[Tensors, Any]:
    from fastsafetensors import SafeTensorsFileLoader

    os.environ["FASTSAFETENSORS_ODIRECT"] = "1" if job.cold else "0"
    loader = SafeTensorsFileLoader(None, job.device, nogds=True, max_threads=_cores())
    loader.add_filenames({0: [str(path) for path in files]})
    buffers = loader.copy_files_to_device()
    return {name: buffers.get_tensor(name) for name in loader.get_keys()}, (loader, buffers)


def _check_runai_streamer() -> None:
    from runai_model_streamer import SafetensorsStreamer  # noqa: F401


def _runai_streamer(files: Sequence[Path], job: Job) -> tuple[Tensors, None]:
    from runai_model_streamer import SafetensorsStreamer

    if not job.cold:
        os.environ["RUNAI_STREAMER_FS_STRATEGY"] = "sync_buffered"
        os.environ["RUNAI_STREAMER_CONCURRENCY"] = str(_cores())
    with SafetensorsStreamer() as streamer:
        streamer.stream_files([str(path) for path in files], device=job.device)
        return dict(streamer.get_tensors()), None


def _check_flashpack() -> None:
    import torch  # noqa: F401
    from flashpack.deserialization import read_flashpack_file  # noqa: F401


def _flashpack(files: Sequence[Path], job: Job) -> tuple[Tensors, Any]:
    from flashpack.deserialization import iterate_from_flash_tensor, read_flashpack_file

    os.environ["FLASHPACK_CPU_PARALLEL_READ"] = "1" if job.cold else "0"
    (file,) = files
    storage, metadata = read_flashpack_file(str(file), device="cpu")
    return dict(iterate_from_flash_tensor(storage, metadata)), storage


def _to_flashpack(tensors: Tensors, file: Path) -> None:
    from flashpack.serialization import pack_to_file

    pack_to_file(tensors, str(file), None)


def _check_tensorizer() -> None:
    from tensorizer import TensorDeserializer  # noqa: F401


def _tensorizer(files: Sequence[Path], _: Job) -> tuple[Tensors, None]:
    from tensorizer import TensorDeserializer

    (file,) = files
    with TensorDeserializer(str(file), device="cpu", num_readers=_cores()) as deserializer:
        return dict(deserializer.items()), None


def _to_tensorizer(tensors: Tensors, file: Path) -> None:
    from tensorizer import TensorSerializer

    serializer = TensorSerializer(str(file))
    serializer.write_state_dict(tensors)
    serializer.close()


def _check_instanttensor() -> None:
    from instanttensor import safe_open  # noqa: F401


def _instanttensor(files: Sequence[Path], job: Job) -> tuple[Tensors, None]:
    from instanttensor import BackendPolicy, safe_open

    backend = None if job.cold else BackendPolicy.BUFFERED
    with safe_open([str(path) for path in files], framework="pt", device=job.device, backend=backend) as opened:
        return dict(opened.tensors()), None


FILE_LOADERS: dict[str, FileLoader] = {
    "warpload": FileLoader(_check_warpload, _warpload, casts=True),
    "safetensors": FileLoader(_check_safetensors, _safetensors),
    "safetensors-0.9": FileLoader(_check_safetensors_0_9, _safetensors),
    "fastsafetensors": FileLoader(_check_fastsafetensors, _fastsafetensors),
    "runai-streamer": FileLoader(_check_runai_streamer, _runai_streamer),
    "flashpack": FileLoader(_check_flashpack, _flashpack, convert=_to_flashpack),
    "tensorizer": FileLoader(_check_tensorizer, _tensorizer, convert=_to_tensorizer),
    "instanttensor": FileLoader(_check_instanttensor, _instanttensor),
}
