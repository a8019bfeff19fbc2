"""Blocks that a model has many times are copies of two that were built; nobody can tell."""

from __future__ import annotations

import copy
import logging
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy
import pytest
import torch
import transformers
from accelerate import init_empty_weights
from diffusers.models import attention
from torch.overrides import TorchFunctionMode

import warpload
from support import models, single_files, unet_models
from support.compare import assert_same_model, assert_same_pipeline
from support.parts import Part
from support.pipelines import Saved
from support.structure import structure
from warpload.stock import attempt, module_form, repeated_blocks

COUNT = 8

DEEP: dict[str, Part] = {
    "U-Net": unet_models.unet_xl.but(transformer_layers_per_block=COUNT),
    "Flux": models.flux_transformer.but(num_layers=COUNT, num_single_layers=COUNT),
    "Stable Diffusion 3": models.sd3_transformer.but(num_layers=COUNT),
    "Wan": models.wan_transformer.but(num_layers=COUNT),
    "PixArt": models.pixart_transformer.but(num_layers=COUNT),
}
TEXT: dict[str, Callable[[], Any]] = {
    "CLIP": lambda: (transformers.CLIPTextModel, transformers.CLIPTextConfig(num_hidden_layers=COUNT, hidden_size=32)),
    "T5": lambda: (transformers.T5EncoderModel, transformers.T5Config(num_layers=COUNT, d_model=16, d_ff=32)),
}


def of_copies(part: Part) -> Any:
    with repeated_blocks.copied(lambda: 0), init_empty_weights():
        return part.type(**part.settings)


@pytest.mark.parametrize("name", DEEP)
def test_a_model_of_diffusers_is_made_of_what_stocks_is(name: str) -> None:
    part = DEEP[name]
    with init_empty_weights():
        stock = part.type(**part.settings)
    ours = of_copies(part)

    assert structure(ours) == structure(stock)


@pytest.mark.parametrize("name", TEXT)
def test_a_model_of_transformers_is_made_of_what_stocks_is(name: str) -> None:
    cls, config = TEXT[name]()
    with torch.device("meta"):
        stock = cls(copy.deepcopy(config))
        with repeated_blocks.copied(lambda: 0):
            ours = cls(copy.deepcopy(config))

    assert structure(ours) == structure(stock)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the classes of the modules that are copied from here on."""
    classes: list[Any] = []
    genuine = module_form.Mould.give
    monkeypatch.setattr(module_form.Mould, "give", lambda mould, to: (classes.append(mould.cls), genuine(mould, to)))
    return classes


def test_most_blocks_of_a_deep_model_are_not_built(given: list[Any]) -> None:
    model = of_copies(DEEP["U-Net"])

    blocks = sum(isinstance(each, attention.BasicTransformerBlock) for each in model.modules())
    assert blocks / 2 < given.count(attention.BasicTransformerBlock) < blocks


# -- what is built each time ------------------------------------------------------------------------------------------


BUILT: list[Any] = []


class Plain(torch.nn.Module):
    """A block as a library has them."""

    def __init__(self, width: int, extra: Any = None) -> None:
        super().__init__()
        BUILT.append(self)
        self.width, self.extra = width, extra
        self.inner = torch.nn.ModuleList([torch.nn.Linear(width, width), torch.nn.Dropout(0.1)])
        self.sizes = [width, 2 * width]
        self.inside()

    def inside(self) -> None:
        """Do what some blocks do."""


@pytest.fixture
def ours_are_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the classes of this file taken for a library's."""
    monkeypatch.setattr(module_form, "_LIBRARIES", (*module_form._LIBRARIES, __name__))


@pytest.fixture
def built(ours_are_the_librarys: None) -> list[Any]:
    """Return the blocks of this file that are really built."""
    BUILT.clear()
    return BUILT


def blocks(cls: Any, *arguments: Any, said: Callable[[], int] = lambda: 0, count: int = COUNT) -> list[Any]:
    with torch.device("meta"), repeated_blocks.copied(said):
        return [cls(4, *arguments) for _ in range(count)]


def test_a_plain_block_is_built_four_times_and_copied_from_then_on(built: list[Any]) -> None:
    ours = blocks(Plain)

    assert len(built) == 4
    with torch.device("meta"):
        stock = [Plain(4) for _ in range(COUNT)]
    assert structure(torch.nn.ModuleList(ours)) == structure(torch.nn.ModuleList(stock))


class DrawsFromTorch(Plain):
    def inside(self) -> None:
        torch.rand((), device="cpu")


class DrawsFromPython(Plain):
    def inside(self) -> None:
        random.random()


class DrawsFromNumpy(Plain):
    def inside(self) -> None:
        numpy.random.random()


@pytest.mark.parametrize("cls", [DrawsFromTorch, DrawsFromPython, DrawsFromNumpy])
def test_a_block_that_draws_is_built_each_time(cls: Any, built: list[Any]) -> None:
    blocks(cls)
    assert len(built) == COUNT


class Warns(Plain):
    def inside(self) -> None:
        warnings.warn("of a block", stacklevel=2)


class Logs(Plain):
    def inside(self) -> None:
        logging.getLogger("of.a.block").warning("of a block")


@pytest.mark.filterwarnings("always")
def test_a_block_that_warns_is_built_each_time(built: list[Any]) -> None:
    with pytest.warns(UserWarning, match="of a block") as warned:
        warning_blocks()
    assert len(warned) == len(built) == COUNT


def warning_blocks() -> None:
    with attempt.attempt() as current:
        blocks(Warns, said=current.said)


def test_a_block_that_logs_is_built_each_time(built: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    with attempt.attempt() as current:
        blocks(Logs, said=current.said)
    assert len(caplog.records) == len(built) == COUNT


class Counts(Plain):
    count = 0

    def inside(self) -> None:
        Counts.count += 1
        self.number = Counts.count


class HasValues(Plain):
    def inside(self) -> None:
        self.register_buffer("table", torch.arange(3, device="cpu"))


class HasItsOwnMethod(Plain):
    def inside(self) -> None:
        self.act = self.inside


class HasAModuleTwice(Plain):
    def inside(self) -> None:
        self.again = self.inner[0]


class HasAHook(Plain):
    def inside(self) -> None:
        self.register_forward_hook(lambda *_: None)


class HasATensor(Plain):
    def inside(self) -> None:
        self.table = (torch.empty(3, device="cpu"),)


@pytest.mark.parametrize("cls", [Counts, HasValues, HasItsOwnMethod, HasAModuleTwice, HasAHook, HasATensor])
def test_a_block_that_is_more_than_plain_is_built_each_time(cls: Any, built: list[Any]) -> None:
    blocks(cls)
    assert len(built) == COUNT


def test_a_block_with_a_list_a_module_or_an_object_as_an_argument_is_built_each_time(built: list[Any]) -> None:
    for argument in ([1], {"a": 1}, torch.nn.Identity(), object(), torch.empty(1)):
        blocks(Plain, argument)
    assert len(built) == 5 * COUNT


class HasAProcessor(Plain):
    def inside(self) -> None:
        self.own, self.everyones = Processor(), EVERYONES


class Processor:
    def __init__(self) -> None:
        self.scale = 2


EVERYONES = Processor()


def test_an_object_is_shared_where_the_library_shares_it_and_is_anothers_own_where_it_is(built: list[Any]) -> None:
    ours = blocks(HasAProcessor)

    assert len(built) == 4
    assert all(each.everyones is EVERYONES for each in ours)
    assert len({id(each.own) for each in ours}) == COUNT
    assert all(vars(each.own) == {"scale": 2} for each in ours)


class OfAConfiguration(torch.nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        BUILT.append(self)
        self.inner = torch.nn.ModuleList([torch.nn.Linear(config.hidden_size, config.hidden_size)])
        self.config = config


@pytest.mark.parametrize("change", ["a value", "a value in a list", "a value of one inside"])
def test_a_configuration_that_changes_between_blocks_is_heeded(change: str, built: list[Any]) -> None:
    config = transformers.CLIPConfig(text_config={"hidden_size": 8, "num_hidden_layers": 1})
    config.hidden_size, config.architectures = 4, ["A"]

    with torch.device("meta"), repeated_blocks.copied(lambda: 0):
        before = [OfAConfiguration(config) for _ in range(COUNT)]
        number = len(built)
        if change == "a value":
            config.hidden_size = 6
        elif change == "a value in a list":
            config.architectures[0] = "B"
        else:
            config.text_config.hidden_size = 6
        after = [OfAConfiguration(config) for _ in range(COUNT)]

    assert number == 4
    assert len(built) > number
    assert {each.inner[0].in_features for each in before} == {4}
    assert {each.inner[0].in_features for each in after} == {config.hidden_size}
    assert all(each.config is config for each in (*before, *after))


# -- who counts is counted for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [attention.FeedForward, attention.Attention, torch.nn.ModuleList])
def test_whoever_has_patched_a_part_of_a_block_is_called_for_each(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    genuine = cls.__init__

    def counted(self: Any, *arguments: Any, **keywords: Any) -> None:
        calls.append(self)
        genuine(self, *arguments, **keywords)

    monkeypatch.setattr(cls, "__init__", counted)
    model = of_copies(DEEP["U-Net"])

    assert len(calls) == sum(isinstance(each, cls) for each in model.modules()) > COUNT


def test_what_transformers_adds_to_torchs_modules_is_no_patch(built: list[Any]) -> None:
    cls, config = TEXT["CLIP"]()
    cls(config)
    assert hasattr(torch.nn.Module, "smart_apply")

    blocks(Plain)

    assert len(built) == 4


@pytest.mark.parametrize("kind", ["module", "buffer", "parameter"])
def test_a_hook_on_registrations_sees_each_of_them(kind: str, ours_are_the_librarys: None) -> None:
    seen: list[str] = []
    register = getattr(torch.nn.modules.module, f"register_module_{kind}_registration_hook")
    handle = register(lambda module, name, value: seen.append(name))
    try:
        with torch.device("meta"):
            Plain(4).register_buffer("own", None)
        of_one = len(seen)
        ours = blocks(Plain)
        for each in ours:
            each.register_buffer("own", None)
    finally:
        handle.remove()

    assert len(seen) == (COUNT + 1) * of_one > 0


def test_constructors_are_the_librarys_own_after_a_load(saved: Saved) -> None:
    before = (vars(torch.nn.Module)["__init__"], vars(attention.BasicTransformerBlock)["__init__"])

    warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))

    assert (vars(torch.nn.Module)["__init__"], vars(attention.BasicTransformerBlock)["__init__"]) == before


# -- models from single files -----------------------------------------------------------------------------------------


def test_a_model_from_a_single_file_is_made_of_what_stocks_is(given: list[Any], tmp_path: Path) -> None:
    file = single_files.write("unet-xl", tmp_path / "model", transformer_layers_per_block=COUNT)
    config = str(file.parents[1])
    stock = diffusers.UNet2DConditionModel.from_single_file(str(file), config=config)
    assert given == []

    ours = warpload.UNet2DConditionModel.from_single_file(str(file), config=config)

    assert structure(ours) == structure(stock)
    assert_same_model(ours, stock)
    assert given.count(attention.BasicTransformerBlock) >= COUNT / 2


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("text_encoder", "CLIPEncoderLayer"),
        ("text_encoder_2", "CLIPEncoderLayer"),
        ("text_encoder_3", "T5LayerFF"),
        ("transformer", "FeedForward"),
    ],
)
def test_each_deep_model_of_a_pipeline_from_a_single_file_is_made_of_what_stocks_is(
    name: str, block: str, given: list[Any], tmp_path: Path
) -> None:
    deep = {"num_layers": COUNT} if name in ("text_encoder_3", "transformer") else {"num_hidden_layers": COUNT}
    published = single_files.publish("stable-diffusion-3", tmp_path, **{name: deep})
    stock = diffusers.StableDiffusion3Pipeline.from_single_file(published.file, config=published.folder)
    assert given == []

    ours = warpload.StableDiffusion3Pipeline.from_single_file(published.file, config=published.folder)

    assert structure(getattr(ours, name)) == structure(getattr(stock, name))
    assert_same_pipeline(ours, stock)
    assert [cls.__name__ for cls in given].count(block) >= COUNT / 2


def test_with_values_each_block_of_a_single_file_is_built(given: list[Any], tmp_path: Path) -> None:
    file = single_files.write("sd3", tmp_path / "model", num_layers=COUNT)
    arguments: dict[str, Any] = {"config": str(file.parents[1]), "low_cpu_mem_usage": False}
    torch.manual_seed(1)
    stock = diffusers.SD3Transformer2DModel.from_single_file(str(file), **arguments)
    drawn = torch.rand(1)
    torch.manual_seed(1)

    ours = warpload.SD3Transformer2DModel.from_single_file(str(file), **arguments)

    assert torch.rand(1) == drawn
    assert structure(ours) == structure(stock)
    assert given == []


class Sees(TorchFunctionMode):
    """A mode that sees each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += 1
        return func(*args, **(kwargs or {}))


def test_a_mode_that_sees_operations_sees_those_of_each_block(given: list[Any], tmp_path: Path) -> None:
    file = single_files.write("sd3", tmp_path / "model", num_layers=COUNT)

    with Sees():
        warpload.SD3Transformer2DModel.from_single_file(str(file), config=str(file.parents[1]))

    assert given == []
