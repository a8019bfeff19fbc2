"""``unfuse_lora`` of models from single files: exact where a weight is a tensor of the file, or a part of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders import single_file_model

import warpload
from support import loras, single_files
from support.checkpoints import Tensors
from warpload import InvalidArgumentError, IoError

COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2")


@pytest.fixture(scope="module", params=single_files.PIPELINES)
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> single_files.Published:
    """Return a pipeline's folder, and its models in one file, in float16."""
    return single_files.publish(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def sd3(tmp_path: Path) -> single_files.Published:
    """Return SD3, for the test to change; its queries, keys and values are parts of tensors of the file."""
    return single_files.publish("stable-diffusion-3", tmp_path)


def load(published: single_files.Published, **arguments: Any) -> Any:
    cls = getattr(warpload, published.kind)
    return cls.from_single_file(published.file, config=published.folder, **arguments)


def components_of(pipeline: Any) -> list[str]:
    return [label for label in COMPONENTS if getattr(pipeline, label, None) is not None]


def fuse(pipeline: Any, folder: Path) -> Any:
    """Fuse a LoRA of all models, but for the projection that stock makes for SD3, into a pipeline; return that."""
    lora = {key: each for key, each in loras.peft(pipeline).items() if "text_projection" not in key}
    pipeline.load_lora_weights(loras.save(lora, folder / "lora.safetensors"))
    pipeline.fuse_lora(components=components_of(pipeline))
    return pipeline


def weights(pipeline: Any) -> Tensors:
    """Return the models' own parameters by their names, without what adapters have added."""
    named = [(label, getattr(pipeline, label).named_parameters()) for label in components_of(pipeline)]
    found = {f"{label}.{name}": each for label, parameters in named for name, each in parameters}
    return {name.replace(".base_layer", ""): each for name, each in found.items() if "lora" not in name}


def others(ours: Tensors, expected: Tensors) -> list[str]:
    """Return the names of those that differ."""
    assert list(ours) == list(expected)
    return [name for name, each in ours.items() if each.dtype != expected[name].dtype or not each.equal(expected[name])]


@pytest.mark.parametrize("disable_mmap", [False, True])
@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16, torch.float32])
def test_the_weights_are_bit_for_bit_what_was_loaded(
    dtype: torch.dtype | None, disable_mmap: bool, published: single_files.Published, tmp_path: Path
) -> None:
    arguments = {"dtype": dtype, "disable_mmap": disable_mmap}
    expected = weights(load(published, **arguments))
    pipeline = fuse(load(published, **arguments), tmp_path)
    assert {name.partition(".")[0] for name in others(weights(pipeline), expected)} == set(components_of(pipeline))

    warpload.unfuse_lora(pipeline)

    assert others(weights(pipeline), expected) == []


# -- what is refused; then nothing has changed ------------------------------------------------------------------------


def assert_refused(pipeline: Any, error: type[Exception], match: str) -> None:
    before = {name: each.clone() for name, each in weights(pipeline).items()}
    with pytest.raises(error, match=match):
        warpload.unfuse_lora(pipeline)
    assert others(weights(pipeline), before) == []


def test_a_weight_that_the_conversion_has_made_is_refused(
    sd3: single_files.Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = single_file_model.SINGLE_FILE_LOADABLE_CLASSES["SD3Transformer2DModel"]
    usual = known["checkpoint_mapping_fn"]
    key = "transformer_blocks.0.attn.to_q.weight"

    def convert(checkpoint: Tensors, **settings: Any) -> Tensors:
        tensors: Tensors = usual(checkpoint, **settings)
        tensors[key] = torch.roll(tensors[key], 1)
        return tensors

    monkeypatch.setitem(known, "checkpoint_mapping_fn", convert)
    pipeline = fuse(load(sd3), tmp_path)

    assert_refused(
        pipeline, InvalidArgumentError, rf"{key} of transformer is no tensor of the file.*diffusers' own unfuse_lora"
    )


def test_another_file_under_that_name_is_refused(sd3: single_files.Published, tmp_path: Path) -> None:
    pipeline = fuse(load(sd3), tmp_path)
    file = Path(sd3.file)
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)

    assert_refused(pipeline, IoError, "load the model again")


def test_a_model_of_another_dtype_by_now_is_refused(sd3: single_files.Published, tmp_path: Path) -> None:
    pipeline = load(sd3, dtype=torch.float16)
    pipeline.to(torch.float32)
    fuse(pipeline, tmp_path)

    assert_refused(pipeline, InvalidArgumentError, r"was loaded as F16 and is torch\.float32 by now")


def test_a_weight_that_was_changed_in_another_way_is_refused(sd3: single_files.Published, tmp_path: Path) -> None:
    pipeline = load(sd3)
    with torch.no_grad():
        pipeline.transformer.transformer_blocks[0].attn.to_q.weight.mul_(2)
    fuse(pipeline, tmp_path)

    assert_refused(pipeline, InvalidArgumentError, r"attn\.to_q\.weight of transformer was changed in place")


def test_a_model_that_stock_has_placed_is_refused(sd3: single_files.Published, tmp_path: Path) -> None:
    transformer = warpload.SD3Transformer2DModel.from_single_file(
        sd3.file, config=sd3.folder, subfolder="transformer", low_cpu_mem_usage=False
    )
    pipeline = fuse(load(sd3, transformer=transformer), tmp_path)

    assert_refused(pipeline, InvalidArgumentError, "transformer were not placed by the core")
