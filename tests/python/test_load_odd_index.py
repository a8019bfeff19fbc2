"""``load_file`` follows an index that is wrong about its shards where there is no doubt, and says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import warpload
from support import checkpoints, models
from support import odd_indexes as odd
from support.bad_files import fail
from support.compare import assert_same_tensors
from support.devices import Device
from support.said import warnings_of
from support.sharded import Index, shard
from warpload.stock import cached_models, hub

Change = Callable[[Index], Any]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Return an index of three shards."""
    models.unconditional_unet().save_pretrained(tmp_path)
    return Index(shard(tmp_path))


def as_read_one_by_one(index: Index) -> checkpoints.Tensors:
    return {name: tensor for shard in index.shards for name, tensor in load_file(index.file.with_name(shard)).items()}


@pytest.mark.parametrize("change", [odd.swap_two, odd.stale_copy_before, odd.left_out, odd.unknown_and_left_out])
def test_an_index_that_is_wrong_without_doubt_is_followed_with_a_warning(
    change: Change, index: Index, log: pytest.LogCaptureFixture
) -> None:
    named = change(index)

    assert_same_tensors(warpload.load_file(index.file), as_read_one_by_one(index))

    (warning,) = warnings_of(log)
    for part in [str(index.file), *named]:
        assert part in warning


@pytest.mark.parametrize(
    "change", [odd.lost, odd.never_there, odd.shard_not_listed, odd.other_copy_behind, odd.copies_in_all]
)
def test_an_index_that_leaves_a_doubt_is_refused(change: Change, index: Index) -> None:
    name = change(index)[0]

    error = fail(warpload.FormatError, lambda: warpload.load_file(index.file), index.file)

    assert error.tensor == name


@pytest.mark.parametrize(
    "change", [odd.without_metadata, odd.metadata_of_null, odd.into_a_folder, odd.with_a_dot, odd.with_no_suffix]
)
def test_an_index_without_a_doubt_needs_nothing_else(
    change: Change, index: Index, log: pytest.LogCaptureFixture
) -> None:
    change(index)

    tensors = warpload.load_file(index.file)

    shards = {index.file.parent / name for name in index.shards}
    assert_same_tensors(tensors, {name: tensor for file in shards for name, tensor in load_file(file).items()})
    assert not warnings_of(log)


@pytest.mark.parametrize(
    "shards",
    [{"a": ["x"]}, {"a": {}}, {"a": 1}, {"a": None}, {"a": "\0"}, {"a": "x" * 5000}, {"a": "none"}, [], "x", 3],
)
def test_a_snapshot_with_an_index_of_nonsense_lacks_weights(shards: Any, tmp_path: Path) -> None:
    snapshot = hub.Snapshot(tmp_path, "commit")
    snapshot.folder.mkdir(parents=True)
    file = snapshot.folder / "model.safetensors.index.json"
    file.write_text(json.dumps({"weight_map": shards}))
    assert not cached_models.has_weights(snapshot, file)

    file.write_text('{"weight_map":' + "[" * 100_000)
    assert not cached_models.has_weights(snapshot, file)


@pytest.mark.parametrize("change", [odd.swap_two, odd.stale_copy_before, odd.entries_as_arrays])
def test_every_device_gets_the_same_tensors(change: Change, index: Index, device: Device) -> None:
    change(index)

    ours = warpload.load_file(index.file, device=device.name)

    assert_same_tensors({name: tensor.cpu() for name, tensor in ours.items()}, as_read_one_by_one(index))
    assert device.holds_all(ours.values())
