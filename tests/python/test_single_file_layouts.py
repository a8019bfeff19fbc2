"""``from_single_file`` of checkpoints in their original layouts: stock converts, the core reads, casts and places."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
from safetensors.torch import load_file, save_file

import warpload
from support import checkpoints, original_layouts, single_files
from support.compare import assert_loaded_natively, assert_same_model, assert_same_pipeline, bytes_of
from support.renamed_layouts import NOT_GIVEN
from support.said import with_warnings

DTYPES = [None, torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def _narrow() -> Iterator[None]:
    with single_files.narrow():
        yield


def both(layout: str, file: Path, **arguments: Any) -> tuple[Any, Any]:
    """Load a model of that layout by stock and through the core; both have to say the same."""
    name = single_files.MODELS[layout].name
    given = {"config": str(file.parents[1]), **arguments}
    return by_both(name, str(file), **given)


def by_both(name: str, file: str, **arguments: Any) -> tuple[Any, Any]:
    """Load a file by a class of stock's and through the core; both have to say the same."""
    stock, expected = with_warnings(lambda: getattr(diffusers, name).from_single_file(file, **arguments))
    ours, said = with_warnings(lambda: getattr(warpload, name).from_single_file(file, **arguments))
    # With disable_mmap stock leaves the file open.
    assert said == [each for each in expected if not each.startswith("ResourceWarning: unclosed file")]
    return ours, stock


def assert_placed(name: str) -> None:
    """Fail unless the core placed all tensors of a model."""
    report = warpload.last_report()
    assert_loaded_natively(report, {name})
    assert report is not None
    assert report.placed_by_stock == {}


def assert_plain(model: torch.nn.Module) -> None:
    """Fail unless all tensors are torch's own, each with memory of its own of exactly its size."""
    for name, tensor in model.state_dict(keep_vars=True).items():
        assert type(tensor.data) is torch.Tensor, name
        assert tensor.untyped_storage().nbytes() == tensor.nbytes, name
        assert tensor.storage_offset() == 0, name


def test_every_class_that_diffusers_loads_from_single_files_has_a_layout_or_a_reason() -> None:
    given = {part.name for part in single_files.MODELS.values()}

    assert set(SINGLE_FILE_LOADABLE_CLASSES) - given == {*NOT_GIVEN}
    assert not any(hasattr(getattr(diffusers, name), "from_single_file") for name in NOT_GIVEN)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", single_files.MODELS)
def test_a_checkpoint_in_its_original_layout_equals_stocks(
    layout: str, dtype: torch.dtype | None, tmp_path: Path
) -> None:
    file = single_files.write(layout, tmp_path / "model", torch.float16)

    ours, stock = both(layout, file, dtype=dtype)

    assert not any(each.is_meta for each in stock.state_dict().values())  # the layout is the original one
    assert_same_model(ours, stock)
    assert_plain(ours)
    assert_placed(type(stock).__name__)


@pytest.mark.parametrize("disable_mmap", [False, True])
@pytest.mark.parametrize("layout", ["sd3", "flux", "wan"])
def test_without_a_cast_nothing_but_a_view_is_made_unless_that_is_forbidden(
    layout: str, disable_mmap: bool, tmp_path: Path
) -> None:
    file = single_files.write(layout, tmp_path / "model")

    ours, stock = both(layout, file, disable_mmap=disable_mmap)

    assert_same_model(ours, stock)
    assert_placed(type(stock).__name__)
    del stock
    assert (str(file) in Path("/proc/self/maps").read_text()) != disable_mmap
    assert_plain(ours)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("layout", ["sd3", "flux", "vae"])
def test_a_parameter_that_is_changed_changes_no_other(layout: str, dtype: torch.dtype | None, tmp_path: Path) -> None:
    file = single_files.write(layout, tmp_path / "model")
    before = file.read_bytes()
    ours, stock = both(layout, file, dtype=dtype)
    names = list(dict(stock.named_parameters()))

    for name in names[::3]:
        for model in (ours, stock):
            with torch.no_grad():
                model.get_parameter(name).add_(1)

    assert_same_model(ours, stock)
    assert file.read_bytes() == before


@pytest.mark.parametrize("layout", ["unet", "sd3", "flux"])
def test_what_is_saved_and_pickled_equals_stocks(layout: str, tmp_path: Path) -> None:
    file = single_files.write(layout, tmp_path / "model")
    ours, stock = both(layout, file)

    ours.save_pretrained(tmp_path / "ours")
    stock.save_pretrained(tmp_path / "stock")

    written = [checkpoints.weight_file(tmp_path / who).read_bytes() for who in ("ours", "stock")]
    assert written[0] == written[1]
    assert len(pickle.dumps(ours.state_dict())) == len(pickle.dumps(stock.state_dict()))


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_scaled_float8_of_comfyui_is_what_stock_makes_of_it(dtype: torch.dtype | None, tmp_path: Path) -> None:
    """Stock casts the weights, leaves the scales out, and says so."""
    file = single_files.write("wan-comfy", tmp_path / "model")
    tensors = load_file(file)
    scaled = {}
    for key, tensor in tensors.items():
        if tensor.ndim == 2 and "blocks" in key:
            scaled[key] = torch.randn(tensor.shape).to(torch.float8_e4m3fn)
            scaled[key.replace(".weight", ".scale_weight")] = torch.tensor(0.5)
        else:
            scaled[key] = tensor
    scaled[original_layouts.COMFY + "scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    save_file({key: each.clone() for key, each in scaled.items()}, file)

    ours, stock = both("wan-comfy", file, dtype=dtype)

    assert_same_model(ours, stock)
    assert_placed("WanTransformer3DModel")


@pytest.mark.parametrize("dtype", [None, torch.float16])
@pytest.mark.parametrize("how", ["install", "accelerated"])
def test_stocks_own_classes_go_the_same_way(how: str, dtype: torch.dtype | None, tmp_path: Path) -> None:
    file = single_files.write("sd3", tmp_path / "model")
    arguments: dict[str, Any] = {"config": str(file.parents[1]), "dtype": dtype}
    stock = diffusers.SD3Transformer2DModel.from_single_file(str(file), **arguments)

    if how == "install":
        warpload.install()
        try:
            ours = diffusers.SD3Transformer2DModel.from_single_file(str(file), **arguments)
        finally:
            warpload.uninstall()
    else:
        with warpload.accelerated():
            ours = diffusers.SD3Transformer2DModel.from_single_file(str(file), **arguments)

    assert_same_model(ours, stock)
    assert_placed("SD3Transformer2DModel")


def test_a_model_of_another_shape_fails_as_with_stock(tmp_path: Path) -> None:
    file = single_files.write("sd3", tmp_path / "model")
    single_files.MODELS["sd3"].but(pooled_projection_dim=24)().save_pretrained(tmp_path / "other")
    arguments: dict[str, Any] = {"config": str(tmp_path / "other")}

    with pytest.raises(ValueError, match="expected shape") as stock:
        diffusers.SD3Transformer2DModel.from_single_file(str(file), **arguments)
    with pytest.raises(ValueError, match="expected shape") as ours:
        warpload.SD3Transformer2DModel.from_single_file(str(file), **arguments)

    assert str(ours.value) == str(stock.value)


@pytest.mark.parametrize("what", ["low_cpu_mem_usage", "dictionary"])
def test_what_stock_places_is_said(what: str, tmp_path: Path) -> None:
    file = single_files.write("sd3", tmp_path / "model")
    config = str(file.parents[1])

    if what == "dictionary":
        stock = diffusers.SD3Transformer2DModel.from_single_file(load_file(file), config=config)
        ours = warpload.SD3Transformer2DModel.from_single_file(load_file(file), config=config)
    else:
        ours, stock = both("sd3", file, low_cpu_mem_usage=False)

    assert_same_model(ours, stock)
    report = warpload.last_report()
    assert report is not None
    if what == "dictionary":
        assert report.components["SD3Transformer2DModel"].startswith("stock: ")
    else:
        assert report.placed_by_stock == {"SD3Transformer2DModel": "low_cpu_mem_usage=False"}
        assert report.components == {"SD3Transformer2DModel": "native"}


# -- whole pipelines --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=single_files.PIPELINES)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> single_files.Published:
    """Return a pipeline's folder, and its models in one file, in float16."""
    return single_files.publish(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("disable_mmap", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_whole_pipeline_in_one_file_equals_stocks(
    dtype: torch.dtype | None, disable_mmap: bool, published: single_files.Published
) -> None:
    ours, stock = by_both(
        published.kind, published.file, config=published.folder, dtype=dtype, disable_mmap=disable_mmap
    )

    assert_same_pipeline(ours, stock)
    report = warpload.last_report()
    assert_loaded_natively(report, published.models)
    assert report is not None
    assert report.placed_by_stock == {}
    for model in published.models:
        assert not any(each.is_meta for each in getattr(stock, model).state_dict().values())
        assert_plain(getattr(ours, model))


def test_an_image_equals_stocks(published: single_files.Published) -> None:
    images = []
    for pipeline in by_both(published.kind, published.file, config=published.folder):
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        images.append(pipeline("a", num_inference_steps=2, output_type="pt", generator=generator).images)

    if "transformer" in published.models:  # stock's own second image differs from its first one in last bits
        torch.testing.assert_close(images[0], images[1])
    else:
        assert bytes_of(images[0]) == bytes_of(images[1])


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("layout", ["unet", "sd3", "flux", "wan"])
def test_through_slots_as_to_a_device_it_equals_stocks(layout: str, dtype: torch.dtype | None, tmp_path: Path) -> None:
    file = single_files.write(layout, tmp_path / "model", torch.float16)

    with warpload.LoadOptions(arena="always"):
        ours, stock = both(layout, file, dtype=dtype)

    assert_same_model(ours, stock)
    assert_placed(type(stock).__name__)
