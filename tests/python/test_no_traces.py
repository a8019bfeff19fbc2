"""A load leaves behind what stock's leaves: the same draws, log records and warnings; nothing is built twice."""

from __future__ import annotations

import functools
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy
import pytest
import torch
import transformers
from diffusers import UNet2DModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel, T5ForConditionalGeneration

import warpload
from support import checkpoints, models
from support.compare import assert_same_model, assert_same_pipeline
from support.pipelines import FAMILIES, Saved
from support.traces import Traces, assert_same_traces, by_both

Change = Callable[[checkpoints.Tensors], checkpoints.Tensors]


def load_both(load: Callable[[], Any], action: Any = "default") -> tuple[Traces, Traces]:
    return by_both(load, warpload.accelerated, action)


def without(end: str) -> Change:
    """Return a change that removes the tensors whose names end so; there have to be some."""

    def change(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(end)}
        assert len(kept) < len(tensors)
        return kept

    return change


def reshaped(end: str) -> Change:
    def change(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
        return {name: torch.zeros(3, 5) if name.endswith(end) else tensor for name, tensor in tensors.items()}

    return change


def renamed(old: str, new: str) -> Change:
    return lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()}


def with_another(tensors: checkpoints.Tensors) -> checkpoints.Tensors:
    return tensors | {"unheard_of.weight": torch.zeros(3)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(
    ("family", "component", "change"),
    [
        ("stable-diffusion", "text_encoder", without("layers.1.mlp.fc1.weight")),
        ("stable-diffusion", "text_encoder", without("token_embedding.weight")),
        ("stable-diffusion", "text_encoder", with_another),
        ("stable-diffusion", "text_encoder", reshaped("fc1.weight")),
        ("stable-diffusion", "safety_checker", without("visual_projection.weight")),
        ("stable-diffusion", "unet", with_another),
        ("stable-diffusion", "unet", reshaped("conv_in.weight")),
        ("stable-diffusion-3", "text_encoder", without("text_projection.weight")),
        ("flux", "text_encoder_2", without("shared.weight")),
        ("flux", "text_encoder_2", renamed("shared.weight", "encoder.embed_tokens.weight")),
        ("flux", "text_encoder_2", without("relative_attention_bias.weight")),
        ("wan", "text_encoder", without("wo.weight")),
    ],
)
def test_a_pipeline_that_does_not_fit_its_file_leaves_what_stock_leaves(
    family: str, component: str, change: Change, dtype: torch.dtype, copied: Saved
) -> None:
    folder = copied(family)
    checkpoints.rewrite(checkpoints.weight_file(folder / component), change)

    ours, stock = load_both(lambda: diffusers.DiffusionPipeline.from_pretrained(folder, dtype=dtype))

    assert_same_traces(ours, stock)
    if not stock.error:
        assert_same_pipeline(ours.result, stock.result)


def test_a_parameter_that_diffusers_leaves_on_meta_leaves_what_stock_leaves(copied: Saved) -> None:
    folder = copied("ddpm") / "unet"
    checkpoints.rewrite(checkpoints.weight_file(folder), without("conv_in.weight"))

    ours, stock = load_both(lambda: UNet2DModel.from_pretrained(folder))

    assert_same_traces(ours, stock)
    assert_same_model(ours.result, stock.result)
    assert stock.result.conv_in.weight.is_meta


@pytest.mark.parametrize("ignore", [True, False])
@pytest.mark.parametrize("end", ["fc1.weight", "fc1.bias"])
def test_ignored_sizes_leave_what_stock_leaves(end: str, ignore: bool, tmp_path: Path) -> None:
    models.clip_text_model().save_pretrained(tmp_path)
    checkpoints.rewrite(tmp_path / checkpoints.TRANSFORMERS_FILE, reshaped(end))

    ours, stock = load_both(lambda: CLIPTextModel.from_pretrained(tmp_path, ignore_mismatched_sizes=ignore))

    assert_same_traces(ours, stock)
    if ignore:
        assert_same_model(ours.result, stock.result)
    else:
        assert "ignore_mismatched_sizes" in stock.error


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_checkpoint_with_a_decoder_that_is_not_wanted_is_built_once(
    dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = models.t5_encoder().config
    model = models.randomised(T5ForConditionalGeneration(config), 3)
    model.encoder.embed_tokens.weight = torch.nn.Parameter(model.shared.weight + 1)  # both are in the file then
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    checkpoints.save_file(tensors, tmp_path / checkpoints.TRANSFORMERS_FILE, metadata={"format": "pt"})
    config.save_pretrained(tmp_path)
    built = []
    original = T5EncoderModel.__init__
    monkeypatch.setattr(T5EncoderModel, "__init__", lambda self, config: built.append(1) or original(self, config))

    ours, stock = load_both(lambda: T5EncoderModel.from_pretrained(tmp_path, dtype=dtype))

    assert len(built) == 2
    assert_same_traces(ours, stock)
    assert_same_model(ours.result, stock.result)
    assert warpload.last_report().placed_by_stock == {}


# -- classes that draw, warn and count in what they do ----------------------------------------------------------------


def speak(cls: Any) -> None:
    """Draw from every generator, warn in every way, and count."""
    cls.built += 1
    torch.randn(3, device="cpu")
    random.random()
    numpy.random.rand()
    warnings.warn("each time or once", UserWarning, stacklevel=1)
    logger = transformers.utils.logging.get_logger("transformers.models.clip.modeling_clip")
    logger.warning("said each time")
    logger.warning_once("said once")


class SpeakingUnet(UNet2DModel):  # type: ignore[misc]
    built = 0

    @functools.wraps(UNet2DModel.__init__)
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        speak(type(self))
        self.register_buffer("drawn", torch.rand(4), persistent=False)


class UnetWithItsOwnConfig(SpeakingUnet):
    built = 0

    @classmethod
    def from_config(cls, *arguments: Any, **keywords: Any) -> Any:
        model = super().from_config(*arguments, **keywords)
        model.made_by_itself = getattr(model, "made_by_itself", 0) + 1
        return model


class SpeakingClip(CLIPTextModelWithProjection):  # type: ignore[misc]
    built = 0

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        speak(type(self))


ACTIONS = ["default", "once", "always", "module", "ignore", "error"]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("change", [None, without("conv_in.bias"), with_another], ids=["fits", "missing", "unexpected"])
@pytest.mark.parametrize("cls", [SpeakingUnet, UnetWithItsOwnConfig])
def test_a_diffusers_class_that_draws_and_warns_does_so_as_with_stock(
    cls: Any, change: Change | None, action: Any, tmp_path: Path
) -> None:
    models.unconditional_unet().save_pretrained(tmp_path)
    if change is not None:
        checkpoints.rewrite(tmp_path / checkpoints.DIFFUSERS_FILE, change)

    ours, stock = load_both(lambda: cls.from_pretrained(tmp_path, dtype=torch.float16), action)

    assert_same_traces(ours, stock)
    assert bool(stock.error) == (action == "error")
    if not stock.error:
        assert_same_model(ours.result, stock.result)


@pytest.mark.parametrize("change", [without("conv_in.bias"), with_another], ids=["missing", "unexpected"])
def test_stock_goes_on_with_the_model_that_was_built(change: Change, tmp_path: Path) -> None:
    models.unconditional_unet().save_pretrained(tmp_path)
    checkpoints.rewrite(tmp_path / checkpoints.DIFFUSERS_FILE, change)
    before = SpeakingUnet.built

    load_both(lambda: SpeakingUnet.from_pretrained(tmp_path))

    assert SpeakingUnet.built == before + 2


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "change",
    [None, without("fc1.weight"), with_another, reshaped("fc1.weight")],
    ids=["fits", "missing", "unexpected", "mismatching"],
)
def test_a_transformers_class_that_draws_and_warns_does_so_as_with_stock(
    change: Change | None, action: Any, tmp_path: Path
) -> None:
    models.clip_text_model_with_projection().save_pretrained(tmp_path)
    if change is not None:
        checkpoints.rewrite(tmp_path / checkpoints.TRANSFORMERS_FILE, change)
    before = SpeakingClip.built

    ours, stock = load_both(lambda: SpeakingClip.from_pretrained(tmp_path, dtype=torch.float16), action)

    assert_same_traces(ours, stock)
    assert SpeakingClip.built == before + 2
    if not stock.error:
        assert_same_model(ours.result, stock.result)


class SpeakingConfig(transformers.CLIPTextConfig):  # type: ignore[misc]
    built = 0

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        speak(type(self))


class ClipThatCannotBeNative(CLIPTextModel):  # type: ignore[misc]
    """Refused once its configuration is there: it loads in a way of its own."""

    config_class = SpeakingConfig

    @staticmethod
    def _load_pretrained_model(*arguments: Any, **keywords: Any) -> Any:
        return CLIPTextModel._load_pretrained_model(*arguments, **keywords)


@pytest.mark.parametrize("action", ["default", "once", "always"])
def test_what_a_configuration_does_is_undone_where_stock_reads_it_again(action: Any, tmp_path: Path) -> None:
    models.clip_text_model().save_pretrained(tmp_path)

    ours, stock = load_both(lambda: ClipThatCannotBeNative.from_pretrained(tmp_path), action)

    assert "said once" in {message for *_, message in stock.records}
    assert_same_traces(ours, stock)
    assert_same_model(ours.result, stock.result)
    assert "has its own _load_pretrained_model" in str(warpload.last_report())


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_native_load_leaves_what_stock_leaves(family: str, dtype: torch.dtype | None, saved: Saved) -> None:
    folder = saved(family)

    ours, stock = load_both(lambda: diffusers.DiffusionPipeline.from_pretrained(folder, dtype=dtype))

    assert_same_traces(ours, stock)
    assert warpload.last_report().placed_by_stock == {}
    assert_same_pipeline(ours.result, stock.result)
