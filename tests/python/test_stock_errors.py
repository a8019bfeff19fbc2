"""What stock refuses is refused with stock's own error and message."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from support import checkpoints
from support.loading import assert_fails_as_stock
from support.pipelines import Saved


def with_another_shape(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
    name = max(name for name, tensor in tensors.items() if tensor.ndim == 1)
    return tensors | {name: torch.zeros(tensors[name].shape[0] + 1)}


def test_use_safetensors_true_without_any_fails_as_stock(copied: Saved) -> None:
    folder = copied("ddpm")
    checkpoints.as_pickles(folder, "unet")

    assert isinstance(assert_fails_as_stock(folder, use_safetensors=True), OSError)


@pytest.mark.parametrize("name", ["unet", "text_encoder"])
def test_another_shape_is_stocks_error(name: str, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    checkpoints.rewrite(checkpoints.weight_file(folder / name), with_another_shape)

    assert_fails_as_stock(folder)


@pytest.mark.parametrize("dtype", [torch.float8_e5m2, torch.int8, torch.complex64])
def test_a_dtype_that_stock_refuses_is_stocks_error(dtype: torch.dtype, saved: Saved) -> None:
    assert_fails_as_stock(saved("ddpm"), dtype=dtype)


def test_both_names_of_the_dtype_fail_as_stock(saved: Saved) -> None:
    error = assert_fails_as_stock(saved("ddpm"), dtype=torch.float16, torch_dtype=torch.float16)

    assert isinstance(error, ValueError)


def test_low_cpu_mem_usage_with_parts_kept_in_float32_fails_as_stock(saved: Saved) -> None:
    assert isinstance(assert_fails_as_stock(saved("wan"), low_cpu_mem_usage=False), ValueError)


def test_a_folder_that_does_not_exist_fails_as_stock(tmp_path: Path) -> None:
    assert_fails_as_stock(str(tmp_path / "a" / "b" / "c"))


def test_a_folder_without_an_index_fails_as_stock(tmp_path: Path) -> None:
    assert_fails_as_stock(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"_class_name": "NoSuchPipeline"}', '{"_class_name": 3}'])
def test_an_index_that_names_no_pipeline_fails_as_stock(text: str, copied: Saved) -> None:
    folder = copied("ddpm")
    (folder / "model_index.json").write_text(text)

    assert_fails_as_stock(folder)


def test_a_component_without_weights_fails_as_stock(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    checkpoints.weight_file(folder / "vae").unlink()

    assert isinstance(assert_fails_as_stock(folder), OSError)


def test_a_component_without_a_configuration_fails_as_stock(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    (folder / "unet" / "config.json").unlink()

    assert_fails_as_stock(folder)


def test_a_broken_tokenizer_fails_as_stock(copied: Saved) -> None:
    folder = copied("stable-diffusion")
    (folder / "tokenizer" / "tokenizer.json").write_text("{")

    assert_fails_as_stock(folder)


def test_an_unknown_variant_fails_as_stock(saved: Saved) -> None:
    assert isinstance(assert_fails_as_stock(saved("ddpm"), variant="fp8"), ValueError)
