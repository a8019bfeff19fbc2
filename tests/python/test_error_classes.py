"""Whoever catches what stock raises for a fault catches ours: kinds of faults x places to meet them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors
import safetensors.torch
import torch
import transformers

import warpload
from support.bad_files import BAD_FILES, good, write_index
from support.checkpoints import weight_file
from support.pipelines import Saved
from support.processes import run_python
from support.versions import TORCHS_DEVICE_ERROR
from warpload import _core, errors

Fault = Callable[[Path], None]


def _missing(file: Path) -> None:
    file.unlink()


def _directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.parent / "gone")


def _content(content: bytes) -> Fault:
    def write(file: Path) -> None:
        file.write_bytes(content)

    return write


FAULTS: dict[str, Fault] = {
    "missing": _missing,
    "directory": _directory,
    "dangling": _dangling,
    **{name: _content(bad.content) for name, bad in BAD_FILES.items() if bad.is_refused_when_opened},
}


@dataclass(frozen=True)
class Entry:
    """A place to meet a fault: which folder has the file, and who loads it how."""

    family: str
    component: str
    load: Callable[[Path, bool], Any]


def _library(ours: bool) -> Any:
    return warpload if ours else diffusers


@contextlib.contextmanager
def _loaded_by(ours: bool) -> Iterator[None]:
    with warpload.accelerated() if ours else contextlib.nullcontext():
        yield


def _pipeline(folder: Path, ours: bool) -> Any:
    return _library(ours).DiffusionPipeline.from_pretrained(folder)


def _unet(folder: Path, ours: bool) -> Any:
    return _library(ours).UNet2DModel.from_pretrained(folder / "unet")


def _unet_by_stocks_class(folder: Path, ours: bool) -> Any:
    with _loaded_by(ours):
        return diffusers.UNet2DModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False)


def _text_encoder(folder: Path, ours: bool) -> Any:
    with _loaded_by(ours):
        return transformers.CLIPTextModel.from_pretrained(folder / "text_encoder")


def _text_encoder_placed_by_stock(folder: Path, ours: bool) -> Any:
    with _loaded_by(ours):
        return transformers.CLIPTextModel.from_pretrained(folder / "text_encoder", output_loading_info=True)


def _single_file(folder: Path, ours: bool) -> Any:
    file = str(weight_file(folder / "unet")) if any((folder / "unet").glob("*.safetensors")) else "gone.safetensors"
    with _loaded_by(ours):
        return diffusers.UNet2DConditionModel.from_single_file(file, config=str(folder / "unet"))


def _load_file(folder: Path, ours: bool) -> Any:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    return warpload.load_file(file) if ours else safetensors.torch.load_file(file)


def _safe_open(folder: Path, ours: bool) -> Any:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    return (warpload if ours else safetensors).safe_open(file, "pt")


ENTRIES = {
    "pipeline-with-a-bad-unet": Entry("ddpm", "unet", _pipeline),
    "pipeline-with-a-bad-text-encoder": Entry("stable-diffusion", "text_encoder", _pipeline),
    "diffusers-model": Entry("ddpm", "unet", _unet),
    "diffusers-model-placed-by-stock": Entry("ddpm", "unet", _unet_by_stocks_class),
    "transformers-model": Entry("stable-diffusion", "text_encoder", _text_encoder),
    "transformers-model-placed-by-stock": Entry("stable-diffusion", "text_encoder", _text_encoder_placed_by_stock),
    "single-file": Entry("stable-diffusion", "unet", _single_file),
    "load_file": Entry("ddpm", "unet", _load_file),
    "safe_open": Entry("ddpm", "unet", _safe_open),
}


def raised(call: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the question
        call()
    error: Exception = caught.value
    return error


@pytest.mark.parametrize("where", ENTRIES)
@pytest.mark.parametrize("fault", FAULTS)
def test_who_catches_stocks_error_catches_ours(fault: str, where: str, saved: Saved, tmp_path: Path) -> None:
    """And who tells a bad file from a missing one by the class goes on doing so."""
    entry = ENTRIES[where]
    folder = Path(shutil.copytree(saved(entry.family), tmp_path / "pipeline"))
    FAULTS[fault](weight_file(folder / entry.component))

    stock = raised(lambda: entry.load(folder, False))
    ours = raised(lambda: entry.load(folder, True))

    kind = next(cls for cls in type(stock).__mro__ if cls.__module__ != "diffusers.loaders.single_file_utils")
    assert isinstance(ours, kind), (stock, ours)
    for other in (OSError, FileNotFoundError, safetensors.SafetensorError):
        assert isinstance(ours, other) == isinstance(stock, other), (other, stock, ours)
    if isinstance(ours, errors.FormatError):
        assert isinstance(ours, ValueError)  # as it has always been


@pytest.mark.parametrize("library", ["diffusers", "transformers"])
@pytest.mark.parametrize("text", ["", "{", "not JSON"])
def test_a_bad_index_is_caught_as_stocks(library: str, text: str, saved: Saved, tmp_path: Path) -> None:
    component = {"diffusers": "unet", "transformers": "text_encoder"}[library]
    folder = Path(shutil.copytree(saved("stable-diffusion"), tmp_path / "pipeline"))
    file = weight_file(folder / component)
    index = write_index(folder / component, {})
    index = index.rename(index.with_name(f"{file.stem}.safetensors.index.json"))
    index.write_text(text)
    file.rename(file.with_name(f"{file.stem}-00001-of-00001.safetensors"))

    def load(ours: bool) -> Any:
        with _loaded_by(ours):
            if library == "diffusers":
                return diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
            return transformers.CLIPTextModel.from_pretrained(folder / "text_encoder")

    stock, ours = raised(lambda: load(False)), raised(lambda: load(True))

    assert isinstance(ours, type(stock)) or isinstance(ours, ValueError) == isinstance(stock, ValueError), stock


@pytest.mark.parametrize("caught_as", [OSError, ValueError, warpload.FormatError, warpload.WarploadError])
def test_download_again_is_reached_for_a_truncated_file(caught_as: type[Exception], copied: Saved) -> None:
    folder = copied("ddpm")
    weight_file(folder / "unet").write_bytes(good()[:-7])

    with pytest.raises(caught_as) as caught:
        warpload.DiffusionPipeline.from_pretrained(folder)

    assert caught.value.filename == caught.value.path == str(weight_file(folder / "unet"))  # type: ignore[attr-defined]


def test_the_class_is_that_of_the_call_and_not_of_the_one_before(tmp_path: Path, copied: Saved) -> None:
    folder = copied("ddpm")
    file = weight_file(folder / "unet")
    file.write_bytes(good()[:-7])

    kinds = []
    for _ in range(2):
        kinds.append(type(raised(lambda: warpload.load_file(file))))
        kinds.append(type(raised(lambda: warpload.DiffusionPipeline.from_pretrained(folder))))

    assert kinds[:2] == kinds[2:]
    assert issubclass(kinds[0], safetensors.SafetensorError) != issubclass(kinds[1], safetensors.SafetensorError)
    assert issubclass(kinds[1], OSError) != issubclass(kinds[0], OSError)


def test_a_drivers_error_is_torchs_too() -> None:
    with pytest.raises(TORCHS_DEVICE_ERROR) as caught:
        _core.Device.cuda(0, "libno-such-driver.so").memory()

    assert isinstance(caught.value, warpload.DeviceError)
    assert isinstance(caught.value, RuntimeError)


def test_a_drivers_lack_of_memory_is_torchs_too() -> None:
    error = errors.build_error("OutOfMemoryError", "full", "full", "", "", None, 0, 2, "")

    assert isinstance(error, torch.cuda.OutOfMemoryError)
    assert isinstance(error, warpload.OutOfMemoryError)
    assert isinstance(error, MemoryError)


def test_the_hosts_lack_of_memory_is_not_a_devices() -> None:
    error = errors.build_error("OutOfMemoryError", "full", "full", "", "", None, 12, 0, "")

    assert not isinstance(error, torch.OutOfMemoryError)


def test_errors_bring_no_library_and_need_none(good_file: Path) -> None:
    """A missing file imports nothing; a bad one safetensors alone, and does without where there is none."""
    good_file.write_bytes(good()[:-7])

    run_python(
        """
import sys, warpload
warpload.FormatError, warpload.DeviceError
try:
    warpload.load_file("/no/such/file")
except warpload.IoError as error:
    assert isinstance(error, FileNotFoundError)
assert not sys.modules.keys() & {"torch", "safetensors"}, sys.modules.keys()
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "safetensors":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
blocker = Blocker()
sys.meta_path.insert(0, blocker)
try:
    warpload.load_file(sys.argv[1])
except warpload.FormatError as error:
    assert type(error) is warpload.FormatError
sys.meta_path.remove(blocker)
try:
    warpload.load_file(sys.argv[1])
except warpload.FormatError as error:
    import safetensors
    assert isinstance(error, safetensors.SafetensorError)
assert "torch" not in sys.modules
try:
    warpload.engine._core.Device.cuda(0, "libno-such-driver.so").memory()
except warpload.DeviceError as error:
    assert type(error) is warpload.DeviceError
assert "torch" not in sys.modules
""",
        good_file,
    )
