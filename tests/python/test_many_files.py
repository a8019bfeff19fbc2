"""Checkpoints of more files than a process may hold open: each of our ways loads them as safetensors does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

import warpload
from support.processes import open_descriptors, run_python

SHARDS = 400

# Run in a process that may have 200 descriptors: `expected` is what the shards hold together.
_PRELUDE = """
import gc, os, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
import safetensors, safetensors.torch, torch, warpload
from support.compare import assert_same_tensors
from support.processes import open_descriptors
folder = Path(sys.argv[1])
shards = sorted(folder.glob("*.safetensors"))
expected = {}
for shard in shards:
    expected |= {name: tensor.clone() for name, tensor in safetensors.torch.load_file(shard).items()}
def leave_descriptors_to_others():
    others = [open(sys.executable, "rb") for _ in range(100)]
    for each in others:
        each.close()
"""


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of many shards, each with a tensor that can be mapped and one that cannot, and their index."""
    folder = tmp_path_factory.mktemp("sharded")
    weight_map = {}
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        tensors = {
            f"layer.{shard}.scale": torch.tensor([shard % 256], dtype=torch.uint8),
            f"layer.{shard}.weight": torch.randn(3, 5),
        }
        safetensors.torch.save_file(tensors, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


@pytest.mark.parametrize("arena", ["auto", "always"])
def test_load_file_takes_more_shards_than_there_are_descriptors(arena: str, sharded: Path) -> None:
    run_python(
        f"""{_PRELUDE}
halves = {{name: t.half() if t.is_floating_point() else t for name, t in expected.items()}}
with warpload.LoadOptions(arena={arena!r}):
    for source in (shards, folder / "model.safetensors.index.json"):
        mapped, copied = warpload.load_file(source), warpload.load_file(source, disable_mmap=True)
        leave_descriptors_to_others()
        assert_same_tensors(mapped, expected)
        assert_same_tensors(copied, expected)
        assert_same_tensors(warpload.load_file(source, dtype=torch.float16), halves)
""",
        sharded,
    )


def test_checkpoints_that_are_open_hold_few_descriptors_together(sharded: Path) -> None:
    run_python(
        f"""{_PRELUDE}
opened = [warpload.safe_open(shard, "pt") for shard in shards]
assert len(opened) == {SHARDS}
leave_descriptors_to_others()
for direction in (opened, opened[::-1]):
    found = {{}}
    for file in direction:
        found |= {{name: file.get_tensor(name) for name in file.keys()}}
        held = [path for path in open_descriptors().values() if path.endswith(".safetensors")]
        assert len(held) <= 50, held
    assert_same_tensors(dict(sorted(found.items())), dict(sorted(expected.items())))
del opened, file, direction
gc.collect()
assert not [path for path in open_descriptors().values() if path.endswith(".safetensors")]
assert_same_tensors(dict(sorted(found.items())), dict(sorted(expected.items())))
""",
        sharded,
    )


def test_files_that_are_removed_once_they_are_open_are_read_as_they_were(sharded: Path, tmp_path: Path) -> None:
    """Temporary files: views, copies of misaligned tensors, and safetensors' own handles beside ours."""
    for shard in sharded.glob("*.safetensors"):
        os.link(shard, tmp_path / shard.name)

    run_python(
        f"""{_PRELUDE}
opened = [warpload.safe_open(shard, "pt") for shard in shards]
for shard in shards:
    shard.unlink()
found = {{}}
for file in opened:
    found |= {{name: file.get_tensor(name) for name in file.keys()}}
assert_same_tensors(dict(sorted(found.items())), dict(sorted(expected.items())))
for tensor in found.values():
    tensor.zero_()  # nobody else sees it
""",
        tmp_path,
    )


def test_files_that_are_replaced_once_they_are_open_are_read_as_they_were(sharded: Path, tmp_path: Path) -> None:
    for shard in sharded.glob("*.safetensors"):
        os.link(shard, tmp_path / shard.name)

    run_python(
        f"""{_PRELUDE}
ours = [warpload.safe_open(shard, "pt") for shard in shards]
theirs = [safetensors.safe_open(shard, "pt") for shard in shards[:50]]
for shard in shards:
    safetensors.torch.save_file({{"other": torch.ones(100)}}, folder / "new")
    (folder / "new").rename(shard)
for mine, stock in zip(ours, theirs, strict=False):
    for name in stock.keys():
        assert torch.equal(mine.get_tensor(name), stock.get_tensor(name))
for file in ours:
    for name in file.keys():
        assert torch.equal(file.get_tensor(name), expected[name])
""",
        tmp_path,
    )


def test_a_model_of_many_shards_is_loaded_where_few_descriptors_are_left(tmp_path: Path) -> None:
    """Natively, cast, copied, through slots, and read by the core for stock to place."""
    run_python(
        """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from pathlib import Path
import diffusers, torch, warpload
from diffusers import AutoencoderKL
from support.compare import assert_same_model
folder = Path(sys.argv[1])
blocks = dict(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)
model = AutoencoderKL(block_out_channels=(4, 4, 4, 4), norm_num_groups=2, layers_per_block=8, **blocks)
model.save_pretrained(folder, max_shard_size=600)
assert len(list(folder.glob("*.safetensors"))) > 200
for arguments in ({}, {"torch_dtype": torch.float16}, {"disable_mmap": True}, {"low_cpu_mem_usage": False}):
    stock = AutoencoderKL.from_pretrained(folder, **arguments)
    for arena in ("auto", "always"):
        with warpload.LoadOptions(arena=arena):
            ours = warpload.AutoencoderKL.from_pretrained(folder, **arguments)
        assert warpload.last_report().components == {"AutoencoderKL": "native"}
        assert_same_model(ours, stock)
""",
        tmp_path,
    )


def test_a_file_is_found_again_where_the_directory_has_changed(sharded: Path, tmp_path: Path) -> None:
    run_python(
        f"""{_PRELUDE}
os.chdir(folder)
opened = [warpload.safe_open(shard.name, "pt") for shard in shards]
os.chdir("/")
for file in opened:
    for name in file.keys():
        assert torch.equal(file.get_tensor(name), expected[name])
""",
        sharded,
    )


def test_few_files_keep_their_descriptors(sharded: Path) -> None:
    opened = [warpload.safe_open(shard, "pt") for shard in sorted(sharded.glob("*.safetensors"))[:8]]

    held = [path for path in open_descriptors().values() if str(sharded) in path]

    assert len(held) == len(opened)
