"""``warpload.NAME`` is diffusers' public name, for every one of them, and editors and type checkers see them."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import diffusers
import pytest
import torch

import warpload
from support.pipelines import Saved
from support.processes import run_python
from support.stub import STUB, stub_text
from support.versions import is_pinned
from warpload.stock import diffusers_names as names


def of_diffusers(name: str) -> Any:
    """Return what diffusers has under a name; None for what it lists and cannot import with the libraries here."""
    try:
        return getattr(diffusers, name)
    except (AttributeError, RuntimeError):
        return None


LISTED_ONLY = {name for name in names.diffusers_names() if of_diffusers(name) is None}


def public_names() -> set[str]:
    """Return the names in diffusers' module, but for parts of the package (those imported by now), and helpers."""
    listed = {name for name in dir(diffusers) if not name.startswith("_") and "." not in name}
    parts = {name for name in listed if inspect.ismodule(of_diffusers(name))} - {"logging"}
    return listed - parts - {"DummyObject", "requires_backends"}


def test_the_names_read_from_the_source_are_those_of_the_module() -> None:
    assert set(names.diffusers_names()) == public_names()


@pytest.mark.parametrize("name", sorted(names.diffusers_names().keys() - LISTED_ONLY))
def test_every_name_is_there_and_stands_for_diffusers(name: str) -> None:
    ours, theirs = getattr(warpload, name), getattr(diffusers, name)

    if names.is_loaded(name):
        assert ours.stock is theirs
        assert inspect.isclass(ours)
        assert ours.__name__ == name
    else:
        assert ours is theirs


def test_diffusers_can_import_nearly_all_that_it_lists() -> None:
    """Those that it cannot are left out above."""
    assert len(LISTED_ONLY) <= (1 if is_pinned() else 40), LISTED_ONLY


def test_every_class_that_loads_is_a_facade() -> None:
    """But for those that load code or settings and no weights."""
    classes = {name for name in public_names() - LISTED_ONLY if inspect.isclass(getattr(diffusers, name))}
    loading = {name for name in classes if hasattr(getattr(diffusers, name), "from_pretrained")}
    plain = {name for name in loading if not names.is_loaded(name)}

    assert len(loading - plain) > 400
    assert {name for name in plain if issubclass(getattr(diffusers, name), torch.nn.Module)} == {"ModelMixin"}
    assert not {name for name in plain if name.endswith("Pipeline")}


def test_dir_has_every_name_and_our_own() -> None:
    assert names.diffusers_names().keys() <= set(dir(warpload))
    assert set(warpload.__all__) <= set(dir(warpload))


def test_dir_lists_nothing_but_public_names() -> None:
    listed = {name for name in dir(warpload) if not (name.startswith("__") and name.endswith("__"))}

    assert listed == set(warpload.__all__) - {"__version__"} | names.diffusers_names().keys()


def test_the_stub_has_every_name() -> None:
    text = STUB.read_text(encoding="utf-8")
    for name in (*(names.diffusers_names() if is_pinned() else ()), *warpload.__all__):
        assert f"{name} as {name}," in text or f"{name}:" in text, name


def test_the_stub_is_what_the_program_makes_of_the_pinned_version() -> None:
    if is_pinned():
        assert STUB.read_text(encoding="utf-8") == stub_text()


def test_a_name_that_nobody_has_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="neither warpload nor the installed diffusers"):
        warpload.NoSuchPipeline  # noqa: B018
    with pytest.raises(ImportError):
        from warpload import no_such_name  # noqa: F401


def test_looking_at_the_names_imports_no_diffusers() -> None:
    process = run_python(
        "import sys, warpload; dir(warpload); warpload.QwenImagePipeline; warpload.AutoModel; warpload.DDIMScheduler;"
        "print(sorted({'torch', 'diffusers', 'transformers'} & sys.modules.keys()))"
    )

    assert process.stdout.strip() == "[]"


def test_a_facade_answers_as_the_class_does(saved: Saved) -> None:
    unet = warpload.UNet2DModel.from_pretrained(saved("ddpm"), subfolder="unet")

    assert isinstance(unet, warpload.UNet2DModel)
    assert not isinstance(unet, warpload.AutoencoderKL)
    assert issubclass(diffusers.UNet2DModel, warpload.UNet2DModel)
    assert (
        issubclass(warpload.UNet2DModel, diffusers.UNet2DModel) is False
    )  # it is no subclass: isinstance works both ways
    assert issubclass(warpload.DDPMPipeline, warpload.DiffusionPipeline)
    assert warpload.UNet2DModel.config_name == diffusers.UNet2DModel.config_name
    assert "save_pretrained" in dir(warpload.UNet2DModel)
    assert "diffusers.UNet2DModel" in repr(warpload.UNet2DModel)
    assert type(warpload.UNet2DModel.from_config(unet.config)) is diffusers.UNet2DModel
    assert pickle.loads(pickle.dumps(warpload.UNet2DModel)) is warpload.UNet2DModel


def test_a_subclass_of_a_facade_is_one_of_diffusers(saved: Saved) -> None:
    class OwnPipeline(warpload.DDPMPipeline):
        flavour = "own"

    class OwnModel(warpload.UNet2DModel):
        pass

    assert OwnPipeline.__mro__[1] is diffusers.DDPMPipeline
    assert OwnModel.__mro__[1] is diffusers.UNet2DModel
    assert OwnPipeline.from_pretrained(saved("ddpm")).flavour == "own"
    assert isinstance(OwnModel.from_pretrained(saved("ddpm"), subfolder="unet"), diffusers.UNet2DModel)


def test_facades_construct_diffusers_objects() -> None:
    assert type(warpload.DDIMScheduler(num_train_timesteps=10)) is diffusers.DDIMScheduler
    assert type(warpload.VaeImageProcessor()) is diffusers.VaeImageProcessor


def test_the_source_may_be_given_by_the_name_that_stock_has_for_it(saved: Saved) -> None:
    folder = str(saved("stable-diffusion"))
    file = f"{folder}/vae/diffusion_pytorch_model.safetensors"

    pipeline = warpload.StableDiffusionPipeline.from_pretrained(pretrained_model_name_or_path=folder)
    picked = warpload.AutoPipelineForText2Image.from_pretrained(pretrained_model_or_path=folder)
    model = warpload.AutoModel.from_pretrained(pretrained_model_or_path=folder, subfolder="vae")
    single = warpload.AutoencoderKL.from_single_file(
        pretrained_model_link_or_path_or_dict=file, config=folder, subfolder="vae"
    )

    assert type(pipeline) is type(picked) is diffusers.StableDiffusionPipeline
    assert type(model) is type(single) is diffusers.AutoencoderKL
