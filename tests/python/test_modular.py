"""A modular pipeline's components are loaded in one plan, whichever way they are asked for, and are stock's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import warpload
from support import checkpoints
from support.compare import assert_same_component
from support.pipelines import MODELS, Saved
from warpload import engine
from warpload.models.joint_load import JointLoad

FAMILY = "stable-diffusion-xl"
# Of a pipeline's folder: what has weights.
WITH_WEIGHTS = MODELS[FAMILY]

Load = Callable[[Any], None]


@pytest.fixture
def installed() -> Iterator[None]:
    warpload.install()
    yield
    warpload.uninstall()


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many models each load of the core had."""
    counts: list[int] = []
    genuine = engine.start

    def start(requests: Any, *others: Any) -> Any:
        counts.append(len(requests))
        return genuine(requests, *others)

    monkeypatch.setattr(engine, "start", start)
    return counts


def models_of(pipeline: Any) -> dict[str, Any]:
    return {name: each for name, each in pipeline.components.items() if isinstance(each, torch.nn.Module)}


def natives(components: dict[str, str]) -> set[str]:
    """Return what the core loaded; what the folder has not, stock goes on without."""
    assert all(how == "native" or how.startswith("failed: Unable to load") for how in components.values())
    return {name for name, how in components.items() if how == "native"}


def both(folder: Path, load: Load) -> tuple[Any, Any]:
    """Return the pipeline by stock and by us."""
    stock = diffusers.ModularPipeline.from_pretrained(str(folder))
    load(stock)
    with warpload.accelerated():
        ours = diffusers.ModularPipeline.from_pretrained(str(folder))
        load(ours)
    assert models_of(ours).keys() == models_of(stock).keys()
    for name, component in models_of(stock).items():
        assert_same_component(models_of(ours)[name], component, name)
    return stock, ours


STYLES: dict[str, tuple[Load, set[str]]] = {
    "all": (lambda pipeline: pipeline.load_components(), WITH_WEIGHTS),
    "one by its name": (lambda pipeline: pipeline.load_components("unet"), {"unet"}),
    "some": (lambda pipeline: pipeline.load_components(["unet", "vae", "scheduler"]), {"unet", "vae"}),
    "one dtype": (lambda pipeline: pipeline.load_components(dtype=torch.float16), WITH_WEIGHTS),
    "dtypes by component": (
        lambda pipeline: pipeline.load_components(dtype={"vae": torch.float32, "default": torch.bfloat16}),
        WITH_WEIGHTS,
    ),
    "dtypes without a default": (lambda pipeline: pipeline.load_components(dtype={"vae": torch.float16}), WITH_WEIGHTS),
    "torch_dtype": (lambda pipeline: pipeline.load_components(torch_dtype=torch.bfloat16), WITH_WEIGHTS),
    "without mapping": (lambda pipeline: pipeline.load_components(["unet", "vae"], disable_mmap=True), {"unet", "vae"}),
}


@pytest.mark.parametrize("style", STYLES)
def test_all_models_are_in_one_plan(style: str, saved: Saved, plans: list[int]) -> None:
    load, expected = STYLES[style]

    both(saved(FAMILY), load)

    report = warpload.last_report()
    assert report is not None
    assert (report.kind, report.source) == ("components", str(saved(FAMILY)))
    assert natives(report.components) == expected
    assert report.bytes > 0
    assert plans == [len(expected)]


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_components_of_several_repositories_are_in_one_plan(
    variant: str | None, saved: Saved, tmp_path: Path, plans: list[int]
) -> None:
    folder, elsewhere = tmp_path / "modular", tmp_path / "elsewhere"
    diffusers.ModularPipeline.from_pretrained(str(saved(FAMILY))).save_pretrained(str(folder))
    shutil.copytree(saved(FAMILY) / "unet", elsewhere)
    if variant is not None:
        file = checkpoints.weight_file(elsewhere)
        file.rename(file.with_name(f"{file.stem}.{variant}.safetensors"))
    index = json.loads((folder / "modular_model_index.json").read_text())
    index["unet"][2] |= {"pretrained_model_name_or_path": str(elsewhere), "subfolder": "", "variant": variant}
    (folder / "modular_model_index.json").write_text(json.dumps(index))

    both(folder, lambda pipeline: pipeline.load_components(["unet", "vae", "text_encoder"]))

    report = warpload.last_report()
    assert report is not None
    assert report.components == dict.fromkeys(("unet", "vae", "text_encoder"), "native")
    assert plans == [3]


def test_blocks_without_a_folder_load_from_the_one_that_they_are_given(saved: Saved, plans: list[int]) -> None:
    blocks = diffusers.ModularPipeline.from_pretrained(str(saved(FAMILY))).blocks
    stock = blocks.init_pipeline(str(saved(FAMILY)))
    stock.load_components(["unet", "vae"])

    with warpload.accelerated():
        ours = blocks.init_pipeline(str(saved(FAMILY)))
        ours.load_components(["unet", "vae"])

    for name in ("unet", "vae"):
        assert_same_component(getattr(ours, name), getattr(stock, name), name)
    assert plans == [2]


@pytest.mark.usefixtures("installed")
def test_what_is_there_already_is_not_read_again(saved: Saved, plans: list[int]) -> None:
    pipeline = diffusers.ModularPipeline.from_pretrained(str(saved(FAMILY)))
    pipeline.load_components("unet")
    unet = pipeline.unet

    pipeline.load_components()

    assert pipeline.unet is unet
    assert plans == [1, len(WITH_WEIGHTS) - 1]


@pytest.mark.usefixtures("installed")
def test_a_component_that_is_loaded_alone_is_a_load_of_its_own(saved: Saved, plans: list[int]) -> None:
    spec = diffusers.ModularPipeline.from_pretrained(str(saved(FAMILY)))._component_specs["vae"]

    spec.load(dtype=torch.float16)

    report = warpload.last_report()
    assert report is not None
    assert report.kind == "model"
    assert plans == [1]


def test_whoever_registers_the_components_finds_their_bytes_there(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    pipeline = diffusers.ModularPipeline.from_pretrained(str(saved(FAMILY)))
    register, wait = diffusers.ModularPipeline.register_components, JointLoad.wait

    def registering(self: Any, **components: Any) -> None:
        events.append("registered")
        register(self, **components)

    monkeypatch.setattr(diffusers.ModularPipeline, "register_components", registering)
    monkeypatch.setattr(JointLoad, "wait", lambda self: (events.append("all is there"), wait(self))[1])
    with warpload.accelerated():
        pipeline.load_components(["unet", "vae"])

    assert events == ["all is there", "registered"]


@pytest.mark.usefixtures("installed")
def test_a_component_that_stock_goes_on_without_is_reported_as_failed(copied: Saved) -> None:
    folder = copied(FAMILY)
    checkpoints.weight_file(folder / "unet").write_bytes(b"no header at all")
    pipeline = diffusers.ModularPipeline.from_pretrained(str(folder))

    pipeline.load_components(["unet", "vae"])

    report = warpload.last_report()
    assert report is not None
    assert report.components["vae"] == "native"
    assert report.components["unet"].startswith("failed: Unable to load unet")
    assert report.error == ""


@pytest.mark.usefixtures("installed")
def test_a_name_that_nobody_knows_is_stocks_to_ignore(saved: Saved, plans: list[int]) -> None:
    pipeline = diffusers.ModularPipeline.from_pretrained(str(saved(FAMILY)))

    pipeline.load_components(["vae", "no such component"])

    assert plans == [1]
    with pytest.raises(ValueError, match="Invalid type for names"):
        pipeline.load_components(3)


def test_a_dtype_that_is_none_is_stocks_to_understand(saved: Saved, caplog: pytest.LogCaptureFixture) -> None:
    both(saved(FAMILY), lambda pipeline: pipeline.load_components(["unet", "vae"], dtype="float16"))

    assert [each for each in caplog.records if "read ahead" in each.getMessage()] == []
    report = warpload.last_report()
    assert report is not None
    assert natives(report.components) == {"unet", "vae"}
