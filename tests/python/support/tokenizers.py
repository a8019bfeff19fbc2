"""Tokenizers made on the spot, of the classes that published pipelines use."""

from __future__ import annotations

from itertools import product
from string import ascii_lowercase

from transformers import CLIPTokenizer, T5Tokenizer

CLIP_VOCABULARY = 60
T5_VOCABULARY = 104


def clip_tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """Return a CLIP tokenizer of 60 tokens: letters, letters that end a word, a few pairs and the special tokens."""
    merges = [(first, f"{second}</w>") for first, second in product("ab", "cde")]
    tokens = [*ascii_lowercase, *(f"{letter}</w>" for letter in ascii_lowercase), *("".join(pair) for pair in merges)]
    vocabulary = {token: number for number, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=77)


def padded_clip_tokenizer() -> CLIPTokenizer:
    """Return the tokenizer of second encoders, which pads with a letter."""
    return clip_tokenizer(pad_token="a")


def t5_tokenizer() -> T5Tokenizer:
    """Return a T5 tokenizer of 104 tokens: a space, the special tokens and the sentinels."""
    return T5Tokenizer(model_max_length=77)
