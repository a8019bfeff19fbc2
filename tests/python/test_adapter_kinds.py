"""Adapters of every kind beside LoRAs for pipelines: who reads each, and that it equals stock's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch
import transformers
from peft import LoraConfig, PeftMixedModel, PeftModel, get_peft_model

import warpload
from support import checkpoints
from support.compare import assert_same_model
from support.loading import forbid_stock_readers
from support.pipelines import Saved


def text_encoder(saved: Saved) -> Any:
    return transformers.CLIPTextModel.from_pretrained(saved("stable-diffusion") / "text_encoder")


@pytest.fixture
def of_peft(saved: Saved, tmp_path: Path) -> Path:
    """Return the folder of an adapter as peft saves it."""
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(text_encoder(saved), config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def by_peft(saved: Saved, folder: Path) -> Any:
    return PeftModel.from_pretrained(text_encoder(saved), folder)


def by_peft_for_training(saved: Saved, folder: Path) -> Any:
    return PeftModel.from_pretrained(text_encoder(saved), str(folder), is_trainable=True, low_cpu_mem_usage=True)


def beside_another(saved: Saved, folder: Path) -> Any:
    model = PeftModel.from_pretrained(text_encoder(saved), folder)
    model.load_adapter(folder, adapter_name="second")
    model.set_adapter("second")
    return model


def in_a_mixture(saved: Saved, folder: Path) -> Any:
    model = PeftMixedModel.from_pretrained(text_encoder(saved), folder)
    model.load_adapter(folder, adapter_name="second")
    return model


def by_transformers(saved: Saved, folder: Path) -> Any:
    model = text_encoder(saved)
    pickled = not (folder / "adapter_model.safetensors").exists()  # which transformers has to be told of
    model.load_adapter(str(folder), **({"use_safetensors": False} if pickled else {}))
    return model


PEFT: dict[str, Callable[[Saved, Path], Any]] = {
    "PeftModel.from_pretrained": by_peft,
    "PeftModel.from_pretrained without values": by_peft_for_training,
    "PeftModel.load_adapter": beside_another,
    "PeftMixedModel": in_a_mixture,
    "transformers' load_adapter": by_transformers,
}


def seeded(load: Callable[[Saved, Path], Any], saved: Saved, folder: Path) -> tuple[Any, torch.Tensor]:
    torch.manual_seed(3)
    return load(saved, folder), torch.get_rng_state()


@pytest.mark.parametrize("name", PEFT)
def test_an_adapter_of_pefts_is_read_by_the_core_and_equals_stock(
    name: str, saved: Saved, of_peft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock, drawn = seeded(PEFT[name], saved, of_peft)
    forbid_stock_readers(monkeypatch)

    with warpload.accelerated():
        ours, own_drawn = seeded(PEFT[name], saved, of_peft)

    assert type(ours) is type(stock)
    assert_same_model(ours, stock)
    assert torch.equal(own_drawn, drawn)
    report = warpload.last_report()
    assert report is not None
    assert (report.kind, report.source) == ("adapter", str(of_peft))
    assert report.components == {"adapter_model.safetensors": "native"}
    assert report.bytes == sum(
        tensor.nbytes for tensor in checkpoints.load_file(of_peft / "adapter_model.safetensors").values()
    )


@pytest.mark.parametrize("name", PEFT)
def test_a_pickled_adapter_of_pefts_is_loaded_by_stock_and_said_so(name: str, saved: Saved, of_peft: Path) -> None:
    file = of_peft / "adapter_model.safetensors"
    torch.save(checkpoints.load_file(file), file.with_suffix(".bin"))
    file.unlink()
    stock = PEFT[name](saved, of_peft)

    with warpload.accelerated():
        ours = PEFT[name](saved, of_peft)

    assert_same_model(ours, stock)
    report = warpload.last_report()
    assert report is not None
    assert (report.kind, report.bytes) == ("adapter", 0)
    assert list(report.components.values()) == ["stock: no safetensors"]


def test_a_model_of_ours_gets_its_adapter_through_the_core_without_a_block(
    saved: Saved, of_peft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = by_peft(saved, of_peft)
    with warpload.accelerated():
        base = text_encoder(saved)
    forbid_stock_readers(monkeypatch)

    ours = PeftModel.from_pretrained(base, of_peft)

    assert_same_model(ours, stock)
    with pytest.raises(AssertionError, match="stock reads"):
        by_peft(saved, of_peft)


# -- adapters that are models -----------------------------------------------------------------------------------------


def t2i_adapter(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return diffusers.T2IAdapter(in_channels=3, channels=[8, 8], num_res_blocks=1, adapter_type="full_adapter")


def control_net(saved: Saved, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    unet = diffusers.UNet2DConditionModel.from_pretrained(saved("stable-diffusion") / "unet")
    return diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8))


def save_adapters(saved: Saved, folder: Path) -> dict[str, Any]:
    t2i_adapter().save_pretrained(folder / "t2i")
    diffusers.MultiAdapter([t2i_adapter(1), t2i_adapter(2)]).save_pretrained(str(folder / "t2i_several"))
    control_net(saved).save_pretrained(folder / "control")
    several = diffusers.MultiControlNetModel([control_net(saved, 1), control_net(saved, 2)])
    several.save_pretrained(str(folder / "controls"))
    return {
        "T2IAdapter": (diffusers.T2IAdapter, folder / "t2i"),
        "MultiAdapter": (diffusers.MultiAdapter, folder / "t2i_several"),
        "ControlNetModel": (diffusers.ControlNetModel, folder / "control"),
        "MultiControlNetModel": (diffusers.MultiControlNetModel, folder / "controls"),
    }


@pytest.mark.parametrize("name", ["T2IAdapter", "MultiAdapter", "ControlNetModel", "MultiControlNetModel"])
@pytest.mark.parametrize("settings", [{}, {"torch_dtype": torch.float16}], ids=str)
def test_an_adapter_that_is_a_model_is_placed_by_the_core(
    name: str, settings: dict[str, Any], saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls, folder = save_adapters(saved, tmp_path)[name]
    stock = cls.from_pretrained(str(folder), **settings)
    before = len(warpload.reports())
    forbid_stock_readers(monkeypatch)

    with warpload.accelerated():
        ours = cls.from_pretrained(str(folder), **settings)

    assert_same_model(ours, stock)
    made = warpload.reports()[before:] if before < len(warpload.reports()) else [warpload.last_report()]
    assert made
    for report in made:
        assert report is not None
        assert set(report.components.values()) == {"native"}
        assert report.placed_by_stock == {}


# -- textual inversions in the spellings of other programs ------------------------------------------------------------


def test_a_textual_inversion_of_the_web_ui_is_read_by_the_core(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved("stable-diffusion")
    width = json.loads((folder / "text_encoder" / "config.json").read_text())["hidden_size"]
    file = tmp_path / "learned.safetensors"
    safetensors.torch.save_file({"emb_params": torch.randn(2, width)}, file)

    def load() -> Any:
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
        pipeline.load_textual_inversion(file, token="<learned>")
        return pipeline

    stock = load()
    forbid_stock_readers(monkeypatch)
    with warpload.accelerated():
        ours = load()

    assert_same_model(ours.text_encoder, stock.text_encoder)
    assert ours.tokenizer.get_vocab() == stock.tokenizer.get_vocab()
    report = warpload.last_report()
    assert report is not None
    assert report.components == {"learned.safetensors": "native"}
