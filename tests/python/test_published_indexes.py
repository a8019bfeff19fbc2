"""Checkpoints whose index or headers are odd load as with stock, with what it says and one warning of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import warpload
from support import checkpoints, models
from support import odd_indexes as odd
from support.compare import assert_same_pipeline
from support.loading import assert_fails_as_stock
from support.pipelines import Saved
from support.said import warnings_of, with_warnings
from support.sharded import Index, respell_header, shard

Change = Callable[[Index], Any]

KINDS = {"diffusers": "unet", "transformers": "text_encoder"}

DTYPES = [{}, {"dtype": torch.float16}]


def assert_loads_with_one_warning(
    folder: Path, component: str, log: pytest.LogCaptureFixture, named: list[str], **arguments: Any
) -> warpload.LoadReport:
    """Fail unless both loaders make the same of it and say the same, and ours warns once and names what is odd."""
    stock, expected = with_warnings(lambda: diffusers.DiffusionPipeline.from_pretrained(folder, **arguments))
    log.clear()
    ours, said = with_warnings(lambda: warpload.DiffusionPipeline.from_pretrained(folder, **arguments))

    assert_same_pipeline(ours, stock)
    assert said == expected
    (warning,) = warnings_of(log)
    for part in [component, *named]:
        assert part in warning
    report = warpload.last_report()
    assert report is not None
    return report


NATIVE: dict[str, Change] = {
    "wrong shards": odd.swap_two,
    "a stale copy before": odd.stale_copy_before,
    "another copy behind": odd.other_copy_behind,
    "copies in all shards": odd.copies_in_all,
    "a name twice": odd.name_twice,
    "a weight map twice": odd.map_twice,
    "unknown fields": odd.unknown_fields,
    "entries as arrays": odd.entries_as_arrays,
    "metadata twice": odd.metadata_twice,
}


@pytest.mark.parametrize("arguments", DTYPES, ids=["no-dtype", "float16"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", NATIVE)
def test_what_stock_takes_and_the_core_understands_is_native(
    case: str, kind: str, arguments: dict[str, Any], copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    folder = copied("stable-diffusion")
    index = Index(shard(folder / KINDS[kind]))
    named = NATIVE[case](index)

    report = assert_loads_with_one_warning(folder, KINDS[kind], log, [str(index.file.parent), *named], **arguments)

    assert set(report.components.values()) == {"native"}
    assert not report.placed_by_stock


LEFT_TO_STOCK: dict[str, Change] = {
    "a tensor that no shard has": odd.lost,
    "a shard that the index does not list": odd.shard_not_listed,
    "a name that neither shards nor the model have": odd.never_there,
    "a tensor that the index leaves out": odd.left_out,
    "a tensor that index and model leave out": odd.unknown_and_left_out,
    "a stale copy of another dtype": odd.copy_of_another_dtype,
    "NaN in the metadata": odd.not_a_number,
    "a number above all doubles": odd.number_without_end,
    "half a character": odd.half_a_character,
    "nesting deeper than the core's": odd.nested_deeply,
    "pickles as shards": odd.pickled,
}


@pytest.mark.parametrize("arguments", DTYPES, ids=["no-dtype", "float16"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", LEFT_TO_STOCK)
def test_what_only_stock_can_decide_is_left_to_stock(
    case: str, kind: str, arguments: dict[str, Any], copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    folder = copied("stable-diffusion")
    index = Index(shard(folder / KINDS[kind]))
    named = LEFT_TO_STOCK[case](index)

    assert_loads_with_one_warning(folder, KINDS[kind], log, [str(index.file.parent), *named], **arguments)


def test_an_empty_index_fares_as_with_stock(copied: Saved, log: pytest.LogCaptureFixture) -> None:
    """diffusers leaves the model on the meta device."""
    folder = copied("ddpm")
    index = Index(shard(folder / "unet"))
    odd.empty_map(index)

    assert_loads_with_one_warning(folder, "unet", log, [str(index.file), "weight_map is empty"])


@pytest.mark.parametrize("change", [odd.into_a_folder, odd.with_a_dot])
def test_shards_by_paths_are_native_where_stock_takes_them(
    change: Change, copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    folder = copied("stable-diffusion")
    change(Index(shard(folder / "text_encoder")))

    stock, ours = (library.DiffusionPipeline.from_pretrained(folder) for library in (diffusers, warpload))

    assert_same_pipeline(ours, stock)
    assert not warnings_of(log)
    report = warpload.last_report()
    assert report is not None
    assert not report.placed_by_stock


@pytest.mark.parametrize("change", [odd.out_of_the_folder, odd.to_an_absolute_path])
def test_shards_elsewhere_are_read_where_stock_does_so(
    change: Change, copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    folder = copied("stable-diffusion")
    index = Index(shard(folder / "text_encoder"))
    change(index)

    assert_loads_with_one_warning(folder, "text_encoder", log, [str(index.file), "second.safetensors"])


@pytest.mark.parametrize("both", [False, True])
def test_of_two_spellings_of_one_shard_the_last_reading_counts(
    both: bool, copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    """Stock reads "./b" before "a", and "b" once more after it."""
    folder = copied("stable-diffusion")
    index = Index(shard(folder / "text_encoder"))
    name = odd.other_copy_behind(index)[0]
    last, names = index.shards[2], index.names(2)
    index.change_map(lambda weights: weights.update(dict.fromkeys(names[1:] if both else names, f"./{last}")))

    assert_loads_with_one_warning(folder, "text_encoder", log, [name])


def test_shards_of_another_suffix_fare_as_with_stock(copied: Saved, log: pytest.LogCaptureFixture) -> None:
    """Stock has torch read them, which knows the format or not, by its version."""
    folder = copied("stable-diffusion")
    odd.with_no_suffix(Index(shard(folder / "text_encoder")))
    try:
        diffusers.DiffusionPipeline.from_pretrained(folder)
    except Exception:
        assert_fails_as_stock(folder)
    else:
        assert_loads_with_one_warning(folder, "text_encoder", log, ["part-0", "does not end in .safetensors"])


def test_a_stale_copy_of_another_shape_is_never_seen_by_transformers(
    copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    folder = copied("stable-diffusion")
    index = Index(shard(folder / "text_encoder"))
    name = index.floating(2)
    index.rewrite(0, lambda tensors: tensors | {name: torch.zeros(3)})

    report = assert_loads_with_one_warning(folder, "text_encoder", log, [name])

    assert not report.placed_by_stock


@pytest.mark.parametrize(("kind", "dtype"), [("diffusers", "no dtype"), ("transformers", "float16")])
@pytest.mark.parametrize("case", [case for case in (*NATIVE, *LEFT_TO_STOCK) if case != "pickles as shards"])
def test_odd_files_are_told_of_where_stock_places_the_tensors_for_another_reason(
    case: str, kind: str, dtype: str, copied: Saved, log: pytest.LogCaptureFixture
) -> None:
    folder = copied("stable-diffusion")
    index = Index(shard(folder / KINDS[kind]))
    named = {**NATIVE, **LEFT_TO_STOCK}[case](index)
    dtypes = {KINDS[kind]: dtype, "default": torch.float32}

    report = assert_loads_with_one_warning(folder, KINDS[kind], log, [str(index.file.parent), *named], dtype=dtypes)

    assert not report.placed_by_stock or "is not a torch.dtype" in report.placed_by_stock[KINDS[kind]]


def test_an_odd_header_of_a_single_file_is_told_of(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    models.vae().save_pretrained(tmp_path / "vae")
    file = checkpoints.weight_file(tmp_path / "vae")
    unknown = {"strides": [1]}
    respell_header(file, lambda header: json.dumps({k: v | unknown if "dtype" in v else v for k, v in header.items()}))

    warpload.AutoencoderKL.from_single_file(str(file), config=str(tmp_path / "vae"))

    (warning,) = warnings_of(log)
    assert "strides" in warning
    assert str(file) in warning
