"""Tiny language models that pipelines encode prompts with, each with the class of tokenizer of its published ones."""

from __future__ import annotations

from string import ascii_lowercase

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    ByT5Tokenizer,
    Gemma2Config,
    Gemma2Model,
    GemmaConfig,
    GemmaModel,
    GemmaTokenizer,
    GlmConfig,
    GlmModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    LlamaTokenizer,
    MistralConfig,
    MistralModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Model,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5GemmaConfig,
    T5GemmaModuleConfig,
)
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

from .models import randomised

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


def decoder_options(hidden_size: int = 8, layers: int = 1) -> dict[str, object]:
    """Return what the configurations of decoder-only models have in common: two heads that share one key."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden_size,
        "intermediate_size": 16,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def qwen2(seed: int = 101, hidden_size: int = 8) -> Qwen2Model:
    return randomised(Qwen2Model(Qwen2Config(**decoder_options(hidden_size))), seed)


def qwen2_causal(seed: int = 102, hidden_size: int = 8) -> Qwen2ForCausalLM:
    return randomised(Qwen2ForCausalLM(Qwen2Config(**decoder_options(hidden_size))), seed)


def qwen3(seed: int = 103, hidden_size: int = 8, layers: int = 1) -> Qwen3Model:
    return randomised(Qwen3Model(Qwen3Config(head_dim=4, **decoder_options(hidden_size, layers))), seed)


def qwen3_causal(seed: int = 104, hidden_size: int = 8, layers: int = 1) -> Qwen3ForCausalLM:
    """Return a model whose head is its embedding, as in the published small ones."""
    config = Qwen3Config(head_dim=4, tie_word_embeddings=True, **decoder_options(hidden_size, layers))
    return randomised(Qwen3ForCausalLM(config), seed)


def llama(seed: int = 105, hidden_size: int = 8, layers: int = 1) -> LlamaModel:
    return randomised(LlamaModel(LlamaConfig(**decoder_options(hidden_size, layers))), seed)


def llama_causal(seed: int = 106, hidden_size: int = 8, layers: int = 1) -> LlamaForCausalLM:
    return randomised(LlamaForCausalLM(LlamaConfig(**decoder_options(hidden_size, layers))), seed)


def mistral(seed: int = 107, hidden_size: int = 8) -> MistralModel:
    return randomised(MistralModel(MistralConfig(head_dim=4, **decoder_options(hidden_size))), seed)


def gemma(seed: int = 108, hidden_size: int = 8) -> GemmaModel:
    return randomised(GemmaModel(GemmaConfig(head_dim=4, **decoder_options(hidden_size))), seed)


def gemma2(seed: int = 109, hidden_size: int = 8, layers: int = 1) -> Gemma2Model:
    options = decoder_options(hidden_size, layers)
    return randomised(Gemma2Model(Gemma2Config(head_dim=4, query_pre_attn_scalar=4, **options)), seed)


def glm(seed: int = 110, hidden_size: int = 8) -> GlmModel:
    return randomised(GlmModel(GlmConfig(head_dim=4, **decoder_options(hidden_size))), seed)


def smollm3(seed: int = 111, hidden_size: int = 8, layers: int = 1) -> SmolLM3ForCausalLM:
    return randomised(SmolLM3ForCausalLM(SmolLM3Config(**decoder_options(hidden_size, layers))), seed)


def t5gemma_encoder(seed: int = 112, hidden_size: int = 8) -> T5GemmaEncoder:
    """Return the encoder half of a T5Gemma with the configuration of the whole, as it is published.

    Diffusers' pipelines read the half's configuration out of the whole's.
    """
    options = decoder_options(hidden_size)
    halves = {
        name: T5GemmaModuleConfig(head_dim=4, query_pre_attn_scalar=4, is_decoder=name == "decoder", **options)
        for name in ("encoder", "decoder")
    }
    config = T5GemmaConfig(**halves, vocab_size=VOCABULARY, is_encoder_decoder=False)
    model = randomised(T5GemmaEncoder(config.encoder), seed)
    model.config = config
    return model


def bert(seed: int = 113, hidden_size: int = 8) -> BertModel:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden_size,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    return randomised(BertModel(config), seed)


def byt5_encoder(seed: int = 114, hidden_size: int = 8) -> T5EncoderModel:
    config = T5Config(
        vocab_size=BYTE_VOCABULARY,
        d_model=hidden_size,
        d_kv=4,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return randomised(T5EncoderModel(config), seed)


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
