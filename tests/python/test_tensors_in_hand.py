"""Tensors that are in memory already: a transformers model takes them on the thread that loads it, without detours."""

from __future__ import annotations

import contextlib
import functools
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from transformers import core_model_loading
from transformers.models.clip.modeling_clip import CLIPMLP

import warpload
from support.compare import assert_same_model
from support.pipelines import Saved

Block = Callable[[], contextlib.AbstractContextManager[Any]]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return the threads on which transformers takes tensors."""
    taken_on: set[int] = set()
    genuine = core_model_loading._materialize_copy

    def materialize(*arguments: Any, **keywords: Any) -> Any:
        taken_on.add(threading.get_ident())
        return genuine(*arguments, **keywords)

    monkeypatch.setattr(core_model_loading, "_materialize_copy", materialize)
    return taken_on


def load(folder: Any, dtype: torch.dtype) -> Any:
    return transformers.CLIPTextModel.from_pretrained(folder, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_other_thread_takes_what_the_core_has_loaded(dtype: torch.dtype, saved: Saved, threads: set[int]) -> None:
    folder = saved("stable-diffusion") / "text_encoder"
    stock = load(folder, dtype)
    assert threads, "this test looks at the wrong function"
    assert threading.get_ident() not in threads
    threads.clear()

    with warpload.accelerated():
        ours = load(folder, dtype)

    assert threads == {threading.get_ident()}
    assert_same_model(ours, stock)


@pytest.mark.parametrize("block", [torch.no_grad, torch.inference_mode])
def test_where_the_callers_mode_would_show_the_library_goes_on_by_its_threads(
    block: Block, saved: Saved, threads: set[int]
) -> None:
    folder = saved("stable-diffusion") / "text_encoder"
    with block():
        stock = load(folder, torch.float32)
    threads.clear()

    with block(), warpload.accelerated():
        ours = load(folder, torch.float32)

    assert threading.get_ident() not in threads
    assert_same_model(ours, stock)


def test_a_load_by_stock_keeps_its_threads(saved: Saved, threads: set[int]) -> None:
    folder = saved("stable-diffusion") / "text_encoder"
    with warpload.accelerated():
        load(folder, torch.float32)
    threads.clear()

    load(folder, torch.float32)

    assert threading.get_ident() not in threads


# -- where tensors are placed -----------------------------------------------------------------------------------------

# Functions that placing goes past, unless somebody has put his own in their place.
PASSED = (
    (core_model_loading, "set_param_for_module"),
    (core_model_loading, "get_device"),
    (torch.nn.Module, "get_submodule"),
    (torch.nn.Module, "__setattr__"),
    (torch.nn.Module, "register_parameter"),
    (CLIPMLP, "__setattr__"),
    (CLIPMLP, "register_parameter"),
    (CLIPMLP, "get_submodule"),
)


@contextlib.contextmanager
def counted(code: CodeType) -> Iterator[list[int]]:
    """Count the calls of a function, which cannot notice it."""
    times = [0]

    def called(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code is code:
            times[0] += 1

    sys.setprofile(called)
    try:
        yield times
    finally:
        sys.setprofile(None)


def names(calls: list[Any]) -> list[Any]:
    """Return the strings that functions were called with."""
    return [[each for each in call if isinstance(each, str)] for call in calls]


@pytest.mark.parametrize(("owner", "name"), PASSED, ids=lambda value: getattr(value, "__name__", value))
def test_whoever_replaces_a_function_hears_of_each_tensor(
    owner: Any, name: str, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved("stable-diffusion") / "text_encoder"
    genuine, calls = getattr(owner, name), list[Any]()

    @functools.wraps(genuine)
    def listening(*arguments: Any, **keywords: Any) -> Any:
        calls.append(arguments)
        return genuine(*arguments, **keywords)

    monkeypatch.setattr(owner, name, listening)
    stock = load(folder, torch.float32)
    heard = names(calls)
    calls.clear()

    with warpload.accelerated():
        ours = load(folder, torch.float32)

    placed = [each for each in heard if any("weight" in text for text in each)] if name == "__setattr__" else heard
    assert [each for each in names(calls) if each in placed] == placed
    assert_same_model(ours, stock)


def test_without_other_peoples_functions_the_library_is_not_asked_where_a_tensor_goes(
    saved: Saved,
) -> None:
    folder = saved("stable-diffusion") / "text_encoder"
    with counted(core_model_loading.set_param_for_module.__wrapped__.__code__) as times:
        load(folder, torch.float32)
    assert times[0] > 20, "this test looks at the wrong function"

    with counted(core_model_loading.set_param_for_module.__wrapped__.__code__) as times, warpload.accelerated():
        load(folder, torch.float32)

    assert times[0] == 0


def test_a_shape_that_differs_is_the_librarys_to_judge(saved: Saved, tmp_path: Path) -> None:
    folder = tmp_path / "text_encoder"
    shutil.copytree(saved("stable-diffusion") / "text_encoder", folder)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("fc1.bias"))
    safetensors.torch.save_file({**tensors, name: torch.ones(3)}, folder / "model.safetensors", {"format": "pt"})
    options = {"ignore_mismatched_sizes": True, "output_loading_info": True}
    torch.manual_seed(0)
    stock, told = transformers.CLIPTextModel.from_pretrained(folder, **options)

    torch.manual_seed(0)
    with warpload.accelerated():
        ours, told_of_ours = transformers.CLIPTextModel.from_pretrained(folder, **options)

    assert told["mismatched_keys"]
    assert told_of_ours == told
    assert_same_model(ours, stock)
