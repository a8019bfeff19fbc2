"""Kolors: SDXL's U-Net behind ChatGLM, whose encoder and tokenizer are diffusers' own."""

from __future__ import annotations

import io
import tempfile
import weakref
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceTrainer

from support import models, unet_models
from support.parts import Part

from .registry import Parts, Table

PIECES = 24
SPECIAL_TOKENS = 9


def chatglm_tokenizer() -> Any:
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
    tokenizer = Part("diffusers.pipelines.kolors.ChatGLMTokenizer", vocab_file=str(file))()
    weakref.finalize(tokenizer, folder.cleanup)
    return tokenizer


COMMON: Parts = {
    "vae": models.vae,
    "text_encoder": Part(
        "diffusers.pipelines.kolors.ChatGLMModel",
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
    ),
    "tokenizer": chatglm_tokenizer,
    "unet": unet_models.unet_xl.but(cross_attention_dim=8, encoder_hid_dim=8, encoder_hid_dim_type="text_proj"),
    "scheduler": Part("EulerDiscreteScheduler", timestep_spacing="leading", steps_offset=1),
}

FAMILIES: Table = {
    "kolors": ("KolorsPipeline", COMMON),
    "kolors-img2img": ("KolorsImg2ImgPipeline", COMMON, unet_models.IMAGE_ENCODER),
}
