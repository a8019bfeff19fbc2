"""``install``, ``uninstall`` and ``accelerated``: existing code loads through the core, and stops doing so."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import diffusers
import pytest
import torch
import transformers

import warpload
from support import models
from support.compare import assert_loaded_natively, assert_same_model, assert_same_pipeline, assert_same_tensors
from support.pipelines import MODELS, Saved
from support.processes import run_python
from support.versions import is_pinned
from warpload.stock import replacing, seams


@pytest.fixture(autouse=True)
def _nothing_stays_installed() -> Iterator[None]:
    yield
    warpload.uninstall()
    assert len(replacing._holders["loads"]) == 0
    assert replaced() == []


def attributes() -> list[tuple[object, str]]:
    """Return every attribute that may be replaced, with its owner."""
    import importlib

    found = []
    for seam in seams.SEAMS:
        if seam.by and seam.held == ("loads",):
            owners = seam.owners(importlib.import_module(seam.module))
            assert owners or not is_pinned(), seam
            found += [(owner, seam.attribute) for owner in owners]
    return found


ORIGINALS = {(owner, name): vars(owner)[name] for owner, name in attributes()}


def replaced() -> list[tuple[object, str]]:
    return [(owner, name) for (owner, name), value in ORIGINALS.items() if vars(owner)[name] is not value]


def loads_natively(folder: Path) -> bool:
    """Load by diffusers' own name and tell who did it."""
    marker = object()
    warpload.report.remember(marker)  # type: ignore[arg-type]
    diffusers.DiffusionPipeline.from_pretrained(folder)
    return warpload.last_report() is not marker


def test_installed_diffusers_and_transformers_load_natively(saved: Saved) -> None:
    folder = saved("stable-diffusion")
    stock = diffusers.StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float16)
    text_encoder = transformers.CLIPTextModel.from_pretrained(folder / "text_encoder")
    warpload.install()

    ours = diffusers.StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float16)

    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion"])
    assert_same_model(transformers.CLIPTextModel.from_pretrained(folder / "text_encoder"), text_encoder)
    assert_loaded_natively(warpload.last_report(), {"CLIPTextModel"})


def test_every_target_is_replaced_and_put_back() -> None:
    warpload.install()
    assert set(replaced()) == set(ORIGINALS)

    warpload.uninstall()
    assert replaced() == []


def test_installing_twice_is_undone_by_one_uninstall(saved: Saved) -> None:
    warpload.install()
    warpload.install()
    assert loads_natively(saved("ddpm"))

    warpload.uninstall()
    assert not loads_natively(saved("ddpm"))

    warpload.uninstall()
    assert not loads_natively(saved("ddpm"))


def test_a_program_can_ask_whether_it_is_installed() -> None:
    assert not warpload.installed()
    warpload.install()
    try:
        assert warpload.installed()
    finally:
        warpload.uninstall()
    with warpload.accelerated():
        assert not warpload.installed()


def test_accelerated_ends_with_its_block_whatever_happens(saved: Saved) -> None:
    with pytest.raises(OSError, match="model_index"), warpload.accelerated():
        diffusers.DiffusionPipeline.from_pretrained(saved("ddpm") / "unet")

    assert not loads_natively(saved("ddpm"))


def test_accelerated_nests_and_leaves_an_install_alone(saved: Saved) -> None:
    with warpload.accelerated():
        with warpload.accelerated():
            assert loads_natively(saved("ddpm"))
        assert loads_natively(saved("ddpm"))
        warpload.install()
    assert loads_natively(saved("ddpm"))


def test_uninstalling_inside_accelerated_ends_with_the_block(saved: Saved) -> None:
    warpload.install()
    with warpload.accelerated():
        warpload.uninstall()
        assert loads_natively(saved("ddpm"))
    assert not loads_natively(saved("ddpm"))


def test_other_threads_are_not_accelerated(saved: Saved) -> None:
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(loads_natively(saved("ddpm"))))
    saved("ddpm")

    with warpload.accelerated():
        thread.start()
        thread.join()

    assert seen == [False]


def test_an_installed_process_loads_natively_on_every_thread(saved: Saved) -> None:
    seen: list[bool] = []
    folder = saved("ddpm")
    warpload.install()

    threads = [threading.Thread(target=lambda: seen.append(loads_natively(folder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [True] * 4


def test_a_function_kept_from_the_time_of_an_install_is_stocks_afterwards(saved: Saved) -> None:
    warpload.install()
    kept = diffusers.DiffusionPipeline.from_pretrained
    warpload.uninstall()
    marker = object()
    warpload.report.remember(marker)  # type: ignore[arg-type]

    pipeline = kept(saved("ddpm"))

    assert warpload.last_report() is marker
    assert isinstance(pipeline, diffusers.DDPMPipeline)


def test_someone_elses_replacement_on_top_of_ours_stays() -> None:
    warpload.install()
    diffusers.ModelMixin.from_pretrained = classmethod(lambda cls, *arguments, **keywords: "theirs")
    try:
        warpload.uninstall()

        assert diffusers.UNet2DModel.from_pretrained("anywhere") == "theirs"
    finally:
        diffusers.ModelMixin.from_pretrained = ORIGINALS[diffusers.ModelMixin, "from_pretrained"]


def test_signatures_and_documentation_stay(saved: Saved) -> None:
    before = diffusers.DiffusionPipeline.from_pretrained.__doc__
    warpload.install()

    assert diffusers.DiffusionPipeline.from_pretrained.__doc__ == before
    assert diffusers.UNet2DModel.from_pretrained.__name__ == "from_pretrained"


def test_what_was_loaded_can_be_pickled_and_saved(saved: Saved, tmp_path: Path) -> None:
    warpload.install()
    pipeline = diffusers.DiffusionPipeline.from_pretrained(saved("ddpm"))
    warpload.uninstall()

    assert_same_model(pickle.loads(pickle.dumps(pipeline.unet)), pipeline.unet)
    pipeline.save_pretrained(tmp_path)
    again = diffusers.UNet2DModel.from_pretrained(tmp_path / "unet").state_dict()
    assert_same_tensors(again, pipeline.unet.state_dict())


ORDERS = {
    "warpload first": "import warpload; warpload.install(); import diffusers, transformers",
    "diffusers first": "import diffusers, transformers; import warpload; warpload.install()",
    "diffusers' classes first": "from diffusers import DiffusionPipeline; import warpload; warpload.install()",
    "transformers between": "import transformers, warpload; warpload.install(); import diffusers",
    "twice around": "import warpload; warpload.install(); import diffusers; warpload.install()",
    "installed, uninstalled, installed": (
        "import warpload; warpload.install(); import diffusers; diffusers.UNet2DModel; warpload.uninstall();"
        " warpload.install()"
    ),
}


@pytest.mark.parametrize("order", ORDERS)
def test_any_order_of_imports_will_do(order: str, saved: Saved) -> None:
    program = f"""
{ORDERS[order]}
import diffusers, transformers, warpload
pipeline = diffusers.DiffusionPipeline.from_pretrained({str(saved("stable-diffusion"))!r})
print(sorted(warpload.last_report().components.items()))
transformers.CLIPTextModel.from_pretrained({str(saved("stable-diffusion") / "text_encoder")!r})
print(warpload.last_report().components)
"""
    process = run_python(program)

    assert process.returncode == 0, process.stderr
    expected = sorted(dict.fromkeys(MODELS["stable-diffusion"], "native").items())
    assert process.stdout.splitlines() == [str(expected), "{'CLIPTextModel': 'native'}"]


def test_installing_imports_neither_library() -> None:
    process = run_python(
        "import sys, warpload; warpload.install();"
        "print(sorted({'torch', 'diffusers', 'transformers'} & sys.modules.keys()))"
    )

    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == "[]"


def test_a_watched_module_keeps_its_loader_and_its_source() -> None:
    process = run_python(
        "import warpload; warpload.install(); import inspect, diffusers.pipelines.pipeline_utils as module;"
        "print(type(module.__loader__).__name__, type(module.__spec__.loader).__name__);"
        "print('def' in inspect.getsource(module))"
    )

    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["SourceFileLoader", "SourceFileLoader", "True"]


def test_a_model_whose_class_is_the_programs_own_loads_natively(tmp_path: Path) -> None:
    class OwnUnet(diffusers.UNet2DModel):
        pass

    models.unconditional_unet().save_pretrained(tmp_path)
    stock = OwnUnet.from_pretrained(tmp_path)

    with warpload.accelerated():
        ours = OwnUnet.from_pretrained(tmp_path)

    assert type(ours) is OwnUnet
    assert_same_model(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"OwnUnet"})
