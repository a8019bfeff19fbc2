"""A pipeline whose model card names another one: both are loaded, each by the core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import warpload
from families.registry import families_by_name
from support.compare import assert_same_pipeline
from support.loading import assert_fails_as_stock
from support.pipelines import Saved


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a decoder pipeline that names its prior."""
    prior, folder = tmp_path_factory.mktemp("prior"), tmp_path_factory.mktemp("decoder")
    families_by_name()["kandinsky-2-2-prior"]().save_pretrained(prior)
    families_by_name()["kandinsky-2-2"]().save_pretrained(folder)
    (folder / "README.md").write_text(f"---\nprior:\n- {prior}\n---\n")
    return folder


@pytest.mark.parametrize("dtype", [None, torch.float16])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("DiffusionPipeline", {"load_connected_pipeline": True}),
        ("KandinskyV22CombinedPipeline", {}),
        ("AutoPipelineForText2Image", {}),
    ],
)
def test_connected_pipelines_equal_stock(
    name: str, arguments: dict[str, Any], dtype: torch.dtype | None, decoder: Path
) -> None:
    stock = getattr(diffusers, name).from_pretrained(decoder, dtype=dtype, **arguments)
    ours = getattr(warpload, name).from_pretrained(decoder, dtype=dtype, **arguments)

    assert type(stock) is diffusers.KandinskyV22CombinedPipeline
    assert_same_pipeline(ours, stock)
    report = warpload.last_report()
    assert report is not None
    assert set(report.components.values()) == {"native"}
    assert {path.split("/")[-1] for path in report.components} == {
        "unet",
        "movq",
        "prior",
        "image_encoder",
        "text_encoder",
    }
    assert report.source == str(decoder)


def test_a_device_map_is_refused_as_by_stock(decoder: Path) -> None:
    assert_fails_as_stock(decoder, load_connected_pipeline=True, device_map="cpu")


def test_flashpack_fares_as_with_stock(saved: Saved) -> None:
    """It is not installed here, nor has the folder such weights."""
    assert_fails_as_stock(saved("ddpm"), use_flashpack=True)
