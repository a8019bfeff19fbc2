"""Tiny language models that see images, with their processors.

The processors have parts that transformers has only where torchvision is installed. Elsewhere their tokenizer takes
their place, which a pipeline saves and loads just as well: it is the weights that the families are there for.
"""

from __future__ import annotations

import importlib.util

import transformers

from .language_models import DECODER, QWEN_TOKENS, VOCABULARY, WIDE_HEADS, fast_tokenizer, qwen_tokenizer
from .models import SMALL
from .parts import Part
from .unet_models import SIGLIP_VISION

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


# What the vision halves of Qwen's models have in common.
QWEN_VISION = {"depth": 1, "hidden_size": 8, "intermediate_size": 16, "num_heads": 2, "patch_size": 4}

qwen2_5_vl = Part(
    "Qwen2_5_VLForConditionalGeneration",
    text_config={**DECODER, "hidden_size": 16, "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]}},
    vision_config={**QWEN_VISION, "window_size": 16, "out_hidden_size": 16, "fullatt_block_indexes": [0]},
    **TOKEN_IDS,
)

qwen2_5_vl_text_model = Part(
    "Qwen2_5_VLTextModel",
    **{**DECODER, "num_hidden_layers": 2},
    rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 0, 1]},
)

qwen2_vl = Part(
    "Qwen2VLForConditionalGeneration",
    text_config={**DECODER, "rope_parameters": {"rope_type": "default", "mrope_section": [1, 0, 1]}},
    vision_config={"depth": 1, "embed_dim": 8, "hidden_size": 8, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4},
)

# A model with a language model's head, which is its embedding.
qwen3_vl = Part(
    "Qwen3VLForConditionalGeneration",
    text_config={
        **DECODER,
        "head_dim": 8,
        "rope_scaling": {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [2, 1, 1]},
    },
    vision_config={
        **QWEN_VISION,
        "out_hidden_size": 8,
        "num_position_embeddings": 4,
        "deepstack_visual_indexes": [0],
    },
    tie_word_embeddings=True,
    **TOKEN_IDS,
)
two_layers = {"text_config": {"num_hidden_layers": 2}}
qwen3_vl_without_head = qwen3_vl.of("Qwen3VLModel", **two_layers)

mistral3 = Part(
    "Mistral3ForConditionalGeneration",
    text_config={**WIDE_HEADS, "model_type": "mistral"},
    vision_config={**SMALL, "model_type": "pixtral", "image_size": 16, "patch_size": 4},
    image_token_index=MISTRAL_TOKENS.index("[IMG]"),
    spatial_merge_size=2,
)
mistral3_without_head = mistral3.of("Mistral3Model")
ministral3_causal = Part("Ministral3ForCausalLM", **WIDE_HEADS)

gemma3 = Part(
    "Gemma3ForConditionalGeneration",
    text_config={**WIDE_HEADS, "query_pre_attn_scalar": 4},
    vision_config=SIGLIP_VISION,
    mm_tokens_per_image=4,
)
gemma4_unified = Part(
    "Gemma4UnifiedForConditionalGeneration",
    text_config={
        **WIDE_HEADS,
        "num_hidden_layers": 2,
        "global_head_dim": 4,
        "layer_types": ["sliding_attention", "full_attention"],
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 4,
    },
)
# A model with embeddings of their own for each of its layers.
gemma4 = gemma4_unified.of(
    "Gemma4ForConditionalGeneration",
    vision_config={
        **SMALL,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "patch_size": 4,
        "position_embedding_size": 16,
    },
)

# A model with three parts: one sees images, one writes tokens, and one has a codebook of image tokens.
glm_image_model = Part(
    "GlmImageForConditionalGeneration",
    text_config={**DECODER, "vision_vocab_size": 16},
    vision_config={**QWEN_VISION, "image_size": 8},
    vq_config={"embed_dim": 4, "num_embeddings": 8, "latent_channels": 8},
    image_token_id=GLM_IMAGE_TOKENS.index("<|image|>"),
    image_start_token_id=3,
    image_end_token_id=2,
)

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


def glm_image_processor() -> transformers.GlmImageProcessor:
    named = {"image_token": "<|image|>", "grid_bos_token": "<|grid|>", "grid_eos_token": "<|/grid|>"}
    tokenizer = fast_tokenizer(GLM_IMAGE_TOKENS, extra_special_tokens=named)
    return transformers.GlmImageProcessor(
        image_processor=transformers.GlmImageImageProcessor(patch_size=4), tokenizer=tokenizer
    )
