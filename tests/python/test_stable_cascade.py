"""Stable Cascade's decoder and combined pipelines, which diffusers 0.42 cannot load from the index that it writes.

The class of their vqgan has moved to a module that the index cannot name. With that entry emptied, and the vqgan loaded
apart and given, the pipelines load.
"""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import warpload
from families.other_images import CASCADE, CASCADE_UNET
from support import models
from support.compare import assert_loaded_natively, assert_same_model, assert_same_pipeline
from support.loading import assert_fails_as_stock
from support.parts import built
from support.tokenizers import clip_tokenizer


def paella_class() -> Any:
    for package in ("deprecated.wuerstchen", "wuerstchen"):
        try:
            return importlib.import_module(f"diffusers.pipelines.{package}.modeling_paella_vq_model").PaellaVQModel
        except ModuleNotFoundError:
            continue
    raise AssertionError("diffusers has no PaellaVQModel")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of the decoder and of the combined pipeline."""
    vqgan = paella_class()(
        in_channels=3, levels=2, bottleneck_blocks=1, embed_dim=8, latent_channels=4, num_vq_embeddings=8
    )
    decoder = {
        "decoder": CASCADE_UNET(seed=70),
        "tokenizer": clip_tokenizer(),
        "text_encoder": models.clip_text_model_with_projection(seed=71),
        "scheduler": diffusers.DDPMWuerstchenScheduler(),
        "vqgan": models.randomised(vqgan, seed=72),
    }
    made = tmp_path_factory.mktemp("decoder"), tmp_path_factory.mktemp("combined")
    diffusers.StableCascadeDecoderPipeline(**decoder).save_pretrained(made[0])
    prior = {f"prior_{name}": built(part, name) for name, part in CASCADE.items()}
    combined = diffusers.StableCascadeCombinedPipeline(**decoder, **prior)
    combined.save_pretrained(made[1])
    return made


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("number", [0, 1], ids=["decoder", "combined"])
def test_it_equals_stock_with_its_vqgan_given(
    number: int, dtype: torch.dtype | None, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders[number], tmp_path / "pipeline")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "vqgan": [None, None]}))
    stock_vqgan = paella_class().from_pretrained(folder / "vqgan", dtype=dtype)
    with warpload.accelerated():
        vqgan = paella_class().from_pretrained(folder / "vqgan", dtype=dtype)
    assert_same_model(vqgan, stock_vqgan)
    assert_loaded_natively(warpload.last_report(), {"PaellaVQModel"})

    stock = diffusers.DiffusionPipeline.from_pretrained(folder, vqgan=vqgan, dtype=dtype)
    ours = warpload.DiffusionPipeline.from_pretrained(folder, vqgan=vqgan, dtype=dtype)

    assert_same_pipeline(ours, stock)
    others = {"prior_image_encoder", "prior_text_encoder", "prior_prior"} if number else set()
    assert_loaded_natively(warpload.last_report(), {"decoder", "text_encoder", *others})


def test_without_it_both_fail_alike(folders: tuple[Path, Path]) -> None:
    assert_fails_as_stock(folders[0])
