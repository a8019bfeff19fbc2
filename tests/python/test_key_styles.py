"""Checkpoints whose keys are spelled otherwise than by the models of today, as many on the Hub are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch

import warpload
from families.registry import families_by_name
from support import checkpoints
from support.compare import assert_same_pipeline
from support.pipelines import DTYPES
from support.versions import is_pinned


def other_qwen_2_5_vl(name: str) -> str:
    """Spell a key as the modules are called now; transformers writes the published files' older spelling."""
    if name.startswith("visual."):
        return f"model.{name}"
    return re.sub(r"^model\.", "model.language_model.", name)


def older_clip(name: str) -> str:
    return name if name.startswith("text_model.") else f"text_model.{name}"


def older_attention(name: str) -> str:
    """Spell a key of an autoencoder's attention as the first Stable Diffusion did."""
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for new, old in older.items():
        name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
    return name


STYLES: dict[str, tuple[str, str, Callable[[str], str]]] = {
    "Qwen2.5-VL in Qwen-Image": ("qwen-image", "text_encoder", other_qwen_2_5_vl),
    "CLIP in Stable Diffusion": ("stable-diffusion", "text_encoder", older_clip),
    "CLIP in Flux": ("flux", "text_encoder", older_clip),
    "the autoencoder of Stable Diffusion": ("stable-diffusion", "vae", older_attention),
}


@pytest.mark.parametrize("dtype", ["no-dtype", "float16", "bfloat16"])
@pytest.mark.parametrize("style", STYLES)
def test_other_spellings_of_keys_load_natively(style: str, dtype: str, tmp_path: Path) -> None:
    family, component, other = STYLES[style]
    families_by_name()[family]().save_pretrained(tmp_path)
    file = checkpoints.weight_file(tmp_path / component)
    before = set(checkpoints.load_file(file))
    checkpoints.rewrite(file, lambda tensors: {other(name): tensor for name, tensor in tensors.items()})
    if is_pinned():  # transformers 5.0 writes CLIP's older spelling itself
        assert set(checkpoints.load_file(file)) != before

    stock = diffusers.DiffusionPipeline.from_pretrained(tmp_path, **DTYPES[dtype])
    ours = warpload.DiffusionPipeline.from_pretrained(tmp_path, **DTYPES[dtype])

    assert_same_pipeline(ours, stock)
    report = warpload.last_report()
    assert set(report.components.values()) == {"native"}
    assert report.placed_by_stock == {}


@pytest.mark.parametrize("dtype", ["no-dtype", "bfloat16"])
def test_a_tied_embedding_that_stands_twice_in_the_file_equals_stock(dtype: str, tmp_path: Path) -> None:
    """T5's files on the Hub have both names of the one embedding."""
    families_by_name()["flux"]().save_pretrained(tmp_path)
    file = checkpoints.weight_file(tmp_path / "text_encoder_2")
    name = "shared.weight"
    checkpoints.rewrite(file, lambda tensors: tensors | {"encoder.embed_tokens.weight": tensors[name].clone()})

    stock = diffusers.DiffusionPipeline.from_pretrained(tmp_path, **DTYPES[dtype])
    ours = warpload.DiffusionPipeline.from_pretrained(tmp_path, **DTYPES[dtype])

    assert_same_pipeline(ours, stock)
    assert set(warpload.last_report().components.values()) == {"native"}


def test_an_index_of_another_version_of_diffusers_loads(tmp_path: Path) -> None:
    families_by_name()["stable-diffusion"]().save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["_diffusers_version"] = "0.6.0"
    (tmp_path / "model_index.json").write_text(json.dumps(index))

    stock = diffusers.DiffusionPipeline.from_pretrained(tmp_path, dtype=torch.float16)
    ours = warpload.DiffusionPipeline.from_pretrained(tmp_path, dtype=torch.float16)

    assert_same_pipeline(ours, stock)
