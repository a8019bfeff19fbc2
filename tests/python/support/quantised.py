"""Small models that the libraries' own quantisers quantise on a CPU, and equality of what they make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes
import diffusers
import pytest
import torch
import transformers
from diffusers.quantizers import auto
from diffusers.quantizers.bitsandbytes import BnB4BitDiffusersQuantizer, BnB8BitDiffusersQuantizer
from torch import nn
from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, IntxWeightOnlyConfig

from .compare import assert_same_model, assert_same_tensor
from .parts import Part

# Wide enough for whole groups of numbers in each row.
T5 = Part("T5EncoderModel", d_model=128, d_ff=256, d_kv=64, num_heads=2, num_layers=3, vocab_size=100)


def _torchao(library: Any, config: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: library.TorchAoConfig(config())


def _of_torchao(library: Any) -> dict[str, Callable[[], Any]]:
    def int4() -> Any:
        from torchao.quantization import PerGroup

        return IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(32))

    return {
        "torchao-int8": _torchao(library, lambda: Int8WeightOnlyConfig(version=2)),
        "torchao-int4": _torchao(library, int4),
        "torchao-float8": _torchao(library, Float8WeightOnlyConfig),
    }


def _of_bitsandbytes(library: Any) -> dict[str, Callable[[], Any]]:
    config = library.BitsAndBytesConfig
    return {
        "bitsandbytes-int8": lambda: config(load_in_8bit=True),
        "bitsandbytes-nf4": lambda: config(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        ),
        "bitsandbytes-fp4-twice": lambda: config(
            load_in_4bit=True,
            bnb_4bit_quant_type="fp4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    }


# Kind -> makes its configuration anew: the quantisers write into them.
OF_DIFFUSERS: dict[str, Callable[[], Any]] = {
    **_of_torchao(diffusers),
    **_of_bitsandbytes(diffusers),
    **{f"quanto-{kind}": lambda kind=kind: diffusers.QuantoConfig(kind) for kind in ("int8", "float8", "int4", "int2")},
}
OF_TRANSFORMERS: dict[str, Callable[[], Any]] = {
    **_of_torchao(transformers),
    **_of_bitsandbytes(transformers),
    **{f"quanto-{kind}": lambda kind=kind: transformers.QuantoConfig(kind) for kind in ("int8", "float8", "int4")},
}


class FourBitsOnCpu(BnB4BitDiffusersQuantizer):
    """diffusers' quantiser, which refuses to work without a GPU, though bitsandbytes itself does."""

    def validate_environment(self, *_: Any, **__: Any) -> None:
        """Take what there is."""

    def update_device_map(self, device_map: Any) -> Any:
        """Stay on the CPU."""
        return device_map


class EightBitsOnCpu(BnB8BitDiffusersQuantizer):
    """The same for eight bits."""

    def validate_environment(self, *_: Any, **__: Any) -> None:
        """Take what there is."""

    def update_device_map(self, device_map: Any) -> Any:
        """Stay on the CPU."""
        return device_map


ON_CPU = {"bitsandbytes_4bit": FourBitsOnCpu, "bitsandbytes_8bit": EightBitsOnCpu}


def use_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have diffusers use these: it refuses bitsandbytes without a GPU before it looks whether one is needed."""
    for name, quantiser in ON_CPU.items():
        monkeypatch.setitem(auto.AUTO_QUANTIZER_MAPPING, name, quantiser)


def save(part: Part, folder: Path, **settings: Any) -> Path:
    """Save a model in bfloat16, whose numbers quantise to something."""
    torch.manual_seed(3)
    part().bfloat16().save_pretrained(folder, **settings)
    return folder


# -- equality ---------------------------------------------------------------------------------------------------------


def assert_same_quantised(ours: nn.Module, stock: nn.Module) -> int:
    """Fail unless the models are the same down to scales and states; return how many tensors are quantised."""
    assert_same_model(ours, stock)
    mine, count = dict(ours.named_parameters()), 0
    for name, expected in stock.named_parameters():
        count += _is_quantised(expected)
        _assert_same(mine[name], expected, name)
    quantiser = stock.hf_quantizer
    assert type(ours.hf_quantizer) is type(quantiser)
    assert vars(ours.hf_quantizer).keys() == vars(quantiser).keys()
    for name in ("pre_quantized", "modules_to_not_convert", "_metadata"):
        assert getattr(ours.hf_quantizer, name, None) == getattr(quantiser, name, None), name
    assert ours.hf_quantizer.quantization_config.to_dict() == quantiser.quantization_config.to_dict()
    return count


def _is_quantised(parameter: torch.Tensor) -> bool:
    return hasattr(parameter, "__tensor_flatten__") or type(parameter).__module__.startswith("bitsandbytes")


def _assert_same(ours: Any, stock: Any, name: str) -> None:
    """Fail unless two values are the same, with all that is in them."""
    assert type(ours) is type(stock), name
    if isinstance(stock, torch.Tensor):
        assert_same_tensor(ours, stock, name)
        _assert_same_attributes(vars(ours), vars(stock), name)
    elif isinstance(stock, bitsandbytes.functional.QuantState):
        _assert_same_attributes(vars(ours), vars(stock), name)
    elif isinstance(stock, nn.Module):
        pass  # a parameter's own layer, which is compared by itself
    elif not hasattr(stock, "__tensor_flatten__"):
        assert str(ours) == str(stock), name


def _assert_same_attributes(ours: dict[str, Any], stock: dict[str, Any], name: str) -> None:
    assert ours.keys() == stock.keys(), name
    for attribute, expected in stock.items():
        _assert_same(ours[attribute], expected, f"{name}.{attribute}")
