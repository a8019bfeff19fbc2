"""What a model has many times is copied and not built anew: nobody can tell, and who counts is counted for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import diffusers
import pytest
import torch
from transformers import core_model_loading

import warpload
from support.compare import assert_same_pipeline
from support.pipelines import FAMILIES, Saved
from warpload.stock import construction, repeated_modules, repeated_renames

BUILDS: dict[str, Callable[[], torch.nn.Module]] = {
    "linear": lambda: torch.nn.Linear(3, 5),
    "linear without a bias": lambda: torch.nn.Linear(3, 5, bias=False),
    "linear on the CPU": lambda: torch.nn.Linear(3, 5, device="cpu"),
    "linear of a dtype": lambda: torch.nn.Linear(3, 5, dtype=torch.bfloat16),
    "convolution": lambda: torch.nn.Conv2d(4, 8, 3, stride=(1, 2), padding=1, groups=2),
    "reflecting convolution": lambda: torch.nn.Conv3d(4, 8, (1, 3, 3), padding=(0, 1, 1), padding_mode="reflect"),
    "group norm": lambda: torch.nn.GroupNorm(2, 4, eps=1e-6),
    "layer norm": lambda: torch.nn.LayerNorm([4, 4], elementwise_affine=True, bias=False),
    "layer norm without parameters": lambda: torch.nn.LayerNorm(8, elementwise_affine=False),
}


def look(module: torch.nn.Module) -> dict[str, Any]:
    """Return what a module's dictionary has, in its order, with tensors and containers as what can be compared."""
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name == "_parameters":
            found[name] = [(own, None if each is None else of_parameter(each)) for own, each in value.items()]
        else:
            found[name] = (type(value), repr(value))
    return found


def of_parameter(parameter: torch.nn.Parameter) -> tuple[Any, ...]:
    form = (parameter.shape, parameter.stride(), parameter.dtype, parameter.device, parameter.requires_grad)
    return (type(parameter), *form, vars(parameter), parameter.is_inference())


def mutable_parts(module: torch.nn.Module) -> Iterator[int]:
    for value in vars(module).values():
        if isinstance(value, dict | list | set):
            yield id(value)
        if isinstance(value, dict):
            yield from (id(each) for each in value.values() if each is not None)


@pytest.fixture
def built_on_meta() -> Iterator[None]:
    with torch.device("meta"), repeated_modules.copied():
        yield


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("inference", [False, True])
def test_a_copy_is_what_torch_builds_and_shares_nothing(name: str, inference: bool) -> None:
    with torch.inference_mode(inference), torch.device("meta"):
        genuine = BUILDS[name]()
        with repeated_modules.copied():
            first, *others = (BUILDS[name]() for _ in range(4))

    assert [list(look(each)) for each in others] == [list(look(genuine))] * 3
    assert [look(each) for each in (first, *others)] == [look(genuine)] * 4
    parts = [part for each in (first, *others) for part in mutable_parts(each)]
    assert len(set(parts)) == len(parts)


def test_a_copy_is_of_what_was_built_and_not_of_what_became_of_it(built_on_meta: None) -> None:
    first = torch.nn.Linear(3, 5)
    first.bias, first.in_features = None, 7
    first.register_forward_hook(lambda *_: None)

    second = torch.nn.Linear(3, 5)

    assert second.bias is not None
    assert second.in_features == 3
    assert not second._forward_hooks


def test_layers_are_built_once_for_each_of_their_arguments(
    built_on_meta: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[int, ...]] = []
    genuine = torch.Tensor.uniform_

    def uniform(self: torch.Tensor, *arguments: Any, **keywords: Any) -> torch.Tensor:
        built.append(self.shape)
        return genuine(self, *arguments, **keywords)

    monkeypatch.setattr(torch.Tensor, "uniform_", uniform)

    for _ in range(3):
        torch.nn.Linear(3, 5, bias=False)
        torch.nn.Linear(5, 3, bias=False)

    assert built == [(5, 3), (3, 5)]


def test_equal_arguments_of_other_types_are_other_arguments(built_on_meta: None) -> None:
    for eps in (1, 1.0, True, 1):
        assert type(torch.nn.GroupNorm(2, 4, eps=eps).eps) is type(eps)


def test_dtype_device_and_inference_mode_inside_the_block_are_heeded(built_on_meta: None) -> None:
    before = torch.get_default_dtype()
    assert torch.nn.Linear(3, 5).weight.dtype == before
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.nn.Linear(3, 5).weight.dtype == torch.float64
    finally:
        torch.set_default_dtype(before)
    with torch.inference_mode():
        assert torch.nn.Linear(3, 5).weight.is_inference()
    assert not torch.nn.Linear(3, 5).weight.is_inference()


def test_a_layer_with_values_is_no_copy_of_a_like_one_that_was_brought_to_meta() -> None:
    with repeated_modules.copied():
        with construction.parameters_on("meta"):
            first, second = (torch.nn.Linear(3, 5) for _ in range(2))
        third = torch.nn.Linear(3, 5)

    assert [each.weight.device.type for each in (first, second, third)] == ["meta", "meta", "cpu"]


def test_layers_with_values_are_built_each_time_and_draw_theirs() -> None:
    torch.manual_seed(0)
    expected = [torch.nn.Linear(3, 5) for _ in range(3)]
    torch.manual_seed(0)
    with repeated_modules.copied():
        ours = [torch.nn.Linear(3, 5) for _ in range(3)]

    for own, stocks in zip(ours, expected, strict=True):
        torch.testing.assert_close(own.weight, stocks.weight, rtol=0, atol=0)


def test_a_subclass_is_built_each_time(built_on_meta: None) -> None:
    class Counted(torch.nn.Linear):
        resets = 0

        def reset_parameters(self) -> None:
            Counted.resets += 1

    for _ in range(3):
        Counted(3, 5)

    assert Counted.resets == 3


def counting(calls: list[str], owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = vars(owner)[name]

    def counted(*arguments: Any, **keywords: Any) -> Any:
        calls.append(name)
        return genuine(*arguments, **keywords)

    monkeypatch.setattr(owner, name, counted)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (torch.nn.Linear, "__init__"),
        (torch.nn.Linear, "reset_parameters"),
        (torch.nn.Module, "__init__"),
        (torch.nn.Module, "__setattr__"),
        (torch.nn.init, "kaiming_uniform_"),
        (torch.nn.init, "uniform_"),
    ],
)
def test_whoever_has_patched_what_builds_a_layer_is_called_for_each(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    counting(calls, owner, name, monkeypatch)
    with torch.device("meta"):
        torch.nn.Linear(3, 5)
        of_one = len(calls)
        with repeated_modules.copied():
            for _ in range(3):
                torch.nn.Linear(3, 5)

    assert len(calls) == 4 * of_one > 0


def test_a_hook_on_registrations_sees_each_parameter() -> None:
    seen: list[str] = []
    hook = torch.nn.modules.module.register_module_parameter_registration_hook
    handle = hook(lambda module, name, parameter: seen.append(name))
    try:
        with torch.device("meta"), repeated_modules.copied():
            for _ in range(3):
                torch.nn.Linear(3, 5)
    finally:
        handle.remove()

    assert seen == ["weight", "bias"] * 3


def test_torch_is_as_it_was_after_a_load(saved: Saved) -> None:
    layers = [torch.nn.Linear, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.GroupNorm, torch.nn.LayerNorm]
    before = [vars(each)["__init__"] for each in layers]
    rename = vars(core_model_loading.WeightTransform)["__init__"]

    warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))

    assert [vars(each)["__init__"] for each in layers] == before
    assert vars(core_model_loading.WeightTransform)["__init__"] is rename


@pytest.mark.parametrize("family", FAMILIES)
def test_the_modules_of_a_pipeline_have_what_stocks_have(family: str, saved: Saved) -> None:
    stock = diffusers.DiffusionPipeline.from_pretrained(saved(family))
    ours = warpload.DiffusionPipeline.from_pretrained(saved(family))

    assert_same_pipeline(ours, stock)
    for name, component in stock.components.items():
        if isinstance(component, torch.nn.Module):
            pairs = zip(ours.components[name].modules(), component.modules(), strict=True)
            different = [type(own).__name__ for own, stocks in pairs if plain(own) != plain(stocks)]
            assert different == []


def plain(module: torch.nn.Module) -> dict[str, Any]:
    """Return what can be compared of a module that has its tensors: what is not an object of a class's own."""
    found = look(module)
    return {name: value if "0x" not in str(value) else None for name, value in found.items() if name != "_modules"}


# -- renames ----------------------------------------------------------------------------------------------------------

KEYS = ["text_model.embeddings.weight", "a.b.0.c", "plain", "odd(key).weight", "a+b"]


@pytest.mark.parametrize("target", ["model.target", r"of.a\.pattern", "odd(target)"])
@pytest.mark.parametrize("key", KEYS)
def test_a_rename_of_a_key_is_what_transformers_makes(key: str, target: str) -> None:
    genuine = core_model_loading.WeightRenaming(key, target)
    with repeated_renames.compiled_when_asked({"first.key", key}):
        core_model_loading.WeightRenaming("first.key", "other.key")
        ours = core_model_loading.WeightRenaming(key, target)

    assert repeated_renames._is_same(ours, genuine)
    for other in (key, f"prefix.{key}", f"{key}_more", "nothing"):
        assert outcome(ours, other) == outcome(genuine, other)


def outcome(rename: Any, key: str) -> Any:
    """Return what a rename makes of a key; the library fails where a target has a group and its source has none."""
    try:
        return rename.rename_source_key(key)
    except IndexError as error:
        return str(error)


def test_two_renames_share_nothing() -> None:
    with repeated_renames.compiled_when_asked({"a", "b", "c"}):
        renames = [core_model_loading.WeightRenaming(key, key) for key in ("a", "b", "c")]
    renames[1].add_tensor("t", "s", "p", None)
    renames[1].source_patterns.append("x")

    assert not renames[2].collected_tensors
    assert renames[2].source_patterns == ["c"]


def test_a_rename_with_attributes_that_nobody_knows_is_the_librarys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(genuine: Any, self: Any, source_patterns: Any, target_patterns: Any) -> None:
        genuine(self, source_patterns, target_patterns)
        self._was_used = {"source": source_patterns}  # of no kind that a copy is made of

    genuine = core_model_loading.WeightTransform.__init__
    monkeypatch.setattr(core_model_loading.WeightTransform, "__init__", lambda self, s, t: init(genuine, self, s, t))
    with repeated_renames.compiled_when_asked({"a", "b"}):
        renames = [core_model_loading.WeightRenaming(key, key) for key in ("a", "b")]

    assert [each._was_used for each in renames] == [{"source": "a"}, {"source": "b"}]


def test_a_load_compiles_no_expression_for_each_key(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Any] = []
    genuine = re.compile
    warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))  # what is compiled once a process is
    monkeypatch.setattr(re, "compile", lambda pattern, flags=0: (compiled.append(pattern), genuine(pattern, flags))[1])

    pipeline = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"))

    of_keys = [each for each in compiled if str(each).startswith("(?P<g0>") and str(each).count(".") > 1]
    models = [pipeline.text_encoder, pipeline.safety_checker]
    assert len(of_keys) <= 2 * len(models) < min(len(each.state_dict()) for each in models)
