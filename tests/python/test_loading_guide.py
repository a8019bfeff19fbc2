"""What diffusers' guide "Loading a pipeline" shows, with warpload in place of diffusers and folders in place of ids.

A GPU is not at hand in these tests: where the guide says ``device_map="cuda"`` they say ``"cpu"``.
"""

from __future__ import annotations

import logging
from pathlib import Path

import diffusers
import pytest
import torch

import warpload
from families.registry import families_by_name
from support.compare import assert_loaded_natively
from support.pipelines import MODELS, Saved

QWEN = {"transformer", "vae", "text_encoder"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Return the folder of a family of the conformance suite."""
    folders: dict[str, Path] = {}

    def folder_of(family: str) -> Path:
        if family not in folders:
            folders[family] = tmp_path_factory.mktemp(family)
            families_by_name()[family]().save_pretrained(folders[family])
        return folders[family]

    return folder_of


def test_the_subclass_is_picked_from_the_index(built: Saved) -> None:
    from warpload import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(built("qwen-image"), dtype=torch.bfloat16, device_map="cpu")

    assert type(pipeline) is diffusers.QwenImagePipeline
    assert isinstance(pipeline, DiffusionPipeline)
    assert isinstance(pipeline, warpload.QwenImagePipeline)
    assert_loaded_natively(warpload.last_report(), QWEN)


@pytest.mark.parametrize("name", ["QwenImagePipeline", "QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline"])
def test_a_subclass_is_used_directly(name: str, built: Saved) -> None:
    pipeline_class = getattr(warpload, name)

    pipeline = pipeline_class.from_pretrained(built("qwen-image"), dtype=torch.bfloat16, device_map="cpu")

    assert type(pipeline) is getattr(diffusers, name)
    assert pipeline.hf_device_map == "cpu"
    assert_loaded_natively(warpload.last_report(), QWEN)


def test_a_local_folder_never_asks_the_hub(built: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    warpload.QwenImagePipeline.from_pretrained(str(built("qwen-image")), dtype=torch.bfloat16)

    assert_loaded_natively(warpload.last_report(), QWEN)


def test_a_dtype_for_a_model_and_a_default_for_the_others(built: Saved) -> None:
    pipeline = warpload.QwenImagePipeline.from_pretrained(
        built("qwen-image"), dtype={"transformer": torch.bfloat16, "default": torch.float16}
    )

    assert (pipeline.transformer.dtype, pipeline.vae.dtype) == (torch.bfloat16, torch.float16)
    assert pipeline.text_encoder.dtype == torch.float16


@pytest.mark.filterwarnings("ignore:.torch_dtype. is deprecated:FutureWarning")
def test_hunyuan_videos_dtypes_and_float32_for_what_is_not_named(built: Saved) -> None:
    pipeline = warpload.HunyuanVideoPipeline.from_pretrained(
        built("hunyuan-video"), torch_dtype={"transformer": torch.bfloat16, "vae": torch.float16}
    )

    assert (pipeline.transformer.dtype, pipeline.vae.dtype) == (torch.bfloat16, torch.float16)
    assert pipeline.text_encoder.dtype == pipeline.text_encoder_2.dtype == torch.float32


def test_a_device_map_is_shown_and_reset(built: Saved) -> None:
    pipeline = warpload.DiffusionPipeline.from_pretrained(
        built("qwen-image"), dtype=torch.bfloat16, device_map="cpu", max_memory={"cpu": "1GB"}
    )
    assert pipeline.hf_device_map == "cpu"

    pipeline.reset_device_map()

    assert pipeline.hf_device_map is None
    assert pipeline.to(torch.float32).vae.dtype == torch.float32


def test_parallel_loading_of_a_sharded_pipeline(built: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warpload.DiffusionPipeline.from_pretrained(built("wan-2.2-image-to-video")).save_pretrained(
        tmp_path, max_shard_size="4KB"
    )
    monkeypatch.setenv("HF_ENABLE_PARALLEL_LOADING", "YES")

    pipeline = warpload.DiffusionPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16, device_map="cpu")

    report = warpload.last_report()
    assert type(pipeline) is diffusers.WanImageToVideoPipeline
    assert_loaded_natively(
        report, {"transformer", "transformer_2", "vae", "text_encoder", "image_encoder"} & set(report.components)
    )
    assert report.threads == 8


def test_another_vae_and_another_scheduler(saved: Saved, tmp_path: Path) -> None:
    from warpload import AutoModel, DiffusionPipeline, HeunDiscreteScheduler

    folder = saved("stable-diffusion-xl")
    diffusers.AutoencoderKL.from_pretrained(folder / "vae").save_pretrained(tmp_path)
    vae = AutoModel.from_pretrained(str(tmp_path), dtype=torch.float16)
    scheduler = HeunDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")

    pipeline = DiffusionPipeline.from_pretrained(
        folder, vae=vae, scheduler=scheduler, dtype=torch.float16, device_map="cpu"
    )

    assert pipeline.vae is vae
    assert pipeline.scheduler is scheduler
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion-xl"] - {"vae"})


def test_a_second_pipeline_of_the_same_models(saved: Saved) -> None:
    from warpload import AutoPipelineForText2Image

    first = AutoPipelineForText2Image.from_pretrained(
        saved("stable-diffusion-xl"), dtype=torch.float16, device_map="cpu"
    )
    second = AutoPipelineForText2Image.from_pipe(first, enable_pag=True)

    assert type(first) is diffusers.StableDiffusionXLPipeline
    assert type(second) is diffusers.StableDiffusionXLPAGPipeline
    assert second.unet is first.unet
    assert second.unet.dtype == torch.float16


def test_no_safety_checker(saved: Saved, caplog: pytest.LogCaptureFixture) -> None:
    diffusers.utils.logging.enable_propagation()
    diffusers.utils.logging.set_verbosity_warning()
    try:
        with caplog.at_level(logging.WARNING):
            pipeline = warpload.DiffusionPipeline.from_pretrained(saved("stable-diffusion"), safety_checker=None)
    finally:
        diffusers.utils.logging.disable_propagation()
        diffusers.utils.logging.set_verbosity_error()

    assert pipeline.safety_checker is None
    assert any("You have disabled the safety checker" in record.getMessage() for record in caplog.records)
    assert_loaded_natively(warpload.last_report(), MODELS["stable-diffusion"] - {"safety_checker"})
