"""Writes a pipeline of Stable Diffusion XL's architecture with random weights.

The folder has the form of the published repository, so that `StableDiffusionXLPipeline.from_pretrained(folder)` loads
it and could generate (noise). No weights are fetched from anywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warpload.demo.architecture import FULL, MODEL_INDEX, SCHEDULER, Scale, build_on_meta
from warpload.demo.tokenizer_files import write_tokenizer

if TYPE_CHECKING:
    import numpy
    import torch

MARKER = "warpload_synthetic.json"

_FORMAT_VERSION = 1
_POOL_ELEMENTS = 16 * 1024 * 1024
_STANDARD_DEVIATION = 0.02
_WRITE_ELEMENTS = 4 * 1024 * 1024
_DTYPE_CODES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
_CODE_SIZES = {"F16": 2, "BF16": 2, "F32": 4, "I64": 8}

# Called with the bytes written so far and the bytes that will be written.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SyntheticModel:
    """What a synthetic pipeline is made of; two equal ones have the same bytes.

    Attributes:
        scale: name of the scale.
        parameters: number of parameters.
        dtype: "float16", "bfloat16" or "float32".
        seed: of the random weights.
        shards: number of files that the UNet's weights are in; 1 as in the published repository.
        format_version: of this writer.
    """

    scale: str
    parameters: int
    dtype: str
    seed: int
    shards: int
    format_version: int = _FORMAT_VERSION


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a file that is to be written.

    Attributes:
        name: in the file.
        code: of its dtype, as the format has it.
        shape: its extents.
    """

    name: str
    code: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many it has."""
        return prod(self.shape)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.elements * _CODE_SIZES[self.code]


def write_synthetic_pipeline(
    folder: Path,
    *,
    scale: Scale = FULL,
    dtype: str = "float16",
    seed: int = 0,
    shards: int = 1,
    progress: Progress | None = None,
) -> bool:
    """Write the pipeline, unless the folder holds exactly this one already.

    The weights go to a folder beside it, which takes the name at the end: a folder of that name is complete.

    Args:
        folder: the pipeline's folder. A synthetic pipeline with other parameters that it holds is replaced.
        scale: the size of the models.
        dtype: of the weights in the files: "float16", "bfloat16" or "float32".
        seed: of the random weights.
        shards: number of files for the UNet's weights.
        progress: is told the bytes written.

    Returns:
        True when it was written, False when the folder was complete.

    Raises:
        ValueError: an unknown dtype, or fewer than one shard.
        FileExistsError: the folder holds something else, which is left alone.
        OSError: writing failed; nothing is left behind.
    """
    if dtype not in _DTYPE_CODES:
        raise ValueError(f"dtype is {dtype!r}, not one of {', '.join(_DTYPE_CODES)}")
    if shards < 1:
        raise ValueError(f"shards is {shards}, not at least 1")
    model = SyntheticModel(scale.name, scale.parameters, dtype, seed, shards)
    if read_marker(folder) == model:
        return False
    _refuse_foreign_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        _write_contents(temporary, scale, model, progress)
        write_json(temporary / MARKER, asdict(model))
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except BaseException:  # an interrupt too must not leave gigabytes behind
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return True


def read_marker(folder: Path) -> SyntheticModel | None:
    """Return what the synthetic pipeline in `folder` is made of; None when there is no complete one."""
    try:
        return SyntheticModel(**json.loads((folder / MARKER).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, TypeError, ValueError):
        return None


def _refuse_foreign_folder(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARKER).exists()):
        raise FileExistsError(f"{folder} exists and is not a synthetic pipeline of warpload's; choose another folder")


def _write_contents(folder: Path, scale: Scale, model: SyntheticModel, progress: Progress | None) -> None:
    components = {
        name: _tensors(name, module, _DTYPE_CODES[model.dtype]) for name, module in build_on_meta(scale).items()
    }
    total = sum(tensor.size for tensors in components.values() for tensor in tensors)
    written = 0

    def advance(byte_count: int) -> None:
        nonlocal written
        written += byte_count
        if progress is not None:
            progress(written, total)

    pool = Pool(model.dtype, model.seed)
    for name, tensors in components.items():
        component_folder = folder / name
        component_folder.mkdir()
        config = scale.config(name)
        if "torch_dtype" in config:
            config["torch_dtype"] = model.dtype
        write_json(component_folder / "config.json", config)
        stem = "model" if name.startswith("text_encoder") else "diffusion_pytorch_model"
        shards = model.shards if name == "unet" else 1
        write_component(component_folder, stem, tensors, shards, pool, advance)
    (folder / "scheduler").mkdir()
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    write_tokenizer(folder / "tokenizer", scale.config("text_encoder")["vocab_size"], "<|endoftext|>")
    write_tokenizer(folder / "tokenizer_2", scale.config("text_encoder_2")["vocab_size"], "!")
    write_json(folder / "model_index.json", MODEL_INDEX)


def _tensors(component: str, module: torch.nn.Module, code: str) -> list[StoredTensor]:
    """List the tensors of a component's files, under the names that published repositories use."""
    # transformers 5 dropped the prefix from CLIPTextModel's own names; the files on the Hub still have it.
    prefix = "text_model." if component == "text_encoder" else ""
    tensors = []
    for own_name, tensor in module.state_dict().items():
        name = own_name if own_name.startswith(prefix) else prefix + own_name
        tensors.append(StoredTensor(name, code, tuple(tensor.shape)))
    if component == "text_encoder":
        # Files that older versions of transformers saved hold this buffer; those of newer ones do not.
        positions = next(tensor.shape[0] for tensor in tensors if tensor.name.endswith("position_embedding.weight"))
        tensors.append(StoredTensor("text_model.embeddings.position_ids", "I64", (1, positions)))
    # The order of the safetensors package: larger elements first, so that all are aligned, then by name.
    return sorted(tensors, key=lambda tensor: (-_CODE_SIZES[tensor.code], tensor.name))


def write_component(
    folder: Path, stem: str, tensors: Sequence[StoredTensor], shards: int, pool: Pool, advance: Callable[[int], None]
) -> None:
    """Write a component's weights: one file, or shards with an index.

    Args:
        folder: of the component; it is there.
        stem: of the files' names.
        tensors: in the order of the files.
        shards: number of files.
        pool: of random numbers.
        advance: is told how many bytes were written.
    """
    if shards == 1:
        _write_safetensors(folder / f"{stem}.safetensors", tensors, pool, advance)
        return
    weight_map = {}
    for number, group in enumerate(_split(tensors, shards), start=1):
        file_name = f"{stem}-{number:05d}-of-{shards:05d}.safetensors"
        _write_safetensors(folder / file_name, group, pool, advance)
        weight_map.update({tensor.name: file_name for tensor in group})
    total = sum(tensor.size for tensor in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / f"{stem}.safetensors.index.json", index)


def _split(tensors: Sequence[StoredTensor], shards: int) -> list[list[StoredTensor]]:
    """Cut the list in `shards` runs of about the same number of bytes."""
    total = sum(tensor.size for tensor in tensors)
    groups: list[list[StoredTensor]] = [[] for _ in range(shards)]
    begin = 0
    for tensor in tensors:
        groups[min(begin * shards // total, shards - 1)].append(tensor)
        begin += tensor.size
    return groups


def _write_safetensors(path: Path, tensors: Iterable[StoredTensor], pool: Pool, advance: Callable[[int], None]) -> None:
    """Write one file piece by piece; memory stays at one piece, however large the tensors are."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.size
        header[tensor.name] = {"dtype": tensor.code, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in tensors:
            for piece in pool.pieces(tensor):
                file.write(piece)
                advance(len(piece))
        file.flush()
        # Without it the kernel would write these gigabytes back while the loads are being timed.
        os.fsync(file.fileno())


class Pool:
    """Random numbers, drawn once; every tensor is cut from them at a random place of its own."""

    def __init__(self, dtype: str, seed: int) -> None:
        import numpy
        import torch

        generator = torch.Generator().manual_seed(seed)
        values = torch.empty(_POOL_ELEMENTS).normal_(0.0, _STANDARD_DEVIATION, generator=generator)
        target = getattr(torch, dtype)
        self._values = _as_bytes(values.to(target))
        self._norm_values = _as_bytes((values[: _POOL_ELEMENTS // 16] + 1.0).to(target))
        self._element_size = target.itemsize
        self._random = numpy.random.default_rng(seed)

    def pieces(self, tensor: StoredTensor) -> Iterator[memoryview]:
        """Yield the tensor's bytes, in pieces of at most 16 MiB."""
        import numpy

        if tensor.code == "I64":
            yield numpy.arange(tensor.elements, dtype="<i8").view(numpy.uint8).data
            return
        # In these models one-dimensional weights are scales of normalizations.
        is_norm = len(tensor.shape) == 1 and tensor.name.endswith(".weight")
        source = self._norm_values if is_norm else self._values
        longest = min(_WRITE_ELEMENTS, len(source) // self._element_size // 2)
        remaining = tensor.elements
        while remaining:
            count = min(remaining, longest)
            start = int(self._random.integers(len(source) // self._element_size - count + 1))
            yield source[start * self._element_size : (start + count) * self._element_size].data
            remaining -= count


def _as_bytes(values: torch.Tensor) -> numpy.ndarray[Any, Any]:
    import torch

    array: numpy.ndarray[Any, Any] = values.view(torch.uint8).numpy()
    return array


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a dictionary as the libraries write theirs."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
