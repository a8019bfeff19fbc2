"""Tiny language models that pipelines encode prompts with, each with the class of tokenizer of its published ones."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BertTokenizer,
    ByT5Tokenizer,
    GemmaTokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
)

from .models import SMALL, t5_encoder
from .parts import Part

VOCABULARY = 48
BYTE_VOCABULARY = 384
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


DECODER: dict[str, Any] = {
    **SMALL,
    "vocab_size": VOCABULARY,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""What the configurations of decoder-only models have in common: two heads that share one key."""

WIDE_HEADS = {**DECODER, "head_dim": 4}
GEMMA_HALF = {**WIDE_HEADS, "query_pre_attn_scalar": 4}

qwen3 = Part("Qwen3Model", **WIDE_HEADS)
# A model whose head is its embedding, as in the published small ones.
qwen3_causal = Part("Qwen3ForCausalLM", **WIDE_HEADS, tie_word_embeddings=True)
llama = Part("LlamaModel", **DECODER)
llama_causal = Part("LlamaForCausalLM", **DECODER)
gemma = Part("GemmaModel", **WIDE_HEADS)
gemma2 = Part("Gemma2Model", **GEMMA_HALF)
glm = Part("GlmModel", **WIDE_HEADS)
smollm3 = Part("SmolLM3ForCausalLM", **DECODER)
bert = Part("BertModel", **SMALL, vocab_size=VOCABULARY, max_position_embeddings=16)
byt5_encoder = t5_encoder.but(vocab_size=BYTE_VOCABULARY, num_layers=1)

# The encoder half of a T5Gemma with the configuration of the whole, as it is published: diffusers' pipelines read the
# half's configuration out of the whole's.
T5GEMMA = Part(
    "T5GemmaConfig",
    encoder={**GEMMA_HALF, "is_decoder": False},
    decoder={**GEMMA_HALF, "is_decoder": True},
    vocab_size=VOCABULARY,
    is_encoder_decoder=False,
)
t5gemma_encoder = Part(
    "transformers.models.t5gemma.modeling_t5gemma.T5GemmaEncoder", config=lambda: T5GEMMA().encoder
).then(lambda model: setattr(model, "config", T5GEMMA()))


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Return the tokenizer of Qwen2, Qwen2.5-VL and Qwen3: bytes of lower-case text, a few pairs, the chat's tokens."""
    merges = [("a", "b"), ("c", "d"), ("Ġ", "a")]
    tokens = [*QWEN_TOKENS, *ascii_lowercase, "Ġ", "Ċ", *("".join(pair) for pair in merges)]
    tokenizer = Qwen2Tokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=merges, model_max_length=64
    )
    tokenizer.add_special_tokens({"additional_special_tokens": QWEN_TOKENS[1:]})
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def llama_tokenizer() -> LlamaTokenizer:
    merges = [("a", "b"), ("▁", "a")]
    tokens = ["<unk>", "<s>", "</s>", *ascii_lowercase, "▁", *("".join(pair) for pair in merges)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return LlamaTokenizer(vocab=vocabulary, merges=merges, pad_token="</s>", model_max_length=64)


def gemma_tokenizer() -> GemmaTokenizer:
    merges = [("a", "b"), ("▁", "a")]
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokens = [*special, *ascii_lowercase, "▁", *("".join(pair) for pair in merges)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return GemmaTokenizer(vocab=vocabulary, merges=merges, padding_side="right", model_max_length=64)


def bert_tokenizer() -> BertTokenizer:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ascii_lowercase, "##a", "##b"]
    return BertTokenizer(vocab={token: number for number, token in enumerate(tokens)}, model_max_length=16)


def byt5_tokenizer() -> ByT5Tokenizer:
    """Return a tokenizer that is written in Python and has no file of its vocabulary: its tokens are the bytes."""
    return ByT5Tokenizer(model_max_length=64)


def fast_tokenizer(
    special_tokens: tuple[str, ...] = ("<pad>", "<bos>", "<eos>"), **options: object
) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer without a class of its own, such as Llama 3's, Mistral's and GLM's."""
    merges = [("a", "b"), ("Ġ", "a")]
    tokens = [*special_tokens, *ascii_lowercase, "Ġ", "Ċ", *("".join(pair) for pair in merges)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    pad, bos, eos = special_tokens[:3]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, bos_token=bos, eos_token=eos, model_max_length=64, **options
    )
