"""What docs/loading.md shows, section by section: its own code is run, and what came of it is looked at.

The page follows diffusers' guide "Loading a pipeline". A GPU is not at hand in these tests: ``"cuda"`` is the CPU here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import warpload
from support import pages
from support.compare import assert_loaded_natively
from support.pipelines import MODELS

GUIDE = pages.ROOT / "docs" / "loading.md"
QWEN = {"transformer", "vae", "text_encoder"}

# Runs a section of the guide, and returns the names that it has defined.
Shown = Callable[[str], dict[str, Any]]


@pytest.fixture
def shown(furnished: Path) -> Iterator[Shown]:
    with pages.world(furnished):
        yield lambda section: pages.run(GUIDE, section)


def test_the_subclass_is_picked_from_the_index_or_named(shown: Shown) -> None:
    found = shown("A pipeline")

    assert type(found["pipe"]) is diffusers.QwenImagePipeline
    assert isinstance(found["pipe"], warpload.DiffusionPipeline)
    assert isinstance(found["pipe"], warpload.QwenImagePipeline)
    assert type(found["text_to_image"]) is diffusers.QwenImagePipeline
    assert type(found["image_to_image"]) is diffusers.QwenImageImg2ImgPipeline
    assert found["image_to_image"].hf_device_map == "cpu"
    assert_loaded_natively(warpload.last_report(), QWEN)


def test_a_local_folder_never_asks_the_hub(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    shown("A folder")

    assert_loaded_natively(warpload.last_report(), QWEN)


def test_a_dtype_for_a_model_with_and_without_a_default_for_the_others(shown: Shown) -> None:
    found = shown("Dtypes")

    qwen, hunyuan = found["QwenImagePipeline"], found["pipe"]
    assert qwen is warpload.QwenImagePipeline
    assert (hunyuan.transformer.dtype, hunyuan.vae.dtype) == (torch.bfloat16, torch.float16)
    assert hunyuan.text_encoder.dtype == hunyuan.text_encoder_2.dtype == torch.float32


def test_a_default_is_the_dtype_of_what_is_not_named(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    shown("Dtypes")

    assert "torch.bfloat16 torch.float16" in capsys.readouterr().out


def test_a_device_map_is_shown_and_reset_or_goes_by_component(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    found = shown("Devices")

    assert capsys.readouterr().out.startswith("cpu")
    assert found["pipe"].text_encoder.device == torch.device("cpu")
    assert found["layer"].weight.dtype == torch.float16


def test_parallel_loading_of_a_sharded_pipeline(shown: Shown) -> None:
    pipeline = shown("Parallel loading")["pipe"]

    report = warpload.last_report()
    assert type(pipeline) is diffusers.WanImageToVideoPipeline
    assert_loaded_natively(
        report, {"transformer", "transformer_2", "vae", "text_encoder", "image_encoder"} & set(report.components)
    )
    assert report.threads == 8


def test_another_vae_and_another_scheduler(shown: Shown) -> None:
    found = shown("Another component")

    assert found["pipe"].vae is found["vae"]
    assert found["pipe"].scheduler is found["scheduler"]
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion-xl"] - {"vae"})


def test_no_safety_checker(shown: Shown, caplog: pytest.LogCaptureFixture) -> None:
    diffusers.utils.logging.enable_propagation()
    diffusers.utils.logging.set_verbosity_warning()
    try:
        with caplog.at_level(logging.WARNING):
            pipeline = shown("Without a component")["pipe"]
    finally:
        diffusers.utils.logging.disable_propagation()
        diffusers.utils.logging.set_verbosity_error()

    assert pipeline.safety_checker is None
    assert any("You have disabled the safety checker" in record.getMessage() for record in caplog.records)
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion"] - {"safety_checker"})


def test_a_second_pipeline_of_the_same_models(shown: Shown) -> None:
    found = shown("A second pipeline of the same models")

    assert type(found["first"]) is diffusers.StableDiffusionXLPipeline
    assert type(found["second"]) is diffusers.StableDiffusionXLPAGPipeline
    assert found["second"].unet is found["first"].unet
    assert found["second"].unet.dtype == torch.float16


def test_models_of_both_libraries_load_through_the_core(shown: Shown) -> None:
    shown("One model")

    of_diffusers, of_transformers = warpload.reports()[-2:]
    assert set(of_diffusers.components.values()) == set(of_transformers.components.values()) == {"native"}


def test_a_single_file_is_native(shown: Shown) -> None:
    pipeline = shown("A single file")["pipe"]

    assert type(pipeline) is diffusers.StableDiffusionPipeline
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion"] - {"safety_checker"})


def test_a_lora_is_taken_out_again_to_the_bit(shown: Shown) -> None:
    fused = shown("LoRAs and other adapters")["pipe"].unet.state_dict()

    base = warpload.DiffusionPipeline.from_pretrained("path/to/pipeline", dtype=torch.float16).unet.state_dict()
    assert all(torch.equal(fused[name.replace(".base_layer", "")], base[name]) for name in base if name in fused)


def test_blocks_of_gguf_stay_packed_or_become_numbers(shown: Shown) -> None:
    found = shown("GGUF")

    packed = found["transformer"].transformer_blocks[0].attn.to_q.weight
    assert packed.dtype == torch.uint8
    assert found["tensors"]["transformer_blocks.0.attn.to_q.weight"].dtype == torch.bfloat16


def test_a_quantiser_is_the_librarys_own(shown: Shown) -> None:
    shown("Quantised models")

    report = warpload.last_report()
    assert report.components["transformer"] == "native"
    assert report.placed_by_stock["transformer"] == "quantization_config"


def test_files_are_read_whole_cast_sharded_and_in_parts(shown: Shown) -> None:
    found = shown("Files")

    assert {name: tensor.dtype for name, tensor in found["tensors"].items()} == dict.fromkeys("abc", torch.bfloat16)
    assert found["part"].shape == (1, 4)


def test_what_was_prefetched_is_taken(shown: Shown) -> None:
    found = shown("Before the imports")

    assert found["early"].state == "taken"
    assert set(warpload.last_report().prefetched) == MODELS["stable-diffusion-xl"]


def test_the_report_says_who_loaded_what(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    report = shown("How it went")["report"]

    assert set(report.components.values()) == {"native"}
    assert '"components": {' in capsys.readouterr().out
