"""docs/integrations/peft.md: adapters on what the core loads are made, trained, saved and merged as on stock's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import peft
import pytest
import torch
from peft import LoraConfig, get_peft_model

import warpload
from support import checkpoints
from support import integration_pages as pages
from support.compare import assert_same_tensors, bytes_of
from support.pipelines import Saved

FAMILY = "stable-diffusion"
CONFIGS: dict[str, Callable[[], Any]] = {
    "lora": lambda: LoraConfig(r=2, lora_alpha=4, target_modules=["to_q", "to_v"], init_lora_weights="gaussian"),
    "dora": lambda: LoraConfig(r=2, lora_alpha=4, target_modules=["to_q"], use_dora=True),
    "loha": lambda: peft.LoHaConfig(r=2, alpha=4, target_modules=["to_k"], init_weights=False),
    "ia3": lambda: peft.IA3Config(target_modules=["to_k"], feedforward_modules=[]),
    "all linear": lambda: LoraConfig(r=2, target_modules="all-linear", bias="all"),
}
Unets = tuple[Any, Any]


@pytest.fixture
def unets(saved: Saved) -> Unets:
    """Return a U-Net of ours, whose tensors are views of its file, and stock's."""
    folder = saved(FAMILY)
    ours = warpload.UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    return ours, diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet")


def with_adapter(unet: Any, config: Callable[[], Any]) -> Any:
    torch.manual_seed(0)
    return get_peft_model(unet, config())


def trained(model: torch.nn.Module, steps: int = 2) -> list[bytes]:
    """Take steps of training; return losses and gradients."""
    random = torch.Generator().manual_seed(0)
    chosen = [each for each in model.parameters() if each.requires_grad]
    optimizer, said = torch.optim.AdamW(chosen, lr=0.1), []
    model.train()
    for step in range(steps):
        sample, text = torch.randn(1, 4, 8, 8, generator=random), torch.randn(1, 7, 8, generator=random)
        loss = torch.nn.functional.mse_loss(model(sample, step, text).sample, sample)
        loss.backward()
        said += [bytes_of(loss), *(bytes_of(each.grad) for each in chosen if each.grad is not None)]
        optimizer.step()
        optimizer.zero_grad()
    return said


@pytest.mark.parametrize("kind", CONFIGS)
def test_layers_steps_and_merged_weights_are_stocks(kind: str, unets: Unets, tmp_path: Path) -> None:
    ours, stock = (with_adapter(unet, CONFIGS[kind]) for unet in unets)
    assert_same_tensors(ours.state_dict(), stock.state_dict())

    assert trained(ours) == trained(stock)

    assert_same_tensors(ours.state_dict(), stock.state_dict())
    for name, model in (("ours", ours), ("stock", stock)):
        model.save_pretrained(tmp_path / name)
    files = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("ours", "stock")]
    assert files[0] == files[1]
    merged = [model.merge_and_unload() for model in (ours, stock)]
    assert_same_tensors(merged[0].state_dict(), merged[1].state_dict())


def test_an_adapters_training_leaves_the_bases_views_and_its_file_alone(saved: Saved, unets: Unets) -> None:
    file = saved(FAMILY) / "unet" / "diffusion_pytorch_model.safetensors"
    before, content = {name: each.data_ptr() for name, each in unets[0].named_parameters()}, file.read_bytes()
    model = with_adapter(unets[0], CONFIGS["lora"])

    trained(model)

    bare = "base_model.model."
    base = {name.removeprefix(bare).replace(".base_layer", ""): each for name, each in model.named_parameters()}
    assert {name: base[name].data_ptr() for name in before} == before
    assert all(each.grad is None for name, each in base.items() if name in before)
    model.merge_and_unload()
    assert file.read_bytes() == content


def test_all_weights_are_trained_as_stocks_and_not_their_file(saved: Saved, unets: Unets) -> None:
    file = saved(FAMILY) / "unet" / "diffusion_pytorch_model.safetensors"
    content = file.read_bytes()
    ours, stock = unets

    assert trained(ours) == trained(stock)

    assert_same_tensors(ours.state_dict(), stock.state_dict())
    assert file.read_bytes() == content
    loaded = checkpoints.load_file(file)
    assert any(not torch.equal(loaded[name], each) for name, each in ours.state_dict().items())


def test_checkpointing_gives_stocks_gradients(unets: Unets) -> None:
    said = []
    for unet in unets:
        model = with_adapter(unet, CONFIGS["lora"])
        unet.enable_gradient_checkpointing()
        said.append(trained(model))

    assert said[0] == said[1]


def test_the_pages_snippets_train_save_and_merge(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told = {"path/or/hub-id": str(saved(FAMILY))}
    names = pages.run("peft", "def step", {**told, "lr=1e-4": "lr=0.1"})
    assert "trainable params" in capsys.readouterr().out
    random = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=random) for shape in ((1, 4, 8, 8), (1, 7, 8), (1, 4, 8, 8))]
    losses = [names["step"](given[0], 1, given[1], given[2]) for _ in range(3)]
    assert losses[2] < losses[0]

    names = pages.run("peft", "PeftModel.from_pretrained", told, **names)
    with torch.no_grad():
        expected = names["model"](given[0], 1, given[1]).sample
        merged = names["merged"](given[0], 1, given[1]).sample
    torch.testing.assert_close(merged, expected, rtol=1e-3, atol=1e-4)
    assert (tmp_path / "merged" / "config.json").is_file()

    names = pages.run("peft", "save_lora_adapter", told)
    first, second = names["pipe"].unet.state_dict(), names["other"].unet.state_dict()
    assert [bytes_of(each) for name, each in first.items() if "lora" in name]
    assert sorted(bytes_of(each) for each in first.values()) == sorted(bytes_of(each) for each in second.values())
