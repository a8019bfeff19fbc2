"""Quantised models: the core plans and reads their files, the libraries' own quantisers do the rest, as with stock."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers

import warpload
from support import gguf_files, quantised
from support.compare import assert_loaded_natively
from support.said import with_warnings

FLUX, T5 = "FluxTransformer2DModel", "T5EncoderModel"
BOTH = pytest.mark.parametrize("sharded", [False, True], ids=["one-file", "sharded"])


@pytest.fixture(autouse=True)
def _quantisers_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    quantised.use_on_cpu(monkeypatch)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a model that is not quantised."""
    folders = {name: tmp_path_factory.mktemp(name) for name in (FLUX, T5)}
    quantised.save(gguf_files.FLUX, folders[FLUX])
    quantised.save(quantised.T5, folders[T5])
    return folders.__getitem__


def flux_by_stock(folder: Path, **arguments: Any) -> Any:
    return diffusers.FluxTransformer2DModel.from_pretrained(folder, **arguments)


def flux_by_us(folder: Path, **arguments: Any) -> Any:
    return warpload.FluxTransformer2DModel.from_pretrained(folder, **arguments)


def t5_by_stock(folder: Path, **arguments: Any) -> Any:
    return transformers.T5EncoderModel.from_pretrained(folder, **arguments)


def t5_by_us(folder: Path, **arguments: Any) -> Any:
    with warpload.accelerated():
        return t5_by_stock(folder, **arguments)


def t5_output(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.arange(12).view(2, 6)).last_hidden_state
    return found


def bytes_in(folder: Path) -> int:
    """Return the bytes of all tensors in a folder's files."""
    total = 0
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        header.pop("__metadata__", None)
        total += sum(each["data_offsets"][1] - each["data_offsets"][0] for each in header.values())
    return total


def assert_read(name: str, folder: Path, reason: str) -> None:
    """Fail unless the core has read all of a model's files, and says why it has not placed the tensors."""
    report = warpload.last_report()
    assert_loaded_natively(report, {name})
    assert report is not None
    assert report.placed_by_stock == {name: reason}
    assert report.bytes == bytes_in(folder)


def assert_same_loads(
    by_stock: Callable[[], Any], by_us: Callable[[], Any], output: Callable[[Any], torch.Tensor] | None
) -> None:
    """Fail unless both give the same model, say the same, and, where an output is asked for, compute the same."""
    stock, said_by_stock = with_warnings(by_stock)
    ours, said = with_warnings(by_us)
    assert said == said_by_stock
    assert quantised.assert_same_quantised(ours, stock) > 0
    if output is not None:
        assert torch.equal(output(ours), output(stock))


# -- quantised while it is loaded -------------------------------------------------------------------------------------


LIBRARIES: dict[str, tuple[Any, ...]] = {
    FLUX: (flux_by_stock, flux_by_us, gguf_files.output_of, quantised.OF_DIFFUSERS),
    T5: (t5_by_stock, t5_by_us, t5_output, quantised.OF_TRANSFORMERS),
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, (*_, kinds) in LIBRARIES.items() for kind in kinds])
def test_a_model_is_quantised_while_it_is_loaded_as_by_stock(
    name: str, kind: str, plain: Callable[[str], Path]
) -> None:
    by_stock, by_us, output, kinds = LIBRARIES[name]
    config, folder = kinds[kind], plain(name)

    assert_same_loads(
        lambda: by_stock(folder, quantization_config=config(), dtype=torch.bfloat16),
        lambda: by_us(folder, quantization_config=config(), dtype=torch.bfloat16),
        output,
    )

    assert_read(name, folder, "quantization_config")


# -- saved quantised --------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("kind", quantised.OF_DIFFUSERS)
def test_a_quantised_checkpoint_of_diffusers_loads_as_by_stock(
    kind: str, sharded: bool, plain: Callable[[str], Path], tmp_path: Path
) -> None:
    made = flux_by_stock(plain(FLUX), quantization_config=quantised.OF_DIFFUSERS[kind](), dtype=torch.bfloat16)
    # Of four bits stock wants a weight and its state in one shard, which small shards would part.
    size = "2MB" if "bitsandbytes" in kind else "500KB"
    made.save_pretrained(tmp_path, **({"max_shard_size": size} if sharded else {}))
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == sharded

    # quanto's kernel for a CPU ends the process with some shards, of stock's model as of ours.
    computes = gguf_files.output_of if not (sharded and "quanto" in kind) else None

    assert_same_loads(
        lambda: flux_by_stock(tmp_path, dtype=torch.bfloat16),
        lambda: flux_by_us(tmp_path, dtype=torch.bfloat16),
        computes,
    )

    assert_read(FLUX, tmp_path, "quantised checkpoint")


@BOTH
@pytest.mark.parametrize("kind", [kind for kind in quantised.OF_TRANSFORMERS if "quanto" not in kind])
def test_a_quantised_checkpoint_of_transformers_loads_as_by_stock(
    kind: str, sharded: bool, plain: Callable[[str], Path], tmp_path: Path
) -> None:
    made = t5_by_stock(plain(T5), quantization_config=quantised.OF_TRANSFORMERS[kind](), dtype=torch.bfloat16)
    made.save_pretrained(tmp_path, **({"max_shard_size": "100KB"} if sharded else {}))
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == sharded

    assert_same_loads(lambda: t5_by_stock(tmp_path), lambda: t5_by_us(tmp_path), t5_output)

    assert_read(T5, tmp_path, "quantised checkpoint")
