"""``load_file`` of GGUF files: packed as they are, or dequantised on their way; held against the ``gguf`` package."""

from __future__ import annotations

import warnings
from pathlib import Path

import gguf
import numpy as np
import pytest
import safetensors
import torch
from diffusers import AutoencoderKL
from gguf import GGMLQuantizationType as Type

import warpload
from support import checkpoints, gguf_files
from support.compare import assert_same_tensor, assert_same_tensors
from support.devices import Device
from support.pipelines import Saved
from support.processes import mapped_files

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


@pytest.fixture(scope="module")
def assorted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with tensors of every type that is dequantised, and of every plain one."""
    return gguf_files.write(tmp_path_factory.mktemp("gguf") / "assorted.gguf", gguf_files.assorted())


def as_written(file: Path) -> dict[str, torch.Tensor]:
    """Return the tensors as the package's reader has them: quantised ones and BF16 as bytes."""
    found = {tensor.name: torch.from_numpy(tensor.data.copy()) for tensor in gguf.GGUFReader(file).tensors}
    return {name: each.clone(memory_format=torch.contiguous_format) for name, each in found.items()}


def packed(file: Path) -> dict[str, torch.Tensor]:
    """Return what ``load_file`` is to give without a dtype."""
    types = {tensor.name: tensor.tensor_type for tensor in gguf.GGUFReader(file).tensors}
    tensors = as_written(file)
    return {name: each.view(torch.bfloat16) if types[name] == Type.BF16 else each for name, each in tensors.items()}


def dequantised(file: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return what ``load_file`` is to give with a dtype: by the package's arithmetic, cast by torch."""
    found = packed(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of infinite scales
        for tensor in gguf.GGUFReader(file).tensors:
            if tensor.tensor_type in gguf_files.SCALES:
                found[tensor.name] = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
    return {name: each.to(dtype) if each.is_floating_point() else each for name, each in found.items()}


def test_without_a_dtype_tensors_are_as_in_the_file(assorted: Path, device: Device) -> None:
    ours = warpload.load_file(assorted, device=device.name)

    assert_same_tensors({name: each.cpu() for name, each in ours.items()}, packed(assorted))
    report = warpload.last_report()
    assert report.components == {"assorted.gguf": "native"}
    assert report.bytes == sum(tensor.n_bytes for tensor in gguf.GGUFReader(assorted).tensors)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_with_a_dtype_every_number_has_the_bits_of_the_gguf_package(
    assorted: Path, dtype: torch.dtype, device: Device
) -> None:
    ours = warpload.load_file(assorted, device=device.name, dtype=dtype)

    assert_same_tensors({name: each.cpu() for name, each in ours.items()}, dequantised(assorted, dtype))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int16, torch.complex64], ids=str)
def test_what_only_torch_casts_is_cast_from_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    kinds = {kind.name: (gguf_files.blocks(kind, 2, 256), kind) for kind in gguf_files.DEQUANTISED}
    file = gguf_files.write(tmp_path / "model.gguf", kinds)

    assert_same_tensors(warpload.load_file(file, dtype=dtype), dequantised(file, dtype))


@pytest.mark.parametrize("kind", gguf_files.DEQUANTISED, ids=lambda kind: kind.name)
def test_a_large_tensor_is_dequantised_in_pieces_by_several_threads(tmp_path: Path, kind: Type) -> None:
    """Of more than one run and one batch; the rows do not end where the pieces do."""
    rows, columns = 1501, 4096
    file = gguf_files.write(tmp_path / "model.gguf", {"w": (gguf_files.blocks(kind, rows, columns, wild=True), kind)})

    with warpload.LoadOptions(threads=3):
        ours = warpload.load_file(file, dtype=torch.float32)

    assert_same_tensors(ours, dequantised(file, torch.float32))


def test_tensors_are_views_of_a_private_mapping_each_with_a_storage_of_its_own(tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.flux(Type.Q4_K))
    before = file.read_bytes()

    ours = warpload.load_file(file)

    assert str(file) in mapped_files()
    for tensor in ours.values():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
        tensor.view(torch.uint8).fill_(0)
    assert file.read_bytes() == before


def test_disable_mmap_copies_and_holds_no_file(tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.flux(Type.Q4_K))

    ours = warpload.load_file(file, disable_mmap=True)

    assert str(file) not in mapped_files()
    assert_same_tensors(ours, packed(file))


def test_the_first_bytes_tell_the_format_and_shards_of_both_load_together(tmp_path: Path) -> None:
    kind = Type.Q8_0
    first = gguf_files.write(tmp_path / "no.suffix", {"a": (gguf_files.blocks(kind, 1, 64), kind)})
    second = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"b": torch.arange(4.0)}, second)

    ours = warpload.load_file([first, second], dtype=torch.float16)

    expected = dequantised(first, torch.float16) | {"b": torch.arange(4.0, dtype=torch.float16)}
    assert_same_tensors(ours, expected)


def test_a_prefetched_file_is_taken(assorted: Path) -> None:
    warpload.prefetch(assorted, dtype=torch.bfloat16)

    ours = warpload.load_file(assorted, dtype=torch.bfloat16)

    assert warpload.last_report().prefetched
    assert_same_tensors(ours, dequantised(assorted, torch.bfloat16))


@pytest.mark.parametrize("kind", [Type.IQ2_XS, Type.TQ1_0, Type.MXFP4], ids=lambda kind: kind.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float8_e5m2], ids=str)
def test_blocks_that_the_core_does_not_dequantise_are_refused_by_name_and_load_as_they_are(
    tmp_path: Path, kind: Type, dtype: torch.dtype
) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", {"w": (gguf_files.blocks(kind, 2, 256), kind)})

    with pytest.raises(warpload.InvalidArgumentError, match=kind.name) as refused:
        warpload.load_file(file, dtype=dtype)

    assert (refused.value.path, refused.value.tensor) == (str(file), "w")
    assert "gguf package" in refused.value.cure
    begin, end = refused.value.byte_range or (0, 0)
    assert end - begin == gguf.GGUFReader(file).tensors[0].n_bytes
    assert_same_tensors(warpload.load_file(file), packed(file))


def test_safe_open_says_what_to_do(assorted: Path) -> None:
    with pytest.raises(safetensors.SafetensorError, match="GGUF"):
        warpload.safe_open(assorted, "pt")

    with pytest.raises(warpload.FormatError) as refused:
        warpload.safe_open(assorted, "pt")
    assert "warpload.load_file" in refused.value.cure


def test_a_model_folder_with_a_gguf_file_for_its_weights_fails_as_with_stock(copied: Saved, assorted: Path) -> None:
    folder = copied("stable-diffusion") / "vae"
    checkpoints.weight_file(folder).write_bytes(assorted.read_bytes())

    with pytest.raises(OSError, match="Unable to load weights"):
        AutoencoderKL.from_pretrained(folder)
    with pytest.raises(OSError, match="GGUF") as refused:
        warpload.AutoencoderKL.from_pretrained(folder)
    assert isinstance(refused.value, warpload.FormatError)


# ---- bad files ----


def test_a_bad_file_is_refused_with_file_tensor_range_and_cure(tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", {"w": (gguf_files.blocks(Type.Q8_0, 4, 64), Type.Q8_0)})
    whole = file.read_bytes()
    begin = gguf.GGUFReader(file).tensors[0].data_offset
    file.write_bytes(whole[: begin + 100])

    with pytest.raises(warpload.FormatError, match="truncated") as refused:
        warpload.load_file(file)

    error = refused.value
    assert isinstance(error, safetensors.SafetensorError)
    assert (error.path, error.tensor, error.byte_range) == (str(file), "w", (begin + 100, begin + 4 * 68))
    assert error.cure


def test_a_file_of_the_other_byte_order_is_refused_with_the_tool_that_converts_it(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(str(file), "flux", endianess=gguf.GGUFEndian.BIG)
    writer.add_tensor("w", np.ones(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    with pytest.raises(warpload.FormatError, match="big endian") as refused:
        warpload.load_file(file)

    assert "gguf-convert-endian" in refused.value.cure


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "download it again"),
        (b"lmgg" + bytes(60), "does not begin with GGUF"),
        (b"", "empty"),
        (b"GGUF", "truncated"),
    ],
)
def test_a_file_that_is_only_called_so_is_refused_for_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)

    with pytest.raises(warpload.FormatError, match=said):
        warpload.load_file(file)


def test_the_metadata_is_there_for_who_opens_the_file(tmp_path: Path) -> None:
    tensors = {"w": np.ones(4, np.float32)}
    file = gguf_files.write(tmp_path / "model.gguf", tensors, **{"general.name": "Größe"})

    metadata = warpload.engine.open_checkpoint(file, gguf=True).metadata()

    assert metadata == {"general.architecture": "flux", "general.name": "Größe"}
    assert_same_tensor(warpload.load_file(file)["w"], torch.ones(4))
