"""What quantisers are given: pages of the files, byte for byte, whatever the packed layout and whoever unpacks it."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from diffusers import BFLQuantizationConfig, QuantoConfig
from diffusers.quantizers import auto
from diffusers.quantizers.base import DiffusersQuantizer
from diffusers.quantizers.quantization_config import QuantizationConfigMixin
from diffusers.quantizers.quanto import QuantoQuantizer
from safetensors.torch import load_file, save_file

import warpload
from support import checkpoints, gguf_files, quantised
from support.compare import assert_loaded_natively, assert_same_model, assert_same_tensor
from support.said import with_warnings

Tensors = dict[str, torch.Tensor]


def bits(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    bytes_ = torch.randint(0, 256, (*shape[:-1], shape[-1] * dtype.itemsize), generator=generator, dtype=torch.uint8)
    return bytes_.view(dtype)


# Published layouts of a linear layer that need a GPU, or a package, to be of use: names, dtypes and shapes.
LAYOUTS: dict[str, Callable[[int, int], Tensors]] = {
    "svdquant": lambda outputs, inputs: {
        "qweight": bits(outputs, inputs // 2, dtype=torch.int8),
        "wscales": bits(inputs // 16, outputs, dtype=torch.float8_e4m3fn),
        "smooth_factor": bits(inputs, dtype=torch.bfloat16),
        "proj_down": bits(inputs, 8, dtype=torch.bfloat16),
        "proj_up": bits(outputs, 8, dtype=torch.bfloat16),
    },
    "awq": lambda outputs, inputs: {
        "qweight": bits(outputs, inputs // 8, dtype=torch.int32),
        "wscales": bits(inputs // 16, outputs, dtype=torch.float16),
        "wzeros": bits(inputs // 16, outputs, dtype=torch.float16),
    },
    "fp8-with-scales": lambda outputs, inputs: {
        "weight": bits(outputs, inputs, dtype=torch.float8_e4m3fn),
        "weight_scale": bits(outputs, dtype=torch.float32),
        "input_scale": bits(1, dtype=torch.float32),
    },
    "uint8-with-scales": lambda outputs, inputs: {
        "weight": bits(outputs, inputs, dtype=torch.uint8),
        "scale": bits(outputs, 1, dtype=torch.bfloat16),
        "zero_point": bits(outputs, 1, dtype=torch.bfloat16),
    },
}


class Method(str, enum.Enum):
    RECEIVED = "received"


@dataclass
class Received(QuantizationConfigMixin):  # type: ignore[misc]
    quant_method: str = Method.RECEIVED
    layout: str = ""

    def __post_init__(self) -> None:
        self.quant_method = Method.RECEIVED


class Packed(torch.nn.Module):
    """Room for a layer in a packed layout."""

    def __init__(self, linear: torch.nn.Linear, layout: str) -> None:
        super().__init__()
        for name, tensor in LAYOUTS[layout](*linear.weight.shape).items():
            self.register_buffer(name, torch.empty_like(tensor, device="meta"))


class Receiver(DiffusersQuantizer):  # type: ignore[misc]
    """Stands for a quantiser that cannot be here: keeps what it is given."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.given: Tensors = {}

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        for name, layer in list(model.named_modules()):
            if type(layer) is torch.nn.Linear:
                model.set_submodule(name, Packed(layer, self.quantization_config.layout))

    def check_if_quantized_param(self, model: Any, param_value: Any, param_name: str, *_: Any, **__: Any) -> bool:
        return type(model.get_submodule(param_name.rpartition(".")[0])) is Packed

    def create_quantized_param(self, model: Any, param_value: Any, param_name: str, *_: Any, **__: Any) -> None:
        self.given[param_name] = param_value
        module, _, name = param_name.rpartition(".")
        model.get_submodule(module)._buffers[name] = param_value

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> None: ...

    is_serializable = is_trainable = property(lambda self: False)


@pytest.fixture(autouse=True)
def _receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(auto.AUTO_QUANTIZER_MAPPING, Method.RECEIVED.value, Receiver)
    monkeypatch.setitem(auto.AUTO_QUANTIZATION_CONFIG_MAPPING, Method.RECEIVED.value, Received)


def saved_packed(folder: Path, layout: str) -> Path:
    """Save a Flux transformer whose linear layers are packed, and return its file."""
    quantised.save(gguf_files.FLUX, folder)
    file = checkpoints.weight_file(folder)
    tensors = {key: tensor.clone() for key, tensor in load_file(file).items()}
    for name, layer in gguf_files.FLUX().named_modules():
        if type(layer) is torch.nn.Linear:
            for key in layer.state_dict():
                del tensors[f"{name}.{key}"]
            tensors |= {f"{name}.{key}": each for key, each in LAYOUTS[layout](*layer.weight.shape).items()}
    save_file(tensors, file)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": Method.RECEIVED.value, "layout": layout}
    (folder / "config.json").write_text(json.dumps(config))
    return file


def is_page_of(tensor: torch.Tensor, file: Path) -> bool:
    """Tell whether a tensor's memory is that of the mapped file."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(file.resolve())):
            begin, end = (int(each, 16) for each in line.split(maxsplit=1)[0].split("-"))
            if begin <= tensor.data_ptr() < end:
                return True
    return False


@pytest.mark.parametrize("layout", LAYOUTS)
def test_packed_tensors_and_scales_are_given_byte_for_byte_and_without_a_copy(layout: str, tmp_path: Path) -> None:
    file = saved_packed(tmp_path, layout)
    stock, said_by_stock = with_warnings(lambda: diffusers.FluxTransformer2DModel.from_pretrained(tmp_path))
    ours, said = with_warnings(lambda: warpload.FluxTransformer2DModel.from_pretrained(tmp_path))

    assert said == said_by_stock
    in_file, given = load_file(file), ours.hf_quantizer.given
    assert given
    assert given.keys() == stock.hf_quantizer.given.keys()
    for name, tensor in given.items():
        assert_same_tensor(tensor, stock.hf_quantizer.given[name], name)
        if tensor.dtype == in_file[name].dtype:  # else the library has cast it, as a scale to the model's dtype
            assert torch.equal(tensor.view(torch.uint8), in_file[name].view(torch.uint8))
            assert is_page_of(tensor, file), name
    assert_same_model(ours, stock)
    report = warpload.last_report()
    assert_loaded_natively(report, {"FluxTransformer2DModel"})
    assert report is not None
    assert report.bytes == sum(tensor.nbytes for tensor in in_file.values())


def test_what_is_quantised_while_it_is_loaded_is_pages_of_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = checkpoints.weight_file(quantised.save(gguf_files.FLUX, tmp_path))
    pages: dict[str, bool] = {}
    genuine = QuantoQuantizer.create_quantized_param

    def create(self: Any, model: Any, param_value: Any, param_name: str, *rest: Any, **keywords: Any) -> Any:
        pages[param_name] = is_page_of(param_value, file)
        return genuine(self, model, param_value, param_name, *rest, **keywords)

    monkeypatch.setattr(QuantoQuantizer, "create_quantized_param", create)

    warpload.FluxTransformer2DModel.from_pretrained(
        tmp_path, quantization_config=QuantoConfig("int8"), dtype=torch.bfloat16
    )

    assert pages
    assert all(pages.values())


# -- float8 with scales -----------------------------------------------------------------------------------------------


def test_float8_in_blocks_with_scales_is_as_by_transformers(tmp_path: Path) -> None:
    quantised.save(quantised.T5, tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {key: tensor.clone() for key, tensor in load_file(file).items()}
    for key in [key for key, tensor in tensors.items() if ".layer." in key and tensor.ndim == 2]:
        if "relative" in key:
            continue
        rows, columns = (-(-extent // 128) for extent in tensors[key].shape)
        tensors[key] = (tensors[key].float() * 8).to(torch.float8_e4m3fn)
        tensors[f"{key}_scale_inv"] = torch.rand(rows, columns) + 0.1
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128], "dequantize": True}
    (tmp_path / "config.json").write_text(json.dumps(config))

    def load() -> Any:
        return transformers.T5EncoderModel.from_pretrained(tmp_path, dtype=torch.bfloat16)

    stock, said_by_stock = with_warnings(load)
    with warpload.accelerated():
        ours, said = with_warnings(load)

    assert said == said_by_stock
    assert_same_model(ours, stock)
    report = warpload.last_report()
    assert_loaded_natively(report, {"T5EncoderModel"})


def test_a_single_file_in_float8_with_scales_is_as_by_stock(tmp_path: Path) -> None:
    quantised.save(gguf_files.FLUX, tmp_path)
    tensors = {key: tensor.clone() for key, tensor in load_file(checkpoints.weight_file(tmp_path)).items()}
    for name, layer in gguf_files.FLUX().named_modules():
        if type(layer) is torch.nn.Linear and "transformer_blocks" in name:
            tensors[f"{name}.weight"] = tensors[f"{name}.weight"].to(torch.float8_e4m3fn)
            tensors[f"{name}.weight_scale"] = torch.rand(layer.out_features) + 0.5
    file = tmp_path / "fp8.safetensors"
    save_file(tensors, file)

    def load(library: Any) -> Any:
        return library.FluxTransformer2DModel.from_single_file(
            str(file), config=str(tmp_path), quantization_config=BFLQuantizationConfig(), dtype=torch.bfloat16
        )

    stock, said_by_stock = with_warnings(lambda: load(diffusers))
    ours, said = with_warnings(lambda: load(warpload))

    assert said == said_by_stock
    assert_same_model(ours, stock)
    assert torch.equal(gguf_files.output_of(ours), gguf_files.output_of(stock))
    assert_loaded_natively(warpload.last_report(), {"FluxTransformer2DModel"})
