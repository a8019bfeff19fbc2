"""LoRAs in every spelling that people have them in give stock's layers, though most of these are copies of one."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer

import warpload
from support import loras
from support.compare import assert_same_model
from support.loading import forbid_stock_readers
from support.pipelines import Saved
from warpload.stock import repeated_adapters, seam_check
from warpload.stock.seams import SEAMS

SPELLINGS: dict[str, tuple[str, Callable[[Any], dict[str, torch.Tensor]]]] = {
    "sdxl peft": ("stable-diffusion-xl", loras.peft),
    "sdxl diffusers": ("stable-diffusion-xl", loras.diffusers),
    "sdxl kohya": ("stable-diffusion-xl", loras.kohya),
    "sd kohya": ("stable-diffusion", loras.kohya),
    "sd diffusers": ("stable-diffusion", loras.diffusers),
    "flux peft": ("flux", lambda pipeline: loras.peft(pipeline, only="transformer")),
    "flux kohya": ("flux", loras.flux_kohya),
    "flux xlabs": ("flux", loras.flux_xlabs),
}
MODELS = ("unet", "transformer", "text_encoder", "text_encoder_2")


def load(folder: Path, dtype: torch.dtype = torch.float16) -> Any:
    return diffusers.DiffusionPipeline.from_pretrained(folder, dtype=dtype)


def look(pipeline: Any) -> list[Any]:
    """Return all that is plain in the dictionaries of all modules of the models, in its order."""
    return [
        [(name, type(value), repr(value) if _is_plain(value) else "") for name, value in vars(module).items()]
        for label in MODELS
        if getattr(pipeline, label, None) is not None
        for module in getattr(pipeline, label).modules()
    ]


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, str | bool | int | float | list)


def assert_same(ours: Any, stock: Any) -> None:
    for label in MODELS:
        if getattr(stock, label, None) is not None:
            assert_same_model(getattr(ours, label), getattr(stock, label), label)
            expected = getattr(getattr(stock, label), "peft_config", None)
            assert getattr(getattr(ours, label), "peft_config", None) == expected
    assert look(ours) == look(stock)


def loaded(pipeline: Any, *calls: Callable[[Any], None]) -> tuple[torch.Tensor, list[str]]:
    """Load adapters, and return the state of the random numbers afterwards and what was warned of."""
    torch.manual_seed(7)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for call in calls:
            call(pipeline)
    return torch.get_rng_state(), [str(each.message) for each in said]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_lora_in_each_spelling_is_what_stock_makes_of_it(
    spelling: str, dtype: torch.dtype, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, spell = SPELLINGS[spelling]
    stock, ours = load(saved(family), dtype), load(saved(family), dtype)
    file = loras.save(spell(stock), tmp_path / "lora.safetensors")

    def one(pipeline: Any) -> None:
        pipeline.load_lora_weights(file, adapter_name="first")

    def another(pipeline: Any) -> None:
        pipeline.load_lora_weights(file, adapter_name="second")
        pipeline.set_adapters(["first", "second"], [0.5, 0.25])

    expected = loaded(stock, one, another)
    forbid_stock_readers(monkeypatch)
    with warpload.accelerated():
        found = loaded(ours, one, another)

    assert torch.equal(found[0], expected[0])
    assert found[1] == expected[1]
    assert_same(ours, stock)
    report = warpload.last_report()
    assert report is not None
    assert (report.kind, report.components) == ("adapter", {"lora.safetensors": "native"})


@pytest.mark.parametrize("spelling", ["sdxl kohya", "flux kohya"])
def test_ranks_and_alphas_that_differ_from_layer_to_layer_are_heeded(
    spelling: str, saved: Saved, tmp_path: Path
) -> None:
    family, spell = SPELLINGS[spelling]
    stock, ours = load(saved(family)), load(saved(family))
    tensors = spell(stock)
    stems = sorted({name.partition(".")[0] for name in tensors})
    for number, stem in enumerate(stems):
        if number % 3 == 0:
            tensors[f"{stem}.alpha"] = torch.tensor(float(1 + number % 5))
        if number % 4 == 0:
            down, up = tensors[f"{stem}.lora_down.weight"], tensors[f"{stem}.lora_up.weight"]
            tensors[f"{stem}.lora_down.weight"] = torch.cat([down, down])
            tensors[f"{stem}.lora_up.weight"] = torch.cat([up, up], 1)
    file = loras.save(tensors, tmp_path / "lora.safetensors")
    stock.load_lora_weights(file)

    with warpload.accelerated():
        ours.load_lora_weights(file)

    assert_same(ours, stock)


def test_a_load_without_a_block_goes_through_the_core_where_the_core_loaded_the_model(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved("stable-diffusion-xl")
    stock = load(folder)
    file = loras.save(loras.kohya(stock), tmp_path / "lora.safetensors")
    stock.load_lora_weights(file)
    ours = warpload.DiffusionPipeline.from_pretrained(folder, dtype=torch.float16)
    forbid_stock_readers(monkeypatch)

    ours.load_lora_weights(file)

    assert_same(ours, stock)
    report = warpload.last_report()
    assert report is not None
    assert (report.kind, report.components) == ("adapter", {"lora.safetensors": "native"})
    with pytest.raises(AssertionError, match="stock reads"):
        stock.load_lora_weights(file, adapter_name="another")


# -- the layers -------------------------------------------------------------------------------------------------------


def few_layers(count: int = 6, **settings: Any) -> torch.nn.Module:
    return torch.nn.Sequential(*(torch.nn.Linear(4, 8 if number % 2 else 4, **settings) for number in range(count)))


def inject(model: torch.nn.Module, **settings: Any) -> torch.nn.Module:
    given = {"r": 2, "target_modules": [str(number) for number in range(len(model))], **settings}
    return inject_adapter_in_model(LoraConfig(**given), model, "own", low_cpu_mem_usage=True)


def described(model: torch.nn.Module) -> list[Any]:
    """Return what all modules' dictionaries have, in their order, without the values of tensors."""
    found = []
    for module in model.modules():
        own = {name: re.sub(r" at 0x\w+", "", repr(value)) for name, value in vars(module).items()}
        own["_parameters"] = str([(name, form(each)) for name, each in module._parameters.items()])
        found.append((type(module), list(own.items())))
    return found


def form(parameter: torch.nn.Parameter | None) -> tuple[Any, ...]:
    if parameter is None:
        return ()
    return (type(parameter), parameter.shape, parameter.dtype, parameter.device, parameter.requires_grad)


def shared(model: torch.nn.Module) -> list[int]:
    """Return of each thing in modules' dictionaries that can change in place, which of all it is."""
    holders = [value for module in model.modules() for value in vars(module).values()]
    seen: dict[int, int] = {}
    return [seen.setdefault(id(each), len(seen)) for each in holders if isinstance(each, dict | list | set)]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the layers that peft builds, as it builds them."""
    built: list[str] = []
    genuine = LoraLayer.update_layer

    def update(self: Any, *arguments: Any, **keywords: Any) -> None:
        built.append(keywords.get("target_name", ""))
        genuine(self, *arguments, **keywords)

    monkeypatch.setattr(LoraLayer, "update_layer", update)
    return built


@pytest.fixture
def in_a_load() -> Iterator[None]:
    with warpload.accelerated(), repeated_adapters.copied():
        yield


@pytest.mark.usefixtures("in_a_load")
def test_a_layer_is_built_once_for_each_shape(counted: list[str]) -> None:
    inject(few_layers())

    assert counted == ["0", "1"]


@pytest.mark.usefixtures("in_a_load")
@pytest.mark.parametrize(
    "settings",
    [{"use_dora": True}, {"lora_bias": True}, {"init_lora_weights": "gaussian"}, {"lora_dropout": 0.5}],
    ids=str,
)
def test_a_lora_with_more_in_its_layers_is_what_peft_makes_of_it(settings: dict[str, Any], counted: list[str]) -> None:
    ours = described(inject(few_layers(), **settings))
    number = len(counted)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeated_adapters, "_key", lambda *_: None)
        stocks = described(inject(few_layers(), **settings))

    assert ours == stocks
    assert number <= len(counted) - number


@pytest.mark.usefixtures("in_a_load")
def test_copies_share_nothing_that_what_peft_builds_does_not_share(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = inject(few_layers())
    monkeypatch.setattr(repeated_adapters, "_key", lambda *_: None)
    stocks = inject(few_layers())

    assert shared(ours) == shared(stocks)
    assert len({id(each.get_base_layer()) for each in ours}) == len(ours)
    ours[0].set_scale("own", 3.0)
    assert ours[2].scaling["own"] != ours[0].scaling["own"]


@pytest.mark.usefixtures("in_a_load")
def test_a_base_layer_with_more_about_it_is_given_to_peft(counted: list[str]) -> None:
    model = few_layers()
    model[2].quantised_by = "somebody"

    inject(model)

    assert counted == ["0", "1", "2"]


@pytest.mark.usefixtures("in_a_load")
def test_layers_with_values_are_built_each_time_and_draw_theirs(counted: list[str]) -> None:
    config = LoraConfig(r=2, target_modules=["0", "2"])
    inject_adapter_in_model(config, few_layers(), "own", low_cpu_mem_usage=True)
    torch.manual_seed(0)
    model = inject_adapter_in_model(config, few_layers(), "own")
    drawn = torch.get_rng_state()

    assert counted == ["0", "0", "2"]
    assert not any(parameter.is_meta for parameter in model.parameters())
    torch.manual_seed(0)
    few_layers()
    for _ in range(2):  # peft draws A twice, and B, before it sets B to zero
        for shape in ((2, 4), (4, 2), (2, 4)):
            torch.empty(shape).uniform_()
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.usefixtures("in_a_load")
def test_modules_that_another_thread_builds_meanwhile_have_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []
    genuine = LoraLayer.update_layer

    def update(self: Any, *arguments: Any, **keywords: Any) -> None:
        other = threading.Thread(target=lambda: devices.append(torch.nn.Linear(2, 2).weight.device.type))
        other.start()
        other.join()
        genuine(self, *arguments, **keywords)

    monkeypatch.setattr(LoraLayer, "update_layer", update)

    model = inject(few_layers(2))

    assert devices == ["cpu", "cpu"]
    assert model[0].lora_A["own"].weight.is_meta


def test_a_peft_that_is_not_as_we_know_it_builds_every_layer(
    monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    seam = next(seam for seam in SEAMS if seam.feature == "adapter layers")
    monkeypatch.setitem(seam_check._broken, seam, "it is another one")

    with warpload.accelerated(), repeated_adapters.copied():
        model = inject(few_layers())

    assert len(counted) == 6
    assert model[0].lora_A["own"].weight.is_meta


def test_code_that_patches_what_layers_are_built_with_is_called_for_each(
    monkeypatch: pytest.MonkeyPatch, counted: list[str]
) -> None:
    genuine = torch.nn.init.kaiming_uniform_
    monkeypatch.setattr(torch.nn.init, "kaiming_uniform_", lambda *a, **k: genuine(*a, **k))

    with warpload.accelerated(), repeated_adapters.copied():
        inject(few_layers())

    assert len(counted) == 6
