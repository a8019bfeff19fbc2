"""The pipelines that are loaded: Stable Diffusion XL in float16, and a large one of FLUX.1's architecture in bfloat16.

Random weights under the published names, shapes and dtypes. The large one has as many layers as the machine has room
for: 34 GB with all of them, 20 to 40 GB wherever that fits, less elsewhere, and the results say which.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warpload.demo import architecture, synthetic
from warpload.demo.tokenizer_files import write_tokenizer
from warpload.measuring import machine, weights

if TYPE_CHECKING:
    import torch

MARKER = "warpload_large.json"
_SPARE_DISK = 3 * 10**9
_SPARE_MEMORY = 8 * 10**9
_SPARE_DEVICE = 4 * 10**9
_SHARD_BYTES = 5 * 10**9
_POOL_BYTES = 64 << 20
_WRITERS = 8


@dataclass(frozen=True)
class Model:
    """A pipeline on the disk.

    Attributes:
        name: in the results.
        folder: of the pipeline.
        dtype: of the files, by torch's name.
    """

    name: str
    folder: Path
    dtype: str

    @property
    def key(self) -> str:
        """The name of the folder, "sdxl" or "large": a short one for the journal."""
        return self.folder.name

    @property
    def files(self) -> list[Path]:
        """All files with weights."""
        return weights.weight_files(self.folder)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors; the headers do not count."""
        return sum(sum(weights.bytes_by_dtype(path).values()) for path in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return it as the results have it."""
        return {"name": self.name, "dtype": self.dtype, "bytes": self.nbytes, "files": len(self.files)}


@dataclass(frozen=True)
class LargeScale:
    """How many layers the large pipeline has; `width` divides the sizes of a pipeline for tests."""

    double_layers: int = 19
    single_layers: int = 38
    text_layers: int = 24
    width: int = 1

    def to_name(self) -> str:
        """Return the name that every output states."""
        if self == LargeScale():
            return "FLUX.1-shaped, full size"
        layers = f"{self.double_layers}+{self.single_layers} layers, {self.text_layers} of the text encoder"
        return f"FLUX.1-shaped, {layers}" + (f", 1/{self.width} of the width" if self.width > 1 else "")


LARGE_SCALES = (LargeScale(), LargeScale(14, 28, 16), LargeScale(8, 16, 8), LargeScale(3, 6, 4), LargeScale(1, 2, 1))
_SDXL_SCALES = {scale.name: scale for scale in (*architecture.SCALES, architecture.TINY)}
TINY_LARGE = LargeScale(1, 2, 1, width=32)


def write_model(key: str, models: Path, device: str, scale: str, limit: float) -> Model:
    """Write a pipeline that fits here, unless it is there.

    Args:
        key: "sdxl" or "large".
        models: folder of all pipelines.
        device: that it will be loaded to.
        scale: "auto" or "tiny".
        limit: the most bytes that the large one has.
    """
    models.mkdir(parents=True, exist_ok=True)
    folder = models / key
    if key == "large":
        chosen = TINY_LARGE if scale == "tiny" else choose_large(folder, _device_bytes(device), limit)
        return flux(folder, chosen)
    held = weights.total_size(weights.weight_files(folder)) if folder.exists() else 0
    room = machine.free_disk(folder) + held
    name = "tiny" if scale == "tiny" else architecture.choose_scale(machine.available_memory(), room).name
    return stable_diffusion_xl(folder, name)


def written_model(key: str, models: Path) -> Model:
    """Return the pipeline that `write_model` wrote.

    Raises:
        FileNotFoundError: there is none.
    """
    folder = models / key
    marker = folder / (MARKER if key == "large" else synthetic.MARKER)
    if not marker.is_file():
        raise FileNotFoundError(f"{folder} holds no complete pipeline: its writing failed or was ended; write it first")
    content = json.loads(marker.read_text(encoding="utf-8"))
    if key == "large":
        return _large_model(folder, LargeScale(**content))
    return _sdxl_model(folder, content["scale"])


def _device_bytes(device: str) -> int:
    """Return the size of the device's memory."""
    if device == "cpu":
        return machine.available_memory() // 2
    import torch

    size: int = torch.cuda.get_device_properties(device).total_memory
    return size


def stable_diffusion_xl(folder: Path, scale: str) -> Model:
    """Write the synthetic Stable Diffusion XL unless it is there."""
    synthetic.write_synthetic_pipeline(folder, scale=_SDXL_SCALES[scale], dtype="float16")
    return _sdxl_model(folder, scale)


def _sdxl_model(folder: Path, scale: str) -> Model:
    return Model(f"{_SDXL_SCALES[scale].description()}, float16", folder, "float16")


def _large_model(folder: Path, scale: LargeScale) -> Model:
    return Model(f"{scale.to_name()}, bfloat16", folder, "bfloat16")


def choose_large(folder: Path, device_bytes: int, limit: float) -> LargeScale:
    """Choose the largest that fits the disk, the page cache, the device and a limit of the caller's, all in bytes.

    Raises:
        OSError: not even the smallest fits.
    """
    held = weights.total_size(weights.weight_files(folder)) if (folder / MARKER).is_file() else 0
    room = min(
        machine.free_disk(folder) + held - _SPARE_DISK,
        machine.available_memory() - _SPARE_MEMORY,
        device_bytes - _SPARE_DEVICE,
        limit,
    )
    for scale in LARGE_SCALES:
        if _nbytes(scale) <= room:
            return scale
    raise OSError(f"no large pipeline fits: there is room for {room / 1e9:.1f} GB")


def flux(folder: Path, scale: LargeScale) -> Model:
    """Write the large pipeline unless exactly that one is there; a folder that has the marker is complete."""
    model = _large_model(folder, scale)
    marker = folder / MARKER
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == asdict(scale):
        return model
    if folder.exists() and not marker.is_file():
        raise FileExistsError(f"{folder} exists and is not complete; delete it or choose another folder")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _write(folder, scale)
        _write_json(marker, asdict(scale))
    except BaseException:  # an interrupt too must not leave gigabytes behind
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return model


def _modules(scale: LargeScale) -> dict[str, torch.nn.Module]:
    """Build the models without memory for their weights."""
    import torch
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    width = scale.width
    t5 = T5Config(
        vocab_size=32128, d_model=4096 // width, d_kv=64, d_ff=10240 // width, num_heads=64 // width,
        num_layers=scale.text_layers, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
    )  # fmt: skip
    clip = CLIPTextConfig(
        vocab_size=49408, hidden_size=768 // width, intermediate_size=3072 // width, num_hidden_layers=12,
        num_attention_heads=12 // min(width, 12), projection_dim=768, hidden_act="quick_gelu",
    )  # fmt: skip
    with torch.device("meta"):
        return {
            "transformer": FluxTransformer2DModel(
                num_layers=scale.double_layers, num_single_layers=scale.single_layers, guidance_embeds=True,
                num_attention_heads=max(1, 24 // width), joint_attention_dim=4096 // width,
                pooled_projection_dim=768 // width,
            ),
            "text_encoder": CLIPTextModel(clip),
            "text_encoder_2": T5EncoderModel(t5),
            "vae": AutoencoderKL(
                block_out_channels=tuple(max(32, size // width) for size in (128, 256, 512, 512)),
                down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
                layers_per_block=2, latent_channels=16, norm_num_groups=32, sample_size=1024, shift_factor=0.1159,
                scaling_factor=0.3611, use_quant_conv=False, use_post_quant_conv=False,
            ),
        }  # fmt: skip


def _tensors(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what a file holds: every parameter once, tied ones under their first name."""
    return {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}


def _nbytes(scale: LargeScale) -> int:
    return sum(2 * math.prod(shape) for module in _modules(scale).values() for shape in _tensors(module).values())


def _write(folder: Path, scale: LargeScale) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler
    from transformers import T5Tokenizer

    jobs: list[tuple[Path, dict[str, tuple[int, ...]]]] = []
    index: dict[str, Any] = {"_class_name": "FluxPipeline", "_diffusers_version": "0.30.0"}
    for name, module in _modules(scale).items():
        library = "transformers" if name.startswith("text_encoder") else "diffusers"
        index[name] = [library, type(module).__name__]
        _save_config(module, folder / name)
        stem = "model" if library == "transformers" else "diffusion_pytorch_model"
        jobs += _shards(folder / name, stem, _tensors(module))
    pool = _random_pool()
    with ThreadPoolExecutor(_WRITERS) as executor:
        list(executor.map(lambda job: _write_safetensors(*job, pool), jobs))
    FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True).save_pretrained(folder / "scheduler")
    write_tokenizer(folder / "tokenizer", 49408, "<|endoftext|>")
    T5Tokenizer(model_max_length=512).save_pretrained(folder / "tokenizer_2")
    index["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    index["tokenizer"] = ["transformers", "CLIPTokenizer"]
    index["tokenizer_2"] = ["transformers", "T5TokenizerFast"]
    _write_json(folder / "model_index.json", index)


def _save_config(module: Any, folder: Path) -> None:
    folder.mkdir(parents=True)
    if hasattr(module, "save_config"):
        module.save_config(folder)
        return
    module.config.architectures = [type(module).__name__]
    module.config.dtype = "bfloat16"
    module.config.save_pretrained(folder)


def _shards(
    folder: Path, stem: str, tensors: dict[str, tuple[int, ...]]
) -> list[tuple[Path, dict[str, tuple[int, ...]]]]:
    """Cut a component in files of about 5 GB, and write the index where there are several."""
    groups: list[dict[str, tuple[int, ...]]] = [{}]
    size = 0
    for name, shape in tensors.items():
        nbytes = 2 * math.prod(shape)
        if size and size + nbytes > _SHARD_BYTES:
            groups.append({})
            size = 0
        groups[-1][name] = shape
        size += nbytes
    if len(groups) == 1:
        return [(folder / f"{stem}.safetensors", tensors)]
    names = [f"{stem}-{number:05d}-of-{len(groups):05d}.safetensors" for number in range(1, len(groups) + 1)]
    weight_map = {name: file for file, group in zip(names, groups, strict=True) for name in group}
    total = sum(2 * math.prod(shape) for shape in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    _write_json(folder / f"{stem}.safetensors.index.json", index)
    return [(folder / file, group) for file, group in zip(names, groups, strict=True)]


def _random_pool() -> memoryview:
    import torch

    values = torch.empty(_POOL_BYTES // 2).normal_(0.0, 0.02, generator=torch.Generator().manual_seed(0))
    return values.to(torch.bfloat16).view(torch.uint8).numpy().data


def _write_safetensors(path: Path, tensors: dict[str, tuple[int, ...]], pool: memoryview) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for number, shape in enumerate(tensors.values()):
            for piece in _cut(pool, 2 * math.prod(shape), number):
                file.write(piece)
        file.flush()
        os.fsync(file.fileno())  # else the kernel would write these gigabytes back while the loads are being timed


def _cut(pool: memoryview, nbytes: int, number: int) -> Iterator[memoryview]:
    """Yield so many bytes of the pool; each tensor begins somewhere else."""
    begin = number * 7919 * 64 % (len(pool) // 2)
    while nbytes:
        piece = pool[begin : begin + min(nbytes, len(pool) - begin)]
        yield piece
        nbytes -= len(piece)
        begin = 0


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
