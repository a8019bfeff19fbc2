"""``from_single_file`` of GGUF files: the core reads, stock converts, places and dequantises; the result is stock's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import gguf
import numpy as np
import pytest
import torch
from diffusers import GGUFQuantizationConfig
from diffusers.quantizers.gguf.utils import SUPPORTED_GGUF_QUANT_TYPES, GGUFParameter
from gguf import GGMLQuantizationType as Type

import warpload
from support import gguf_files
from support.compare import assert_loaded_natively, assert_same_model
from support.processes import mapped_files
from support.said import warnings_of, with_warnings

NAME = "FluxTransformer2DModel"


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Return the folder with the configurations of the small models."""
    for part in (gguf_files.FLUX, gguf_files.Z_IMAGE):
        part().save_config(tmp_path / "configurations" / part.name)
    return str(tmp_path / "configurations")


def loaders(file: Path, config: str, name: str = NAME, **changes: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return what loads a file by stock, and by us."""
    arguments: dict[str, Any] = {"config": config, "subfolder": name, "dtype": torch.bfloat16}
    arguments |= {"quantization_config": GGUFQuantizationConfig(compute_dtype=torch.bfloat16)} | changes
    stock, ours = getattr(diffusers, name), getattr(warpload, name)
    return lambda: stock.from_single_file(str(file), **arguments), lambda: ours.from_single_file(str(file), **arguments)


def assert_same_blocks(ours: torch.nn.Module, stock: torch.nn.Module) -> int:
    """Fail unless quantised parameters know the same of their blocks; return how many there are."""
    mine = dict(ours.named_parameters())
    theirs = {name: each for name, each in stock.named_parameters() if isinstance(each, GGUFParameter)}
    for name, expected in theirs.items():
        assert vars(mine[name]) == vars(expected), name
        assert mine[name].untyped_storage().nbytes() == mine[name].nbytes or mine[name]._base is None, name
    return len(theirs)


@pytest.mark.parametrize("kind", [*SUPPORTED_GGUF_QUANT_TYPES, Type.F16, Type.F32], ids=lambda kind: kind.name)
def test_a_model_equals_stock_and_computes_the_same(kind: Type, config: str, tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.flux(kind))
    by_stock, by_us = loaders(file, config)

    stock, said_by_stock = with_warnings(by_stock)
    ours, said = with_warnings(by_us)

    assert said == said_by_stock
    assert_same_model(ours, stock)
    assert (assert_same_blocks(ours, stock) > 0) == (kind not in (Type.F16, Type.F32))
    expected = gguf_files.output_of(stock)
    assert expected.isfinite().all()
    assert torch.equal(gguf_files.output_of(ours), expected)
    report = warpload.last_report()
    assert_loaded_natively(report, {NAME})
    assert report.placed_by_stock == {NAME: "quantization_config"}
    assert report.bytes == sum(tensor.n_bytes for tensor in gguf.GGUFReader(file).tensors)


@pytest.mark.parametrize("kind", [Type.Q4_K, Type.Q8_0, Type.BF16], ids=lambda kind: kind.name)
def test_published_names_and_fused_tensors_are_converted_as_by_stock(kind: Type, config: str, tmp_path: Path) -> None:
    """Z-Image's converter cuts the quantised queries, keys and values out of one tensor."""
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.z_image(kind))
    by_stock, by_us = loaders(file, config, "ZImageTransformer2DModel")

    stock, said_by_stock = with_warnings(by_stock)
    ours, said = with_warnings(by_us)

    assert said == said_by_stock
    assert_same_model(ours, stock)
    assert_same_blocks(ours, stock)
    assert_loaded_natively(warpload.last_report(), {"ZImageTransformer2DModel"})


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": torch.float16},
        {"dtype": None},
        {"device_map": "cpu"},
        {"quantization_config": GGUFQuantizationConfig(compute_dtype=torch.float32)},
    ],
    ids=str,
)
def test_arguments_mean_what_they_mean_to_stock(changes: dict[str, Any], config: str, tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.flux(Type.Q4_K))
    by_stock, by_us = loaders(file, config, **changes)

    stock, said_by_stock = with_warnings(by_stock)
    ours, said = with_warnings(by_us)

    assert said == said_by_stock
    assert_same_model(ours, stock)
    assert_same_blocks(ours, stock)
    assert_loaded_natively(warpload.last_report(), {NAME})


def test_a_model_is_dequantised_as_by_stock(config: str, tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.flux(Type.Q6_K))
    by_stock, by_us = loaders(file, config)
    dequantise = diffusers.quantizers.gguf.utils._dequantize_gguf_and_restore_linear

    assert_same_model(dequantise(by_us()), dequantise(by_stock()))


def test_under_install_stocks_own_class_reads_through_the_core(config: str, tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.flux(Type.Q5_0))
    by_stock, _ = loaders(file, config)
    stock = by_stock()

    with warpload.accelerated():
        ours = by_stock()

    assert_same_model(ours, stock)
    assert_loaded_natively(warpload.last_report(), {NAME})


@pytest.mark.parametrize("disable_mmap", [False, True])
def test_quantised_tensors_are_views_unless_mapping_is_disabled(
    disable_mmap: bool, config: str, tmp_path: Path
) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.flux(Type.Q4_K))
    by_stock, by_us = loaders(file, config, disable_mmap=disable_mmap)

    ours = by_us()

    assert (str(file) in mapped_files()) == (not disable_mmap)
    assert_same_model(ours, by_stock())
    assert_loaded_natively(warpload.last_report(), {NAME})


# ---- what stock reads, or refuses ----


def error_of(load: Callable[[], Any]) -> BaseException:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - compared with stock's
        load()
    return raised.value


def with_other_types(tensors: dict[str, Any], name: str) -> dict[str, Any]:
    other = {"float64": np.ones(3), "int32": np.ones(3, np.int32)}
    kinds = {"IQ2_XS": Type.IQ2_XS, "TQ1_0": Type.TQ1_0, "MXFP4": Type.MXFP4}
    extra = other[name] if name in other else (gguf_files.blocks(kinds[name], 1, 256), kinds[name])
    return {**tensors, "extra": extra}


@pytest.mark.parametrize("name", ["float64", "int32", "IQ2_XS", "TQ1_0", "MXFP4"])
def test_types_that_stock_does_not_take_fail_in_its_words(name: str, config: str, tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", with_other_types(gguf_files.flux(Type.Q4_0), name))
    by_stock, by_us = loaders(file, config)

    stock, ours = error_of(by_stock), error_of(by_us)

    assert type(ours) is type(stock)
    assert str(ours) == str(stock)


def truncated(content: bytes) -> bytes:
    return content[:-500]


def of_another_version(content: bytes) -> bytes:
    return content[:4] + b"\x01" + content[5:]


def git_lfs_pointer(_: bytes) -> bytes:
    return b"version https://git-lfs.github.com/spec/v1\n"


@pytest.mark.parametrize("spoil", [truncated, of_another_version, git_lfs_pointer])
def test_bad_files_fail_in_stocks_words(spoil: Callable[[bytes], bytes], config: str, tmp_path: Path) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.flux(Type.Q4_0))
    file.write_bytes(spoil(file.read_bytes()))
    by_stock, by_us = loaders(file, config)

    stock, ours = error_of(by_stock), error_of(by_us)

    assert type(ours) is type(stock)
    assert str(ours) == str(stock)


def test_what_only_stock_reads_is_said_with_the_reason(
    config: str, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """Two tensors that share their bytes: no writer makes such a file, and stock's reader takes it."""
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.flux(Type.F32))
    fields = {tensor.name: tensor.field for tensor in gguf.GGUFReader(file, "r+").tensors}
    one, other = (fields[f"proj_out.{name}"].parts[-1] for name in ("bias", "weight"))
    one[0] = other[0]
    del fields, one, other
    by_stock, by_us = loaders(file, config)

    assert_same_model(by_us(), by_stock())

    report = warpload.last_report()
    assert report is not None
    (who,) = report.components.values()
    assert who.startswith("stock: ")
    assert "overlap" in who
    assert any("overlap" in said for said in warnings_of(log))


def test_without_the_gguf_package_stock_says_so(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = gguf_files.write(tmp_path / "model.gguf", gguf_files.flux(Type.Q4_0))
    by_stock, by_us = loaders(file, config)
    monkeypatch.setattr(diffusers.models.model_loading_utils, "is_gguf_available", lambda: False)
    monkeypatch.setitem(sys.modules, "gguf", None)

    assert str(error_of(by_us)) == str(error_of(by_stock))
