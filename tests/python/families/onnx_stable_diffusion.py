"""Stable Diffusion on ONNX Runtime: components with weights in files that are no safetensors."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    OnnxRuntimeModel,
    OnnxStableDiffusionImg2ImgPipeline,
    OnnxStableDiffusionInpaintPipeline,
    OnnxStableDiffusionPipeline,
    OnnxStableDiffusionUpscalePipeline,
)

from support.tokenizers import clip_tokenizer

from .registry import family


def onnx_model(seed: int) -> OnnxRuntimeModel:
    """Return a model that adds four numbers.

    It copies its file when it is saved, so the file lives as long as it does.
    """
    weight = onnx.numpy_helper.from_array(np.random.default_rng(seed).random(4, dtype=np.float32), "weight")
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in ("sample", "out")]
    node = onnx.helper.make_node("Add", ["sample", "weight"], ["out"])
    graph = onnx.helper.make_graph([node], "graph", values[:1], values[1:], initializer=[weight])
    opset = onnx.helper.make_opsetid("", 17)
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), file)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    model = OnnxRuntimeModel(session, model_save_dir=file.parent)
    weakref.finalize(model, folder.cleanup)
    return model


def onnx_parts() -> dict[str, Any]:
    """Return the components that all these pipelines but the upscaler share."""
    return {
        "vae_encoder": onnx_model(1),
        "vae_decoder": onnx_model(2),
        "text_encoder": onnx_model(3),
        "tokenizer": clip_tokenizer(),
        "unet": onnx_model(4),
        "scheduler": DDIMScheduler(steps_offset=1, clip_sample=False),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


@family("onnx-stable-diffusion")
def text_to_image() -> OnnxStableDiffusionPipeline:
    return OnnxStableDiffusionPipeline(**onnx_parts())


@family("onnx-stable-diffusion-img2img")
def image_to_image() -> OnnxStableDiffusionImg2ImgPipeline:
    return OnnxStableDiffusionImg2ImgPipeline(**onnx_parts())


@family("onnx-stable-diffusion-inpaint")
def inpaint() -> OnnxStableDiffusionInpaintPipeline:
    return OnnxStableDiffusionInpaintPipeline(**onnx_parts())


@family("onnx-stable-diffusion-upscale")
def upscale() -> OnnxStableDiffusionUpscalePipeline:
    return OnnxStableDiffusionUpscalePipeline(
        vae=onnx_model(1),
        text_encoder=onnx_model(3),
        tokenizer=clip_tokenizer(),
        unet=onnx_model(4),
        low_res_scheduler=DDPMScheduler(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
    )
