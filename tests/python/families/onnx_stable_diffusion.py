"""Stable Diffusion on ONNX Runtime: components with weights in files that are no safetensors."""

from __future__ import annotations

import functools
import tempfile
import weakref
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from diffusers import OnnxRuntimeModel

from support.parts import Part
from support.tokenizers import clip_tokenizer

from .registry import Parts, Table
from .stable_diffusion import DDIM, UNCHECKED


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


ENCODER, DECODER, TEXT_ENCODER, UNET = (functools.partial(onnx_model, seed) for seed in range(1, 5))

TEXT: Parts = {"text_encoder": TEXT_ENCODER, "tokenizer": clip_tokenizer, "unet": UNET, **DDIM}
COMMON: Parts = {"vae_encoder": ENCODER, "vae_decoder": DECODER, **TEXT, "feature_extractor": None, **UNCHECKED}
UPSCALE: Parts = {"vae": ENCODER, "low_res_scheduler": Part("DDPMScheduler")}

FAMILIES: Table = {
    "onnx-stable-diffusion": ("OnnxStableDiffusionPipeline", COMMON),
    "onnx-stable-diffusion-img2img": ("OnnxStableDiffusionImg2ImgPipeline", COMMON),
    "onnx-stable-diffusion-inpaint": ("OnnxStableDiffusionInpaintPipeline", COMMON),
    "onnx-stable-diffusion-upscale": ("OnnxStableDiffusionUpscalePipeline", TEXT, UPSCALE),
}
