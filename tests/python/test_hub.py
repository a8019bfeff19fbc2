"""A Hub id is fetched by huggingface_hub (here: found complete in its cache) and loaded by the core."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers

import warpload
from support import models
from support.compare import assert_loaded_natively, assert_same_model
from support.hub_cache import COMMIT, REPOSITORY, write_cache
from support.loading import assert_fails_as_stock, assert_loads_as_stock
from support.pipelines import Saved
from support.processes import run_python
from warpload.pipelines.snapshot import complete_snapshot


@pytest.fixture
def cache(saved: Saved, tmp_path: Path) -> Path:
    """Return a cache folder that holds the whole repository, laid out as huggingface_hub does: links into blobs."""
    write_cache(saved("stable-diffusion"), tmp_path / "hub")
    return tmp_path / "hub"


def test_hub_id_in_the_cache_loads_natively_and_keeps_its_name(cache: Path) -> None:
    report = assert_loads_as_stock(REPOSITORY, cache_dir=cache, local_files_only=True)

    assert_loaded_natively(report, {"unet", "vae", "text_encoder", "safety_checker"})
    assert report.source == REPOSITORY
    pipeline = warpload.DiffusionPipeline.from_pretrained(REPOSITORY, cache_dir=cache, local_files_only=True)
    assert pipeline.config._name_or_path == REPOSITORY


@pytest.mark.parametrize("name", ["a/b/c", "warpload-tests/missing"])
def test_name_that_leads_nowhere_fails_as_stock(name: str, tmp_path: Path) -> None:
    assert_fails_as_stock(name, cache_dir=tmp_path, local_files_only=True)


# Counts what a program asks of any network, with the Hub at an address where nobody answers.
COUNTING = """
import os, socket
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
os.environ["HF_HUB_OFFLINE"] = "0"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
asked = []
connect = socket.socket.connect
socket.socket.connect = lambda self, address: (asked.append(address), connect(self, address))[1]
import diffusers, transformers, warpload
diffusers.utils.logging.set_verbosity_error()
"""

CALLS = {
    "pipeline": 'DiffusionPipeline.from_pretrained("warpload-tests/tiny", cache_dir=CACHE)',
    "the pipeline's own class": 'StableDiffusionPipeline.from_pretrained("warpload-tests/tiny", cache_dir=CACHE)',
    "revision": f'DiffusionPipeline.from_pretrained("warpload-tests/tiny", cache_dir=CACHE, revision="{COMMIT}")',
    "auto pipeline": 'AutoPipelineForText2Image.from_pretrained("warpload-tests/tiny", cache_dir=CACHE)',
    "auto model": 'AutoModel.from_pretrained("warpload-tests/tiny", subfolder="unet", cache_dir=CACHE)',
    "model": 'UNet2DConditionModel.from_pretrained("warpload-tests/tiny", subfolder="unet", cache_dir=CACHE)',
    "scheduler": 'DDIMScheduler.from_pretrained("warpload-tests/tiny", subfolder="scheduler", cache_dir=CACHE)',
}


def test_a_complete_snapshot_costs_no_network_call(cache: Path) -> None:
    """Stock does ask, at least for the pipeline that it has to pick: the count can be other than zero."""
    ours = "\n".join(f"warpload.{call}; counts.append(len(asked)); asked.clear()" for call in CALLS.values())
    stock = f"try:\n    diffusers.{CALLS['auto pipeline']}\nexcept OSError:\n    pass\ncounts.append(len(asked))"

    process = run_python(f"CACHE = {str(cache)!r}{COUNTING}counts = []\n{ours}\n{stock}\nprint(*counts)")

    *counts, of_stock = map(int, process.stdout.splitlines()[-1].split())
    assert dict(zip(CALLS, counts, strict=True)) == dict.fromkeys(CALLS, 0)
    assert of_stock > 0


@pytest.mark.parametrize(
    "missing",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "tokenizer/tokenizer.json",
        "scheduler",
        "text_encoder",
    ],
)
def test_an_incomplete_snapshot_is_not_taken_for_complete(missing: str, cache: Path) -> None:
    snapshot = cache / "models--warpload-tests--tiny" / "snapshots" / COMMIT
    path = snapshot / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
        for name in ("vocab.json", "merges.txt"):
            (path.parent / name).unlink(missing_ok=True)

    assert complete_snapshot(REPOSITORY, {"cache_dir": cache}) is None


def test_a_shard_that_is_missing_makes_a_snapshot_incomplete(cache: Path) -> None:
    unet = cache / "models--warpload-tests--tiny" / "snapshots" / COMMIT / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    models.unet().save_pretrained(unet, max_shard_size="4KB")
    assert complete_snapshot(REPOSITORY, {"cache_dir": cache}) is not None

    next(unet.glob("*-00002-of-*.safetensors")).unlink()
    assert complete_snapshot(REPOSITORY, {"cache_dir": cache}) is None


@pytest.mark.parametrize(
    ("options", "complete"),
    [
        ({}, True),
        ({"unet": None}, True),
        ({"variant": "fp16"}, False),
        ({"custom_pipeline": "own"}, False),
        ({"load_connected_pipeline": True}, False),
        ({"use_safetensors": False}, False),
        ({"force_download": True}, False),
        ({"revision": "other"}, False),
    ],
    ids=str,
)
def test_a_snapshot_is_complete_for_what_the_call_needs(options: dict[str, Any], complete: bool, cache: Path) -> None:
    found = complete_snapshot(REPOSITORY, {"cache_dir": cache, **options})

    assert (found is not None) == complete


def test_a_component_that_the_caller_gives_need_not_be_there(cache: Path) -> None:
    shutil.rmtree(cache / "models--warpload-tests--tiny" / "snapshots" / COMMIT / "unet")
    unet = models.unet()

    ours = warpload.DiffusionPipeline.from_pretrained(REPOSITORY, cache_dir=cache, unet=unet)

    assert ours.unet is unet
    assert_loaded_natively(warpload.last_report(), {"vae", "text_encoder", "safety_checker"})


def test_a_folder_of_the_same_name_wins_over_the_hub(
    cache: Path, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(saved("ddpm"), tmp_path / "warpload-tests" / "tiny")
    monkeypatch.chdir(tmp_path)

    pipeline = warpload.DiffusionPipeline.from_pretrained(REPOSITORY, cache_dir=cache)

    assert type(pipeline).__name__ == "DDPMPipeline"


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_models_and_schedulers_of_a_hub_id_equal_stock(dtype: torch.dtype | None, cache: Path) -> None:
    where: dict[str, Any] = {"cache_dir": cache, "local_files_only": True}
    stock = diffusers.AutoModel.from_pretrained(REPOSITORY, subfolder="unet", dtype=dtype, **where)

    ours = warpload.AutoModel.from_pretrained(REPOSITORY, subfolder="unet", dtype=dtype, **where)

    assert_same_model(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"unet"})
    stock = transformers.CLIPTextModel.from_pretrained(REPOSITORY, subfolder="text_encoder", dtype=dtype, **where)
    with warpload.accelerated():
        ours = transformers.CLIPTextModel.from_pretrained(REPOSITORY, subfolder="text_encoder", dtype=dtype, **where)
    assert_same_model(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"text_encoder"})
    scheduler = warpload.HeunDiscreteScheduler.from_pretrained(REPOSITORY, subfolder="scheduler", **where)
    assert isinstance(scheduler, diffusers.HeunDiscreteScheduler)
