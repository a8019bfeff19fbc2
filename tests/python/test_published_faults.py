"""An index that stock cannot use either is refused: by stock in its own words, by the core with the fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch

import warpload
from support import checkpoints
from support import odd_indexes as odd
from support.bad_files import fail
from support.loading import assert_fails_as_stock
from support.pipelines import Saved
from support.sharded import Index, respell_header, shard

Change = Callable[[Index], Any]

KINDS = {"diffusers": "unet", "transformers": "text_encoder"}

DTYPES = [{}, {"dtype": torch.float16}]


@pytest.mark.parametrize("change", [odd.into_a_folder, odd.with_a_dot, odd.with_no_suffix])
def test_names_of_shards_that_diffusers_refuses_are_refused_in_its_words(change: Change, copied: Saved) -> None:
    folder = copied("ddpm")
    change(Index(shard(folder / "unet")))

    assert_fails_as_stock(folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "change",
    [
        odd.without_metadata,
        odd.metadata_of_null,
        odd.without_a_map,
        odd.map_as_a_list,
        odd.map_of_numbers,
        odd.map_of_lists,
        odd.byte_order_mark,
        odd.no_text,
        odd.half_a_file,
    ],
)
def test_an_index_that_stock_cannot_read_either_is_named_with_the_fault(
    change: Change, kind: str, copied: Saved
) -> None:
    folder = copied("stable-diffusion")
    index = Index(shard(folder / KINDS[kind]))
    change(index)
    with pytest.raises(Exception) as stock:  # noqa: PT011 - whatever it is
        diffusers.DiffusionPipeline.from_pretrained(folder)

    error = fail(warpload.FormatError, lambda: warpload.DiffusionPipeline.from_pretrained(folder), index.file)

    assert type(error.__cause__) is type(stock.value)
    assert str(error.__cause__) == str(stock.value)


@pytest.mark.parametrize("change", [odd.out_of_the_folder, odd.to_an_absolute_path, odd.empty_map])
def test_an_index_that_one_library_refuses_is_named_with_the_fault(change: Change, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    index = Index(shard(folder / ("text_encoder" if change is odd.empty_map else "unet")))
    change(index)

    error = fail(warpload.FormatError, lambda: warpload.DiffusionPipeline.from_pretrained(folder), index.file)

    assert error.__cause__ is not None


def test_a_stale_copy_of_another_shape_fails_as_stock(copied: Saved) -> None:
    """diffusers puts every copy into the model, one after the other."""
    folder = copied("ddpm")
    index = Index(shard(folder / "unet"))
    name = index.floating(2)
    index.rewrite(0, lambda tensors: tensors | {name: torch.zeros(3)})

    assert_fails_as_stock(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_that_is_not_there_is_a_missing_file(kind: str, copied: Saved) -> None:
    folder = copied("stable-diffusion")
    index = Index(shard(folder / KINDS[kind]))
    index.file.with_name(index.shards[1]).unlink()

    for library in (diffusers, warpload):
        with pytest.raises(FileNotFoundError):
            library.DiffusionPipeline.from_pretrained(folder)


def test_a_header_that_only_the_package_takes_is_refused_once_stock_has_failed(copied: Saved) -> None:
    """No tensor has such a shape: the package opens the file, torch refuses the tensor."""
    folder = copied("ddpm")
    file = checkpoints.weight_file(folder / "unet")
    end = file.stat().st_size - 8 - int.from_bytes(file.read_bytes()[:8], "little")
    extra = {"dtype": "U8", "shape": [0, 1 << 63], "data_offsets": [end, end]}
    respell_header(file, lambda header: json.dumps(header | {"huge": extra}))

    error = fail(warpload.FormatError, lambda: warpload.DiffusionPipeline.from_pretrained(folder), file)

    assert error.tensor == "huge"
    assert isinstance(error.__cause__, OSError)


def test_a_tensor_twice_in_a_header_is_refused_though_stock_takes_the_last(copied: Saved) -> None:
    folder = copied("ddpm")
    file = checkpoints.weight_file(folder / "unet")
    respell_header(
        file, lambda header: f'{json.dumps(header)[:-1]}, "conv_in.bias": {json.dumps(header["conv_in.bias"])}}}'
    )
    diffusers.DiffusionPipeline.from_pretrained(folder)

    error = fail(warpload.FormatError, lambda: warpload.DiffusionPipeline.from_pretrained(folder), file)

    assert error.tensor == "conv_in.bias"
    assert error.__cause__ is None
