"""What a conversion does with the tensors of a single file: whatever it is, the model equals stock's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders import single_file_model

import warpload
from support import single_files
from support.checkpoints import Tensors
from support.compare import assert_same_model
from support.processes import memory_taken

KEY = "proj_out.weight"
OURS = warpload.LTXVideoTransformer3DModel


def _in_place(tensors: Tensors) -> None:
    tensors[KEY].mul_(3)


def _by_index(tensors: Tensors) -> None:
    tensors[KEY][0] = 7


def _a_copy_then_the_original(tensors: Tensors) -> None:
    copy = tensors[KEY].clone()
    tensors[KEY].add_(1)
    tensors[KEY] = copy


def _a_copy_that_is_changed(tensors: Tensors) -> None:
    copy = torch.cat([tensors[KEY]])
    copy.add_(1)
    tensors["proj_out.bias"] = tensors["proj_out.bias"] + copy.sum()


def _a_part_of_a_copy_that_is_changed(tensors: Tensors) -> None:
    copy = tensors[KEY].clone()
    copy[:1].zero_()
    tensors[KEY] = copy


def _kept_by_numpy(tensors: Tensors) -> None:
    array, copy = tensors[KEY].numpy(), tensors[KEY].clone()
    array[:] = 5
    tensors[KEY] = copy


def _joined_anew(tensors: Tensors) -> None:
    first, second = tensors[KEY].chunk(2, dim=0)
    tensors[KEY] = torch.cat([second, first], dim=0)


def _joined_along_the_last_dimension(tensors: Tensors) -> None:
    tensors[KEY] = torch.cat(tensors[KEY].chunk(2, dim=-1)[::-1], -1)


def _transposed_twice(tensors: Tensors) -> None:
    tensors[KEY] = tensors[KEY].T.contiguous().T


def _of_other_functions(tensors: Tensors) -> None:
    tensors[KEY] = torch.roll(tensors[KEY].float(), 1).flip(0).to(tensors[KEY].dtype)


def _viewed_as_another_dtype(tensors: Tensors) -> None:
    tensors[KEY] = tensors[KEY].view(torch.uint8).view(tensors[KEY].dtype)


def _squeezed_in_place(tensors: Tensors) -> None:
    tensors[KEY] = tensors[KEY].unsqueeze(0)
    tensors[KEY].squeeze_(0)


def _copied_deeply(tensors: Tensors) -> None:
    import copy

    tensors[KEY] = copy.deepcopy(tensors[KEY])


def _twice(tensors: Tensors) -> None:
    tensors["transformer_blocks.0.attn1.to_k.weight"] = tensors["transformer_blocks.0.attn1.to_q.weight"]


def _twice_as_copies(tensors: Tensors) -> None:
    query = tensors["transformer_blocks.0.attn1.to_q.weight"]
    tensors["transformer_blocks.0.attn1.to_k.weight"] = query.clone()


OPERATIONS: list[Callable[[Tensors], None]] = [
    *(_in_place, _by_index, _a_copy_then_the_original, _a_copy_that_is_changed, _a_part_of_a_copy_that_is_changed),
    *(_kept_by_numpy, _joined_anew, _joined_along_the_last_dimension, _transposed_twice, _of_other_functions),
    *(_viewed_as_another_dtype, _squeezed_in_place, _copied_deeply, _twice, _twice_as_copies),
]


@pytest.mark.parametrize("disable_mmap", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.__name__)
def test_whatever_a_conversion_does_the_model_equals_stocks(
    operation: Callable[[Tensors], None],
    dtype: torch.dtype,
    disable_mmap: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = single_files.write("ltx", tmp_path / "model")
    known = single_file_model.SINGLE_FILE_LOADABLE_CLASSES["LTXVideoTransformer3DModel"]
    usual = known["checkpoint_mapping_fn"]

    def convert(checkpoint: Tensors, **settings: Any) -> Tensors:
        tensors: Tensors = usual(checkpoint, **settings)
        operation(tensors)
        return tensors

    monkeypatch.setitem(known, "checkpoint_mapping_fn", convert)
    arguments: dict[str, Any] = {"config": str(file.parents[1]), "dtype": dtype, "disable_mmap": disable_mmap}

    stock = diffusers.LTXVideoTransformer3DModel.from_single_file(str(file), **arguments)
    ours = warpload.LTXVideoTransformer3DModel.from_single_file(str(file), **arguments)

    assert_same_model(ours, stock)
    assert all(type(each.data) is torch.Tensor for each in ours.state_dict(keep_vars=True).values())
    assert warpload.last_report().placed_by_stock == {}


def test_attributes_of_parameters_are_what_stock_leaves_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as transformers' on those that it ties, which are no reason to leave them to stock."""
    file = single_files.write("ltx", tmp_path / "model")
    cls = diffusers.LTXVideoTransformer3DModel
    genuine = cls.__init__

    @functools.wraps(genuine)
    def build(self: Any, **settings: Any) -> None:
        genuine(self, **settings)
        self.proj_out.weight._is_hf_initialized = True
        self.proj_out.bias.mine = 1
        self.proj_in.weight.__dict__["requires_grad"] = True

    monkeypatch.setattr(cls, "__init__", build)
    stock, ours = (each.from_single_file(str(file), config=str(file.parents[1])) for each in (cls, OURS))

    assert_same_model(ours, stock)
    attributes = {name: vars(each) for name, each in stock.named_parameters()}
    assert {name: vars(each) for name, each in ours.named_parameters()} == attributes
    assert attributes["proj_out.weight"] == {"_is_hf_initialized": True}
    assert warpload.last_report().placed_by_stock == {}


# -- memory -----------------------------------------------------------------------------------------------------------

_PROGRAM = """
import sys
import torch, warpload
file, config, dtype = sys.argv[1:]
torch.set_num_threads(1)
cls = warpload.SD3Transformer2DModel
cls.from_single_file(file + ".small.safetensors", config=config + "-small")  # imports, threads
print("ready", flush=True); sys.stdin.readline()
model = cls.from_single_file(file, config=config, dtype=getattr(torch, dtype))
print(sum(each.nbytes for each in model.state_dict().values()), flush=True); sys.stdin.readline()
"""
_LARGE = {
    "num_layers": 4,
    "pos_embed_max_size": 8,
    "attention_head_dim": 64,
    "num_attention_heads": 16,
    "caption_projection_dim": 1024,
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_cast_takes_the_memory_of_the_weights_and_what_is_not_cast_next_to_none(dtype: str, tmp_path: Path) -> None:
    file = single_files.write("sd3", tmp_path / "model-small")
    file.rename(tmp_path / "large.safetensors.small.safetensors")
    large = single_files.MODELS["sd3"].but(**_LARGE, qk_norm=None, dual_attention_layers=())(seed=1)
    large.save_pretrained(tmp_path / "model")
    tensors = {key: each.detach() for key, each in large.state_dict().items()}
    single_files.save(single_files.ORIGINAL["sd3"](tensors), tmp_path / "large.safetensors")

    peak, said = memory_taken(_PROGRAM, tmp_path / "large.safetensors", tmp_path / "model", dtype)

    weights = int(said)
    assert weights > 64 << 20
    allowed = 32 << 20  # the model's own objects, and what the process takes anyway
    assert peak <= (weights * 1.05 if dtype == "bfloat16" else 0) + allowed
