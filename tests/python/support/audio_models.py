"""Tiny models, tokenizers and feature extractors that several families of audio pipelines share."""

from __future__ import annotations

from typing import Any

from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapTextConfig,
    ClapTextModelWithProjection,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5GemmaConfig,
    T5GemmaEncoderModel,
    T5GemmaModuleConfig,
)

from .language_models import decoder_options
from .models import randomised

ROBERTA_VOCABULARY = 32


def roberta_tokenizer() -> RobertaTokenizer:
    """Return a byte-level tokenizer of the special tokens, the letters and a space."""
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    tokens = (*special, "Ġ", *"abcdefghijklmnopqrstuvwxyz")
    return RobertaTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=[], model_max_length=77
    )


def clap_feature_extractor() -> ClapFeatureExtractor:
    return ClapFeatureExtractor(feature_size=8, sampling_rate=32000, hop_length=80, fft_window_size=256, max_length_s=1)


def clap_text_settings() -> dict[str, Any]:
    return {
        "vocab_size": ROBERTA_VOCABULARY,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 16,
        "projection_dim": 8,
    }


def clap_model(seed: int = 60) -> ClapModel:
    """Return a model whose audio branch has batch norms: buffers of floats, and 0-dim integers."""
    audio = {
        "window_size": 2,
        "num_mel_bins": 8,
        "spec_size": 16,
        "patch_size": 2,
        "patch_stride": (2, 2),
        "hidden_size": 8,
        "projection_dim": 8,
        "depths": (1, 1),
        "num_attention_heads": (1, 2),
        "patch_embeds_hidden_size": 4,
        "num_hidden_layers": 2,
        "mlp_ratio": 1.0,
    }
    config = ClapConfig(text_config=clap_text_settings(), audio_config=audio, projection_dim=8)
    return randomised(ClapModel(config), seed)


def clap_text_model(seed: int = 61) -> ClapTextModelWithProjection:
    return randomised(ClapTextModelWithProjection(ClapTextConfig(**clap_text_settings())), seed)


def vocoder(seed: int = 62) -> SpeechT5HifiGan:
    config = SpeechT5HifiGanConfig(
        model_in_dim=8,
        upsample_initial_channel=8,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        normalize_before=False,
    )
    return randomised(SpeechT5HifiGan(config), seed)


def t5gemma_encoder_model(seed: int = 63) -> T5GemmaEncoderModel:
    halves = {
        name: T5GemmaModuleConfig(head_dim=4, query_pre_attn_scalar=4, **decoder_options())
        for name in ("encoder", "decoder")
    }
    return randomised(T5GemmaEncoderModel(T5GemmaConfig(**halves, is_encoder_decoder=False)), seed)
