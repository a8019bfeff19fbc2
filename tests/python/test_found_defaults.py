"""What stock finds out by itself, of the machine and its settings, holds for the core's loads too."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch
import transformers
from transformers import modeling_utils

import warpload
from support import checkpoints
from support.compare import assert_loaded_natively, assert_same_model
from support.pipelines import Saved
from support.processes import mapped_files
from warpload import mounts

KINDS = ["unet", "text_encoder"]


def load(folder: Path, kind: str, **kwargs: Any) -> Any:
    """Load a diffusers or a transformers model by stock's name."""
    cls = diffusers.UNet2DConditionModel if kind == "unet" else transformers.CLIPTextModel
    return cls.from_pretrained(folder / kind, **kwargs)


def report() -> warpload.LoadReport:
    found = warpload.last_report()
    assert found is not None
    return found


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes a list of mounts the machine's."""

    def list_mounts(text: str) -> None:
        (tmp_path / "mounts").write_text(text)
        monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "mounts")

    return list_mounts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("linked", [False, True], ids=["there", "linked to"])
@pytest.mark.parametrize("device", ["hf-mount", "tmpfs"])
def test_files_on_an_hf_mount_are_read_and_not_mapped(
    device: str, linked: bool, kind: str, copied: Saved, tmp_path: Path, mount: Callable[[str], None]
) -> None:
    mounted = tmp_path / "a mount"
    folder = copied("stable-diffusion").rename(mounted)
    if linked:
        folder = tmp_path / "linked"
        for part in KINDS:
            (folder / part).mkdir(parents=True)
            for file in (mounted / part).iterdir():
                (folder / part / file.name).symlink_to(file)
    mount(f"/dev/root / ext4 rw 0 0\n{device} {str(mounted).replace(' ', chr(92) + '040')} fuse rw 0 0\n")

    with warpload.accelerated():
        ours = load(folder, kind)

    is_mapped = str(checkpoints.weight_file(mounted / kind)) in mapped_files()
    assert is_mapped == (device != "hf-mount")
    assert_loaded_natively(report(), {type(ours).__name__})
    assert_same_model(ours, load(folder, kind))


def test_a_mount_inside_an_hf_mount_is_not_one(tmp_path: Path, mount: Callable[[str], None]) -> None:
    mount(f"hf-mount {tmp_path} fuse rw 0 0\ntmpfs {tmp_path}/inner tmpfs rw 0 0\n")

    assert mounts.forbid_mapping([tmp_path / "inner" / "a", tmp_path / "b"])
    assert not mounts.forbid_mapping([tmp_path / "inner" / "a", tmp_path.parent / "b"])


def test_a_machine_that_lists_no_mounts_has_no_hf_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "missing")

    assert not mounts.forbid_mapping([tmp_path])


@pytest.mark.parametrize(
    ("found", "name"), [("is_deepspeed_zero3_enabled", "DeepSpeed ZeRO-3"), ("is_fsdp_enabled", "FSDP")]
)
def test_where_each_process_has_a_part_of_the_weights_transformers_places_them(
    found: str, name: str, saved: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = load(saved("stable-diffusion"), "text_encoder")
    # transformers itself would want the package for it: only who asks for us is told so.
    monkeypatch.setattr(modeling_utils, found, lambda: "warpload" in sys._getframe(1).f_globals["__name__"])

    with warpload.accelerated():
        ours = load(saved("stable-diffusion"), "text_encoder")

    assert_same_model(ours, stock)
    assert report().placed_by_stock == {"CLIPTextModel": f"{name} is enabled"}


def test_a_checkpoint_that_several_processes_wrote_goes_to_stock(copied: Saved) -> None:
    """Stock takes it before any other file in the folder."""
    folder = copied("stable-diffusion")
    weights = checkpoints.weight_file(folder / "text_encoder")
    others = {name: tensor + 1 for name, tensor in checkpoints.load_file(weights).items()}
    file = folder / "text_encoder" / "shard-00000-model-00001-of-00001.safetensors"
    safetensors.torch.save_file(others, file, metadata={"format": "pt"})
    try:
        stock = load(folder, "text_encoder")
    except OSError as error:  # transformers asks for torch 2.8 here
        with warpload.accelerated(), pytest.raises(OSError, match=re.escape(str(error))):
            load(folder, "text_encoder")
        return

    with warpload.accelerated():
        ours = load(folder, "text_encoder")

    assert_same_model(ours, stock)
    assert report().components["CLIPTextModel"] != "native" or "CLIPTextModel" in report().placed_by_stock


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_torchs_default_dtype_counts_as_for_stock(dtype: torch.dtype, kind: str, saved: Saved) -> None:
    with default_dtype(dtype):
        stock = load(saved("stable-diffusion"), kind)
        with warpload.accelerated():
            ours = load(saved("stable-diffusion"), kind)

    assert_same_model(ours, stock)


@pytest.mark.parametrize("kind", KINDS)
def test_torchs_default_device_counts_as_for_stock(kind: str, saved: Saved) -> None:
    def outcome() -> Any:
        with torch.device("meta"):
            try:
                return load(saved("stable-diffusion"), kind)
            except RuntimeError as error:
                return str(error)

    stock = outcome()
    with warpload.accelerated():
        ours = outcome()

    assert isinstance(stock, str) == (kind == "text_encoder")
    if isinstance(stock, str):
        assert ours == stock
    else:
        assert_same_model(ours, stock)


def test_stock_finds_an_hf_mount_where_we_do() -> None:
    """Whether this transformers looks for it at all; if not, our looking is in vain and does no harm."""
    if hasattr(modeling_utils, "_is_on_hf_mount"):
        assert modeling_utils._is_on_hf_mount("/") == mounts.forbid_mapping([Path("/")])
