"""``from_single_file`` with a quantiser that is not GGUF's: what stock makes of it, its errors too, read by the core.

Stock takes such a configuration for that of a file that is saved quantised. torchao's then leaves plain weights as they
are; bitsandbytes and quanto miss what belongs to packed ones; and what is packed stock takes for an original layout.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.quantizers import auto
from diffusers.quantizers.bitsandbytes import BnB4BitDiffusersQuantizer

import warpload
from support import checkpoints, gguf_files, quantised, single_files
from support.compare import assert_loaded_natively, assert_same_model, assert_same_pipeline
from support.loading import forbid_stock_readers
from support.prefetches import report
from support.said import with_warnings

NAME = "FluxTransformer2DModel"
Load = Callable[[Any], Any]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that is not quantised."""
    return quantised.save(gguf_files.FLUX, tmp_path_factory.mktemp("plain"))


def loader(file: Path, plain: Path, **arguments: Any) -> Load:
    """Return what loads the file by a library, with a configuration that is made anew."""
    config: Callable[[], Any] = arguments.pop("quantises")

    def load(library: Any) -> Any:
        given = {"config": str(plain), "dtype": torch.bfloat16, **arguments, "quantization_config": config()}
        return getattr(library, NAME).from_single_file(str(file), **given)

    return load


def outcome(load: Callable[[], Any]) -> tuple[Any, BaseException | None, list[str]]:
    """Return the model or the error, and what was said."""

    def tried() -> Any:
        try:
            return load()
        except Exception as error:
            return error

    result, said = with_warnings(tried)
    return (None, result, said) if isinstance(result, BaseException) else (result, None, said)


def assert_same_outcome(load: Load) -> bool:
    """Fail unless both give the same model, or raise the same error, and say the same; tell whether it is a model."""
    stock, theirs, said_by_stock = outcome(lambda: load(diffusers))
    ours, mine, said = outcome(lambda: load(warpload))
    assert (type(mine), str(mine)) == (type(theirs), str(theirs))
    assert said == said_by_stock
    if theirs is not None:
        assert report().error == str(theirs)
        return False
    assert_same_model(ours, stock)
    assert type(ours.hf_quantizer) is type(stock.hf_quantizer)
    assert ours.hf_quantizer.pre_quantized == stock.hf_quantizer.pre_quantized
    assert torch.equal(gguf_files.output_of(ours), gguf_files.output_of(stock))
    assert_loaded_natively(report(), {NAME})
    assert report().placed_by_stock == {NAME: "quantization_config"}
    return True


@pytest.fixture
def _quantisers_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    quantised.use_on_cpu(monkeypatch)


@pytest.mark.usefixtures("_quantisers_on_cpu")
@pytest.mark.parametrize("kind", quantised.OF_DIFFUSERS)
def test_a_plain_file_with_a_quantiser_is_as_by_stock(kind: str, plain: Path) -> None:
    is_model = assert_same_outcome(
        loader(checkpoints.weight_file(plain), plain, quantises=quantised.OF_DIFFUSERS[kind])
    )

    assert is_model == ("torchao" in kind)


@pytest.mark.usefixtures("_quantisers_on_cpu")
@pytest.mark.parametrize("kind", quantised.OF_DIFFUSERS)
def test_a_packed_file_with_its_quantiser_is_as_by_stock(kind: str, plain: Path, tmp_path: Path) -> None:
    config = quantised.OF_DIFFUSERS[kind]
    made = diffusers.FluxTransformer2DModel.from_pretrained(plain, quantization_config=config(), dtype=torch.bfloat16)
    made.save_pretrained(tmp_path)

    assert not assert_same_outcome(loader(checkpoints.weight_file(tmp_path), plain, quantises=config))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", ["flux", "sd3", "wan"])
def test_a_file_in_an_original_layout_with_a_quantiser_is_as_by_stock(
    layout: str, dtype: torch.dtype | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, name = single_files.write(layout, tmp_path / "model", torch.bfloat16), single_files.MODELS[layout].name

    def load(library: Any) -> Any:
        config = quantised.OF_DIFFUSERS["torchao-int8"]()
        given = {"config": str(file.parents[1]), "quantization_config": config, "dtype": dtype}
        with single_files.narrow():
            return getattr(library, name).from_single_file(str(file), **given)

    stock, said_by_stock = with_warnings(lambda: load(diffusers))
    forbid_stock_readers(monkeypatch)
    ours, said = with_warnings(lambda: load(warpload))

    assert said == said_by_stock
    assert_same_model(ours, stock)
    assert_loaded_natively(report(), {name})


def test_a_whole_pipeline_with_a_quantiser_is_as_by_stock(tmp_path: Path) -> None:
    published = single_files.publish("stable-diffusion-xl", tmp_path)

    def load(library: Any) -> Any:
        return getattr(library, published.kind).from_single_file(
            published.file,
            config=published.folder,
            quantization_config=quantised.OF_DIFFUSERS["torchao-int8"](),
            dtype=torch.bfloat16,
        )

    stock, said_by_stock = with_warnings(lambda: load(diffusers))
    ours, said = with_warnings(lambda: load(warpload))

    assert said == said_by_stock
    assert_same_pipeline(ours, stock)
    assert_loaded_natively(report(), published.models)
    assert report().placed_by_stock == dict.fromkeys(published.models, "quantization_config")


@pytest.mark.parametrize("kind", ["bitsandbytes-int8", "bitsandbytes-nf4"])
def test_bitsandbytes_without_a_gpu_is_stocks_error(kind: str, plain: Path) -> None:
    assert auto.AUTO_QUANTIZER_MAPPING["bitsandbytes_4bit"] is BnB4BitDiffusersQuantizer

    assert not assert_same_outcome(
        loader(checkpoints.weight_file(plain), plain, quantises=quantised.OF_DIFFUSERS[kind])
    )


@pytest.mark.parametrize("refused", [{"low_cpu_mem_usage": False}, {"config": "nowhere/at-all"}], ids=str)
def test_what_stock_refuses_is_its_error(refused: dict[str, Any], plain: Path) -> None:
    file, config = checkpoints.weight_file(plain), quantised.OF_DIFFUSERS["torchao-int8"]

    assert not assert_same_outcome(loader(file, plain, quantises=config, **refused))


def test_a_broken_file_with_a_quantiser_is_stocks_error(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{no header at all")
    config = quantised.OF_DIFFUSERS["torchao-int8"]

    assert not assert_same_outcome(loader(tmp_path / "broken.safetensors", plain, quantises=config))


def test_without_mapping_stock_reads_and_the_report_says_why(plain: Path) -> None:
    config = quantised.OF_DIFFUSERS["torchao-int8"]
    load = loader(checkpoints.weight_file(plain), plain, quantises=config, disable_mmap=True)

    assert_same_model(load(warpload), load(diffusers))

    assert report().components == {NAME: "stock: disable_mmap"}
