"""Tensors that are in memory already are given to a transformers model on the thread that loads it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from transformers import core_model_loading

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
