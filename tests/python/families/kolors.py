"""Kolors: SDXL's U-Net behind ChatGLM, whose encoder and tokenizer are diffusers' own."""

from __future__ import annotations

import io
import tempfile
import weakref
from pathlib import Path
from typing import Any

from diffusers import EulerDiscreteScheduler, KolorsImg2ImgPipeline, KolorsPipeline
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig
from sentencepiece import SentencePieceTrainer

from support import models, unet_models

from .registry import family

PIECES = 24
SPECIAL_TOKENS = 9


def chatglm_tokenizer() -> ChatGLMTokenizer:
    """Return a tokenizer of a few pieces. It copies its file when it is saved, so the file lives as long as it does."""
    pieces = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["a photo of a cat", "a photo of a dog"]),
        model_writer=pieces,
        vocab_size=PIECES,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "tokenizer.model"
    file.write_bytes(pieces.getvalue())
    tokenizer = ChatGLMTokenizer(str(file))
    weakref.finalize(tokenizer, folder.cleanup)
    return tokenizer


def chatglm(seed: int = 2) -> ChatGLMModel:
    config = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=PIECES + SPECIAL_TOKENS,
        hidden_size=8,
        ffn_hidden_size=8,
        kv_channels=4,
        num_attention_heads=2,
        seq_length=16,
        add_qkv_bias=True,
        multi_query_attention=True,
        original_rope=True,
    )
    return models.randomised(ChatGLMModel(config), seed)


def kolors_parts() -> dict[str, Any]:
    """Return the components that the pipelines of Kolors share."""
    settings = {"cross_attention_dim": 8, "projection_class_embeddings_input_dim": 32, "encoder_hid_dim": 8}
    return {
        "vae": models.vae(),
        "text_encoder": chatglm(),
        "tokenizer": chatglm_tokenizer(),
        "unet": unet_models.unet_xl(**settings, encoder_hid_dim_type="text_proj"),
        "scheduler": EulerDiscreteScheduler(timestep_spacing="leading", steps_offset=1),
    }


@family("kolors")
def text_to_image() -> KolorsPipeline:
    return KolorsPipeline(**kolors_parts())


@family("kolors-img2img")
def image_to_image() -> KolorsImg2ImgPipeline:
    """Build a pipeline with the encoder that image prompts need."""
    return KolorsImg2ImgPipeline(
        **kolors_parts(),
        image_encoder=unet_models.clip_vision_model_with_projection(),
        feature_extractor=unet_models.clip_image_processor(),
    )
