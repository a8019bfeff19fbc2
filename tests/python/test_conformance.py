"""Every family of pipelines loads as with stock: in every dtype, sharded, as a variant, its weights from the core.

Families are in ``families``; docs/compatibility.md names those that cannot be built here. A usual run takes as many as
have each model class and each shape of an index between them; the others are marked ``nightly``: `make test-families`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

import warpload
from families.registry import families_by_name, kinds_of, one_of_each_kind, unavailable
from support.compare import assert_same_pipeline
from support.parts import Part, Pipeline
from support.said import with_warnings
from support.versions import is_pinned

FAMILIES = families_by_name()
CHOSEN = one_of_each_kind(FAMILIES)

# Families of which stock itself must place some component, with the reason that the report gives.
PLACED_BY_STOCK = {
    "cosmos-3-omni-with-sound": {"sound_tokenizer": "its own _fix_state_dict_keys_on_load"},
    # The pipeline gives its controlnet parts of the transformer; saved, they are keys that the class does not have.
    "z-image-controlnet": {"controlnet": "unexpected keys"},
    "z-image-controlnet-inpaint": {"controlnet": "unexpected keys"},
}

ALWAYS = frozenset(CHOSEN) | PLACED_BY_STOCK.keys()
# What pipelines make of the models that they are given.
MADE = {"MultiControlNetModel", "UNetControlNetXSModel", "UNetMotionModel"}

REQUIRED = """
animate-diff audioldm2 aura-flow chroma cogvideox cogvideox-image-to-video consistency-model ddpm deepfloyd-if
deepfloyd-if-super-resolution dit flux flux-2 flux-2-klein flux-controlnet flux-img2img hidream hunyuan-dit
hunyuan-video hunyuan-video-image-to-video kandinsky kandinsky-2-2 kandinsky-2-2-combined kandinsky-3
kandinsky-5-text-to-image kolors ldm-super-resolution ltx ltx-image-to-video lumina-2 marigold-depth
marigold-normals pixart-alpha pixart-sigma pixart-sigma-pag qwen-image qwen-image-edit qwen-image-edit-plus
qwen-image-img2img qwen-image-inpaint sana sana-pag stable-audio stable-cascade-prior stable-diffusion
stable-diffusion-3 stable-diffusion-3-pag stable-diffusion-controlnet stable-diffusion-controlnet-two
stable-diffusion-latent-upscale stable-diffusion-pag stable-diffusion-upscale stable-diffusion-xl
stable-diffusion-xl-controlnet stable-diffusion-xl-pag stable-diffusion-xl-refiner stable-video-diffusion
wan-2.1-image-to-video wan-2.1-text-to-video wan-2.2-image-to-video wan-2.2-text-to-video z-image
"""


@pytest.fixture(
    scope="module",
    params=[name if name in ALWAYS else pytest.param(name, marks=pytest.mark.nightly) for name in FAMILIES],
)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Return a family's name and the folder of its pipeline in float32, which the next family's replaces."""
    name = request.param
    folder = tmp_path_factory.mktemp("family") / name
    try:
        pipeline = FAMILIES[name]()
    except (AttributeError, ImportError, RuntimeError) as error:
        if is_pinned():
            raise
        pytest.skip(f"these versions of the libraries lack a class of {name}: {error}")
    pipeline.save_pretrained(folder)
    DiffusionPipeline.from_pretrained(folder)  # what the libraries say only once in a process is said here
    yield name, folder
    shutil.rmtree(folder)


def models_of(pipeline: DiffusionPipeline) -> list[str]:
    return [name for name, value in pipeline.components.items() if isinstance(value, torch.nn.Module)]


def assert_conforms(name: str, folder: Path, **arguments: Any) -> None:
    """Fail unless both loaders give the same pipeline and warnings, and the core has loaded all weights."""
    stock, expected = with_warnings(lambda: DiffusionPipeline.from_pretrained(folder, **arguments))
    ours, said = with_warnings(lambda: warpload.DiffusionPipeline.from_pretrained(folder, **arguments))

    assert_same_pipeline(ours, stock)
    assert said == expected
    report = warpload.last_report()
    assert report is not None
    assert set(report.components.values()) <= {"native"}
    for component in models_of(stock):  # several in one component are numbered: controlnet, controlnet_1
        assert any(loaded.startswith(component) for loaded in report.components), component
    assert report.placed_by_stock.keys() == PLACED_BY_STOCK.get(name, {}).keys()
    for component, reason in PLACED_BY_STOCK.get(name, {}).items():
        assert reason in report.placed_by_stock[component]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_every_family_equals_stock_in_one_dtype(family: tuple[str, Path], dtype: torch.dtype) -> None:
    assert_conforms(*family, dtype=dtype)


def test_every_family_equals_stock_in_a_dtype_for_each_component(family: tuple[str, Path]) -> None:
    name, folder = family
    names = sorted(entry.name for entry in folder.iterdir() if (entry / "config.json").is_file())
    chosen = dict(zip(names[:-1], [torch.bfloat16, torch.float16] * len(names), strict=False))
    last = {} if len(names) % 2 else {"default": torch.float16}  # without a default, the last one takes float32

    assert_conforms(name, folder, dtype={**chosen, **last})


def test_every_family_equals_stock_where_it_is_sharded(family: tuple[str, Path], tmp_path: Path) -> None:
    name, _ = family
    FAMILIES[name]().save_pretrained(tmp_path, max_shard_size="4KB")

    assert_conforms(name, tmp_path, dtype=torch.bfloat16)


def test_every_family_equals_stock_as_a_variant(family: tuple[str, Path], tmp_path: Path) -> None:
    name, _ = family
    pipeline = FAMILIES[name]()
    for component in models_of(pipeline):
        getattr(pipeline, component).to(torch.float16)
    pipeline.save_pretrained(tmp_path, variant="fp16")
    has_variants = bool(list(tmp_path.glob("*/*.fp16*")))  # ONNX models have none

    assert_conforms(name, tmp_path, **({"variant": "fp16"} if has_variants else {}))


def test_a_familys_table_names_the_classes_that_its_models_have(family: tuple[str, Path]) -> None:
    """Otherwise a class could be one of those that no usual run loads."""
    name, folder = family
    index = json.loads((folder / "model_index.json").read_text())
    components = {file.parent.name for file in folder.glob("*/*.safetensors")}
    assert {index[component][1] for component in components & index.keys()} <= kinds_of(FAMILIES[name]) | MADE


def test_a_usual_run_has_every_kind_of_part_and_no_family_more_than_it_needs() -> None:
    kinds = {name: kinds_of(family) for name, family in FAMILIES.items()}
    every = frozenset().union(*kinds.values())

    assert every == frozenset().union(*(kinds[name] for name in CHOSEN))
    for superfluous in CHOSEN:
        assert every != frozenset().union(*(kinds[name] for name in CHOSEN if name != superfluous))


def test_a_family_with_a_class_of_its_own_is_in_every_usual_run() -> None:
    """Whatever the family is: also one that is added tomorrow."""
    new = Pipeline("FluxPipeline", FAMILIES["flux"].parts, {"vae": Part("AClassThatNoOtherFamilyHas")})

    assert "new" in one_of_each_kind({**FAMILIES, "new": new})
    assert "new" not in one_of_each_kind({**FAMILIES, "new": FAMILIES["flux"]})


def test_every_family_is_there_that_can_be() -> None:
    """The required ones by name; of the others, only those that docs/compatibility.md excuses may be missing."""
    assert FAMILIES.keys() >= set(REQUIRED.split())
    if is_pinned():
        assert set(unavailable.values()) <= {"needs torchvision"}
        assert len(FAMILIES) >= 330
