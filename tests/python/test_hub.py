"""A Hub id is fetched by huggingface_hub (here: found complete in its cache) and loaded by the core."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import warpload
from support.compare import assert_loaded_natively
from support.loading import assert_fails_as_stock, assert_loads_as_stock
from support.pipelines import Saved

REPOSITORY = "warpload-tests/tiny"
COMMIT = "0" * 40


@pytest.fixture
def cache(saved: Saved, tmp_path: Path) -> Path:
    """Return a cache folder that holds the whole repository, laid out as huggingface_hub does: links into blobs."""
    repository = tmp_path / "hub" / "models--warpload-tests--tiny"
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree(saved("stable-diffusion"), snapshot)
    (repository / "blobs").mkdir()
    for number, file in enumerate(sorted(path for path in snapshot.rglob("*") if path.is_file())):
        blob = repository / "blobs" / str(number)
        file.rename(blob)
        file.symlink_to(blob)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
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
