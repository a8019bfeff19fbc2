"""Bad files are named, with the place and the reason, and leave nothing behind."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch

import warpload
from support.bad_files import BAD_FILES, fail, good, write_index
from support.checkpoints import TRANSFORMERS_FILE, weight_file
from support.pipelines import Saved
from support.processes import falls_to, mapped_files, open_descriptors, resident_bytes, run_python, thread_count
from warpload import engine

COMPONENT_FILES = {"vae": "diffusion_pytorch_model.safetensors", "text_encoder": TRANSFORMERS_FILE}


def test_the_file_that_the_bad_ones_are_made_of_is_good(good_file: Path) -> None:
    assert {name: tensor.tolist() for name, tensor in warpload.load_file(good_file).items()} == {
        name: tensor.tolist() for name, tensor in safetensors.torch.load_file(good_file).items()
    }


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_with_place_and_reason(case: str, tmp_path: Path) -> None:
    bad = BAD_FILES[case]
    file = tmp_path / "model.safetensors"
    file.write_bytes(bad.content)
    if not bad.stock_takes_it:
        with pytest.raises(bad.stock_error):
            safetensors.torch.load_file(file)

    error = fail(warpload.FormatError, lambda: warpload.load_file(file), file)

    assert isinstance(error, ValueError)
    assert bad.reason in error.reason
    begin, end = error.byte_range if error.byte_range is not None else (0, 0)
    assert f"[{begin}, {end})" in str(error)
    assert 0 <= begin <= end
    if bad.byte_range is not None:
        assert error.byte_range == bad.byte_range


# What only torch refuses, and only where the tensor is wanted, transformers skips: no model has such a tensor.
FOR_PIPELINES = [case for case, bad in BAD_FILES.items() if bad.stock_error is safetensors.SafetensorError]


@pytest.mark.parametrize("component", COMPONENT_FILES)
@pytest.mark.parametrize("case", FOR_PIPELINES)
def test_a_bad_file_of_a_pipeline_is_named_with_the_reason(case: str, component: str, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    file = folder / component / COMPONENT_FILES[component]
    file.write_bytes(BAD_FILES[case].content)

    error = fail(warpload.FormatError, lambda: warpload.DiffusionPipeline.from_pretrained(folder), file)

    assert BAD_FILES[case].reason in error.reason


def test_a_bad_tensor_is_named(good_file: Path) -> None:
    good_file.write_bytes(good()[:-1])

    error = fail(warpload.FormatError, lambda: warpload.load_file(good_file), good_file)

    assert error.tensor == "b"
    assert "'b'" in str(error)


def test_a_git_lfs_pointer_comes_with_the_cure(good_file: Path) -> None:
    good_file.write_bytes(BAD_FILES["git-lfs"].content)

    error = fail(warpload.FormatError, lambda: warpload.load_file(good_file), good_file)

    assert "git lfs pull" in error.cure
    assert error.cure in str(error)


def test_a_missing_file_is_a_file_not_found_error(tmp_path: Path) -> None:
    file = tmp_path / "missing.safetensors"

    error = fail(warpload.IoError, lambda: warpload.load_file(file), file)

    assert isinstance(error, FileNotFoundError)
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOENT
    assert error.filename == str(file)


def test_a_broken_link_is_named_with_its_target(tmp_path: Path) -> None:
    file = tmp_path / "link.safetensors"
    file.symlink_to(tmp_path / "blobs" / "0123")

    error = fail(warpload.IoError, lambda: warpload.load_file(file), file)

    assert isinstance(error, FileNotFoundError)
    assert "blobs/0123" in str(error)


def test_a_directory_is_said_to_be_one(tmp_path: Path) -> None:
    file = tmp_path / "folder.safetensors"
    file.mkdir()

    error = fail(warpload.IoError, lambda: warpload.load_file(file), file)

    assert isinstance(error, IsADirectoryError)
    assert "directory" in error.reason


def test_a_device_is_refused() -> None:
    error = fail(warpload.IoError, lambda: warpload.load_file("/dev/zero"), Path("/dev/zero"))

    assert "device" in error.reason


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    file = tmp_path / "fifo.safetensors"
    os.mkfifo(file)

    run_python(  # in a process of its own, which a hang does not survive
        """
import sys, warpload
try:
    warpload.load_file(sys.argv[1])
except warpload.IoError as error:
    assert "FIFO" in error.reason and error.path == sys.argv[1], error
else:
    raise AssertionError("loaded")
""",
        file,
    )


def test_a_fifo_in_a_pipeline_is_refused_without_waiting_for_a_writer(copied: Saved) -> None:
    folder = copied("ddpm")
    file = weight_file(folder / "unet")
    file.unlink()
    os.mkfifo(file)

    run_python(
        """
import sys, warpload
try:
    warpload.DiffusionPipeline.from_pretrained(sys.argv[1])
except OSError as error:
    assert sys.argv[1] in str(error), error
else:
    raise AssertionError("loaded")
""",
        folder,
    )


def test_an_unreadable_file_is_a_permission_error() -> None:
    """Root reads everything, so that an ordinary user has to try."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, "model.safetensors")
        file.write_bytes(good())
        file.chmod(0)

        run_python(
            """
import os, sys
import warpload
warpload.load_file, warpload.IoError, warpload.engine.loader()  # the package's own files have to be readable
if os.geteuid() == 0:
    os.setegid(65534), os.seteuid(65534)
try:
    warpload.load_file(sys.argv[1])
except warpload.IoError as error:
    assert isinstance(error, PermissionError), error
    assert error.filename == error.path == sys.argv[1] and sys.argv[1] in str(error), error
else:
    raise AssertionError("loaded")
""",
            file,
        )


def test_a_failed_load_leaves_no_descriptor_mapping_or_memory(tmp_path: Path) -> None:
    """One good shard of 64 MB comes first; the bad one is found before anything is allocated."""
    large = tmp_path / "model-1.safetensors"
    safetensors.torch.save_file({"large": torch.ones(32 << 20, dtype=torch.float16)}, large)
    bad = tmp_path / "model-2.safetensors"
    bad.write_bytes(good()[:-7])
    write_index(tmp_path, {"large": large.name, "a": bad.name, "b": bad.name})
    warpload.load_file(large, dtype=torch.float32)  # the workers are there from now on
    before = open_descriptors(), thread_count(), resident_bytes()

    for _ in range(20):
        with pytest.raises(warpload.FormatError):
            warpload.load_file(tmp_path / "model.safetensors.index.json", dtype=torch.float32)

    assert open_descriptors() == before[0]
    assert falls_to(thread_count, before[1])
    assert str(tmp_path) not in mapped_files()
    assert resident_bytes() - before[2] < 16 << 20


def test_a_failed_pipeline_leaves_no_descriptor_mapping_or_thread(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    warpload.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)
    weight_file(folder / "unet").write_bytes(good()[:-7])
    before = open_descriptors(), thread_count()

    for _ in range(3):
        with pytest.raises(warpload.FormatError):
            warpload.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)

    assert open_descriptors() == before[0]
    assert falls_to(thread_count, before[1])  # transformers' own come and go
    assert str(folder) not in mapped_files()


@pytest.mark.parametrize(("family", "component"), [("ddpm", "unet"), ("stable-diffusion", "text_encoder")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_file_that_shrinks_during_the_load_is_an_error(
    dtype: torch.dtype, family: str, component: str, copied: Saved, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its headers were right: mapped or read, the load has to wait for the bytes and to say what is wrong."""
    folder = copied(family)
    file = weight_file(folder / component)
    start = engine.start

    def cut_and_start(*arguments: Any) -> Any:
        os.truncate(file, file.stat().st_size - 1)
        return start(*arguments)

    monkeypatch.setattr(engine, "start", cut_and_start)

    error = fail(warpload.IoError, lambda: warpload.DiffusionPipeline.from_pretrained(folder, dtype=dtype), file)

    assert error.byte_range is not None


def test_a_component_that_is_not_asked_for_may_be_bad(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    weight_file(folder / "safety_checker").write_bytes(b"nonsense")

    pipeline = warpload.DiffusionPipeline.from_pretrained(folder, safety_checker=None)

    assert pipeline.safety_checker is None


def test_a_load_works_after_one_that_failed(copied: Saved, saved: Saved) -> None:
    folder = copied("ddpm")
    weight_file(folder / "unet").write_bytes(good()[:-7])
    with pytest.raises(warpload.FormatError):
        warpload.DiffusionPipeline.from_pretrained(folder)

    assert warpload.DiffusionPipeline.from_pretrained(saved("ddpm")).unet.conv_in.weight.isfinite().all()
