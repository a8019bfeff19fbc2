"""Tiny language models that see images, with their processors.

The processors have parts that transformers has only where torchvision is installed. Elsewhere their tokenizer takes
their place, which a pipeline saves and loads just as well: it is the weights that the families are there for.
"""

from __future__ import annotations

import importlib.util

import transformers
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Mistral3Model,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
)

from .language_models import QWEN_TOKENS, decoder_options, fast_tokenizer, qwen_tokenizer
from .models import randomised

TOKEN_IDS = {
    name: QWEN_TOKENS.index(token)
    for name, token in {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }.items()
}
MISTRAL_TOKENS = ("<pad>", "<s>", "</s>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]")
GLM_IMAGE_TOKENS = ("<|endoftext|>", "<sop>", "<eop>", "<|image|>", "<|grid|>", "<|/grid|>")


def qwen2_5_vl(seed: int = 121, hidden_size: int = 16) -> Qwen2_5_VLForConditionalGeneration:
    vision = {
        "depth": 1,
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_heads": 2,
        "patch_size": 4,
        "window_size": 16,
        "out_hidden_size": hidden_size,
        "fullatt_block_indexes": [0],
    }
    rotary = {"type": "mrope", "mrope_section": [2, 1, 1]}
    text = {**decoder_options(hidden_size), "rope_scaling": rotary}
    return randomised(
        Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **TOKEN_IDS)), seed
    )


def qwen3_vl_config(hidden_size: int, layers: int) -> Qwen3VLConfig:
    vision = {
        "depth": 1,
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_heads": 2,
        "patch_size": 4,
        "out_hidden_size": hidden_size,
        "num_position_embeddings": 4,
        "deepstack_visual_indexes": [0],
    }
    rotary = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [2, 1, 1]}
    text = {**decoder_options(hidden_size, layers), "head_dim": 8, "rope_scaling": rotary}
    return Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **TOKEN_IDS)


def qwen3_vl(seed: int = 122, hidden_size: int = 8, layers: int = 1) -> Qwen3VLForConditionalGeneration:
    """Return a model with a language model's head, which is its embedding."""
    return randomised(Qwen3VLForConditionalGeneration(qwen3_vl_config(hidden_size, layers)), seed)


def qwen3_vl_without_head(seed: int = 123, hidden_size: int = 8, layers: int = 1) -> Qwen3VLModel:
    return randomised(Qwen3VLModel(qwen3_vl_config(hidden_size, layers)), seed)


def mistral3_config(hidden_size: int, layers: int) -> Mistral3Config:
    vision = {
        "model_type": "pixtral",
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 4,
    }
    text = {"model_type": "mistral", "head_dim": 4, **decoder_options(hidden_size, layers)}
    return Mistral3Config(
        text_config=text, vision_config=vision, image_token_index=MISTRAL_TOKENS.index("[IMG]"), spatial_merge_size=2
    )


def mistral3(seed: int = 124, hidden_size: int = 8, layers: int = 1) -> Mistral3ForConditionalGeneration:
    return randomised(Mistral3ForConditionalGeneration(mistral3_config(hidden_size, layers)), seed)


def mistral3_without_head(seed: int = 125, hidden_size: int = 8, layers: int = 1) -> Mistral3Model:
    return randomised(Mistral3Model(mistral3_config(hidden_size, layers)), seed)


def ministral3_causal(seed: int = 126, hidden_size: int = 8) -> transformers.Ministral3ForCausalLM:
    config = transformers.Ministral3Config(head_dim=4, **decoder_options(hidden_size))
    return randomised(transformers.Ministral3ForCausalLM(config), seed)


HAS_TORCHVISION = importlib.util.find_spec("torchvision") is not None


def qwen2_vl_processor() -> object:
    return qwen_processor("Qwen2VLProcessor", "Qwen2VLVideoProcessor")


def qwen2_5_vl_processor() -> object:
    return qwen_processor("Qwen2_5_VLProcessor", "Qwen2VLVideoProcessor")


def qwen3_vl_processor() -> object:
    return qwen_processor("Qwen3VLProcessor", "Qwen3VLVideoProcessor")


def qwen_processor(processor: str, video_processor: str) -> object:
    tokenizer = qwen_tokenizer()
    if not HAS_TORCHVISION:
        return tokenizer
    return getattr(transformers, processor)(
        image_processor=transformers.Qwen2VLImageProcessor(patch_size=4, min_pixels=64, max_pixels=256),
        tokenizer=tokenizer,
        video_processor=getattr(transformers, video_processor)(patch_size=4),
        chat_template=tokenizer.chat_template,
    )


def pixtral_processor() -> object:
    tokenizer = fast_tokenizer(MISTRAL_TOKENS)
    if not HAS_TORCHVISION:
        return tokenizer
    return transformers.PixtralProcessor(
        image_processor=transformers.PixtralImageProcessor(size={"longest_edge": 16}, patch_size=4),
        tokenizer=tokenizer,
        patch_size=4,
        spatial_merge_size=2,
    )


def glm_image_model(seed: int = 127) -> transformers.GlmImageForConditionalGeneration:
    """Return a model with three parts: one sees images, one writes tokens, and one has a codebook of image tokens."""
    text = {**decoder_options(8), "vision_vocab_size": 16, "eos_token_id": 2}
    vision = {
        "depth": 1,
        "hidden_size": 8,
        "num_heads": 2,
        "image_size": 8,
        "patch_size": 4,
        "intermediate_size": 16,
    }
    codebook = {"embed_dim": 4, "num_embeddings": 8, "latent_channels": 8}
    config = transformers.GlmImageConfig(
        text_config=text,
        vision_config=vision,
        vq_config=codebook,
        image_token_id=GLM_IMAGE_TOKENS.index("<|image|>"),
        image_start_token_id=3,
        image_end_token_id=2,
    )
    return randomised(transformers.GlmImageForConditionalGeneration(config), seed)


def glm_image_processor() -> transformers.GlmImageProcessor:
    named = {"image_token": "<|image|>", "grid_bos_token": "<|grid|>", "grid_eos_token": "<|/grid|>"}
    tokenizer = fast_tokenizer(GLM_IMAGE_TOKENS, extra_special_tokens=named)
    return transformers.GlmImageProcessor(
        image_processor=transformers.GlmImageImageProcessor(patch_size=4), tokenizer=tokenizer
    )
