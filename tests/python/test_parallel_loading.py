"""diffusers' variables for parallel loading set the number of the core's workers, read at each call."""

from __future__ import annotations

import os

import pytest

import warpload
from support.compare import assert_loaded_natively
from support.loading import assert_loads_as_stock
from support.pipelines import FAMILIES, MODELS, Saved

CORES = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("enabled", "workers", "threads"),
    [
        (None, None, CORES),
        ("YES", None, 8),
        ("1", "3", 3),
        ("true", "1", 1),
        (None, "5", 5),
        ("NO", "5", CORES),
        ("0", None, CORES),
    ],
)
def test_the_environment_sets_the_number_of_workers(
    enabled: str | None, workers: str | None, threads: int, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HF_ENABLE_PARALLEL_LOADING", enabled), ("HF_PARALLEL_LOADING_WORKERS", workers)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)

    report = assert_loads_as_stock(saved("stable-diffusion"))

    assert_loaded_natively(report, MODELS["stable-diffusion"])
    assert report.threads == threads


def test_it_is_read_anew_at_each_call(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for workers in ("2", "4", "2"):
        monkeypatch.setenv("HF_PARALLEL_LOADING_WORKERS", workers)
        warpload.DiffusionPipeline.from_pretrained(saved("ddpm"))
        seen.append(warpload.last_report().threads)

    assert seen == [2, 4, 2]


@pytest.mark.parametrize("workers", ["many", "0", "-1", "2.5"])
def test_what_is_no_number_of_workers_is_refused_and_named(
    workers: str, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_PARALLEL_LOADING_WORKERS", workers)

    with pytest.raises(warpload.InvalidArgumentError, match=f"HF_PARALLEL_LOADING_WORKERS is '{workers}'"):
        warpload.DiffusionPipeline.from_pretrained(saved("ddpm"))


def test_shards_that_stock_reads_in_threads_are_read_by_the_core(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Where stock places the tensors itself, the threads that it starts belong to the load that started them."""
    monkeypatch.setattr("diffusers.models.modeling_utils.HF_ENABLE_PARALLEL_LOADING", True)
    folder = tmp_path_factory.mktemp("sharded")
    FAMILIES["ddpm"]().save_pretrained(folder, max_shard_size="4KB")

    report = assert_loads_as_stock(folder, dtype={"unet": "no dtype"})

    assert_loaded_natively(report, {"unet"})
    assert set(report.placed_by_stock) == {"unet"}
