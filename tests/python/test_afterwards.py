"""What users do with a pipeline once it is there works as with one from stock."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict

import warpload
from support.compare import assert_same_pipeline, assert_same_tensors
from support.loading import assert_fails_as_stock, load_both
from support.pipelines import DTYPES, Saved

LORA = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights="gaussian")


def image(pipeline: DiffusionPipeline, **arguments: Any) -> torch.Tensor:
    sizes = {"num_inference_steps": 1, "height": 16, "width": 16, "output_type": "pt"}
    generator = torch.Generator().manual_seed(0)
    return pipeline("a bad cab", generator=generator, **sizes, **arguments).images


@pytest.fixture
def pair(saved: Saved) -> tuple[DiffusionPipeline, DiffusionPipeline]:
    """Return the core's pipeline and stock's, without a safety checker."""
    return load_both(saved("stable-diffusion"), safety_checker=None)


def test_low_rank_adapters_are_loaded_fused_and_unloaded(
    pair: tuple[DiffusionPipeline, DiffusionPipeline], tmp_path: Path
) -> None:
    ours, stock = pair
    plain = image(stock)
    torch.manual_seed(0)
    stock.unet.add_adapter(LORA)
    with torch.no_grad():
        for name, parameter in stock.unet.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    layers = get_peft_model_state_dict(stock.unet)
    diffusers.StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=layers)
    stock.unet.delete_adapters("default")

    for pipeline in (ours, stock):
        pipeline.load_lora_weights(tmp_path)
    adapted = image(stock)
    assert not torch.equal(adapted, plain)
    assert torch.equal(image(ours), adapted)
    for pipeline in (ours, stock):
        pipeline.fuse_lora()
    assert torch.equal(image(ours), image(stock))
    for pipeline in (ours, stock):
        pipeline.unfuse_lora()
        pipeline.unload_lora_weights()
    assert torch.equal(image(ours), image(stock))


def test_a_compiled_model_computes_the_same(pair: tuple[DiffusionPipeline, DiffusionPipeline]) -> None:
    for pipeline in pair:
        pipeline.unet = torch.compile(pipeline.unet, backend="eager")

    assert torch.equal(*map(image, pair))


def test_groups_of_layers_are_offloaded(pair: tuple[DiffusionPipeline, DiffusionPipeline]) -> None:
    cpu = torch.device("cpu")

    def enable(pipeline: DiffusionPipeline) -> None:
        pipeline.unet.enable_group_offload(onload_device=cpu, offload_device=cpu, offload_type="leaf_level")

    ours, stock = pair
    try:
        enable(stock)
    except (AttributeError, RuntimeError) as error:  # diffusers 0.40 and torch 2.6 want an accelerator for it
        with pytest.raises(type(error)):
            enable(ours)
        return
    enable(ours)

    assert torch.equal(image(ours), image(stock))


def test_a_pipeline_can_be_pickled_and_copied(pair: tuple[DiffusionPipeline, DiffusionPipeline]) -> None:
    ours, stock = pair

    assert_same_pipeline(pickle.loads(pickle.dumps(ours)), stock)
    assert_same_pipeline(copy.deepcopy(ours), stock)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("target", [torch.float16, torch.float32, torch.float64])
def test_casting_afterwards_equals_stock(target: torch.dtype, dtype: str, saved: Saved) -> None:
    ours, stock = load_both(saved("wan"), **DTYPES[dtype])

    for pipeline in (ours, stock):
        pipeline.to(target)

    assert_same_pipeline(ours, stock)


def test_training_a_model_changes_it_and_not_the_file(copied: Saved) -> None:
    folder = copied("ddpm")
    unet = warpload.UNet2DModel.from_pretrained(folder, subfolder="unet").train()
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}

    unet(torch.randn(1, 3, 8, 8), 1).sample.sum().backward()
    torch.optim.SGD(unet.parameters(), lr=0.1).step()

    assert not torch.equal(unet.state_dict()["conv_in.weight"], before["conv_in.weight"])
    again = warpload.UNet2DModel.from_pretrained(folder, subfolder="unet")
    assert_same_tensors(again.state_dict(), before)


CODE = "from diffusers import DDPMPipeline\n\n\nclass Own(DDPMPipeline):\n    pass\n"


def test_code_that_is_not_trusted_is_refused_as_by_stock(copied: Saved, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "pipeline.py").write_text(CODE)

    assert_fails_as_stock(copied("ddpm"), custom_pipeline=str(tmp_path / "own"))


def test_a_model_with_code_of_its_own_is_refused_and_trusted_as_by_stock(tmp_path: Path) -> None:
    (tmp_path / "modeling.py").write_text(
        "from diffusers import ModelMixin, ConfigMixin\n"
        "from diffusers.configuration_utils import register_to_config\n"
        "import torch\n\n\n"
        "class Own(ModelMixin, ConfigMixin):\n"
        "    @register_to_config\n"
        "    def __init__(self, size=3):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(size, size)\n"
    )
    (tmp_path / "config.json").write_text(
        '{"_class_name": "Own", "size": 3, "auto_map": {"AutoModel": "modeling.Own"}}'
    )
    from safetensors.torch import save_file

    tensors = {"layer.weight": torch.randn(3, 3), "layer.bias": torch.randn(3)}
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")

    with pytest.raises(ValueError, match="trust_remote_code") as refused:
        diffusers.AutoModel.from_pretrained(str(tmp_path))
    with pytest.raises(ValueError, match="trust_remote_code") as mine:
        warpload.AutoModel.from_pretrained(str(tmp_path))
    assert str(mine.value) == str(refused.value)

    stock = diffusers.AutoModel.from_pretrained(str(tmp_path), trust_remote_code=True)
    ours = warpload.AutoModel.from_pretrained(str(tmp_path), trust_remote_code=True)
    assert_same_tensors(ours.state_dict(), stock.state_dict())  # their class is made anew by each load
    assert warpload.last_report().components == {"Own": "native"}
