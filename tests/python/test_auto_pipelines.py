"""``AutoPipelineFor...``: stock's choice of class, and stock's dtypes."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

import warpload
from support.compare import assert_loaded_natively, assert_same_pipeline
from support.pipelines import DTYPES, MODELS, Saved

TASKS = ["AutoPipelineForText2Image", "AutoPipelineForImage2Image", "AutoPipelineForInpainting"]
FAMILIES = ["stable-diffusion", "stable-diffusion-xl", "stable-diffusion-3", "flux"]


@pytest.mark.parametrize("dtype", ["no-dtype", "float16", "dictionary-with-default"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", TASKS)
def test_the_class_for_a_task_equals_stock(task: str, family: str, dtype: str, saved: Saved) -> None:
    stock = getattr(diffusers, task).from_pretrained(saved(family), **DTYPES[dtype])
    ours = getattr(warpload, task).from_pretrained(saved(family), **DTYPES[dtype])

    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), MODELS[family])


@pytest.mark.parametrize("family", ["stable-diffusion", "stable-diffusion-xl", "stable-diffusion-3"])
def test_perturbed_attention_guidance_equals_stock(family: str, saved: Saved) -> None:
    arguments: dict[str, Any] = {"enable_pag": True, "dtype": torch.float16}
    stock = diffusers.AutoPipelineForText2Image.from_pretrained(saved(family), **arguments)
    ours = warpload.AutoPipelineForText2Image.from_pretrained(saved(family), **arguments)

    assert type(ours).__name__.endswith("PAGPipeline")
    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), MODELS[family])
