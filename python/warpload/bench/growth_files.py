"""The synthetic files that the scenario "growth" loads: more bytes, tensors, shards or components, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from warpload.demo.architecture import TINY, build_on_meta
from warpload.demo.synthetic import Pool, StoredTensor, write_component, write_json
from warpload.measuring.contenders import FILES, PIPELINE
from warpload.measuring.growing_pipeline import component_name
from warpload.measuring.measure import Point

_DTYPE, _CODE, _ELEMENT_SIZE = "float16", "F16", 2
# Of the files whose tensors do not grow in number.
_TENSORS = 128


@dataclass(frozen=True)
class GrowthSizes:
    """The amounts of each axis.

    Attributes:
        unit_bytes: of the files that do not grow in bytes.
        factors: of the bytes.
        tensors: numbers of tensors.
        shards: numbers of files.
        components: numbers of models.
    """

    unit_bytes: int
    factors: tuple[int, ...]
    tensors: tuple[int, ...]
    shards: tuple[int, ...]
    components: tuple[int, ...]


SIZES = GrowthSizes(256 << 20, (1, 2, 4, 8), (100, 1_000, 10_000, 50_000), (1, 4, 16, 64), (1, 2, 4, 8))
TINY_SIZES = GrowthSizes(256 << 10, (1, 2), (100, 200), (1, 2), (1, 2))  # for tests


def write_growth_files(folder: Path, sizes: GrowthSizes, axes: tuple[str, ...]) -> tuple[Point, ...]:
    """Write the files of some axes and return the points along them, each axis in rising order."""
    pool = Pool(_DTYPE, 0)
    points: list[Point] = []
    for axis in axes:
        points.extend(_WRITERS[axis](folder, sizes, pool))
    return tuple(points)


def _bytes(folder: Path, sizes: GrowthSizes, pool: Pool) -> Iterator[Point]:
    for factor in sizes.factors:
        place = folder / f"bytes-{factor}"
        written = _write(place, sizes.unit_bytes * factor, _TENSORS, 1, pool)
        yield Point("bytes", written / 1e9, place, FILES)


def _tensors(folder: Path, sizes: GrowthSizes, pool: Pool) -> Iterator[Point]:
    for count in sizes.tensors:
        place = folder / f"tensors-{count}"
        _write(place, sizes.unit_bytes, count, 1, pool)
        yield Point("tensors", count, place, FILES)


def _shards(folder: Path, sizes: GrowthSizes, pool: Pool) -> Iterator[Point]:
    for count in sizes.shards:
        place = folder / f"shards-{count}"
        _write(place, sizes.unit_bytes, _TENSORS, count, pool)
        yield Point("shards", count, place, FILES)


def _components(folder: Path, sizes: GrowthSizes, pool: Pool) -> Iterator[Point]:
    vae = build_on_meta(TINY)["vae"]
    stored = [StoredTensor(name, _CODE, tuple(tensor.shape)) for name, tensor in vae.state_dict().items()]
    for count in sizes.components:
        place = folder / f"components-{count}"
        names = [component_name(number) for number in range(count)]
        for name in names:
            (place / name).mkdir(parents=True)
            write_component(place / name, "diffusion_pytorch_model", stored, 1, pool, lambda _: None)
            write_json(place / name / "config.json", TINY.config("vae"))
        entries = {name: ["diffusers", "AutoencoderKL"] for name in names}
        write_json(place / "model_index.json", {"_class_name": "GrowingPipeline", **entries})
        yield Point("components", count, place, PIPELINE, pipeline_class=f"growing:{count}")


_WRITERS = {"bytes": _bytes, "tensors": _tensors, "shards": _shards, "components": _components}


def _write(folder: Path, byte_count: int, tensors: int, shards: int, pool: Pool) -> int:
    """Write one component of tensors of equal size; returns the bytes that they have."""
    elements = max(1, byte_count // tensors // _ELEMENT_SIZE)
    # Names are as long as those of models, which are most of a header's bytes.
    stored = [
        StoredTensor(f"transformer_blocks.{number // 16}.attn.part_{number % 16:02}.weight", _CODE, (elements,))
        for number in range(tensors)
    ]
    (folder / "model").mkdir(parents=True)
    write_component(folder / "model", "model", stored, shards, pool, lambda _: None)
    return elements * _ELEMENT_SIZE * tensors
