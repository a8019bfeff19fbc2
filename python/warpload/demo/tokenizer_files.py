"""A CLIP tokenizer with an invented vocabulary, in the files that published repositories have."""

from __future__ import annotations

import json
from itertools import islice, product
from pathlib import Path
from typing import Any

_START = "<|startoftext|>"
_END = "<|endoftext|>"
_WORD_END = "</w>"


def write_tokenizer(folder: Path, vocabulary_size: int, pad_token: str) -> None:
    """Write vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json.

    Args:
        folder: where to write; made when missing.
        vocabulary_size: number of tokens, as in the text encoder's configuration; at least 514 (every byte, alone
            and at the end of a word, and the two special tokens).
        pad_token: SDXL pads with the end token in its first tokenizer and with "!" in its second.

    Raises:
        ValueError: the vocabulary size is out of range.
    """
    letters = _byte_letters()
    base = [*letters, *(letter + _WORD_END for letter in letters)]
    merge_count = vocabulary_size - len(base) - 2
    if not 0 <= merge_count <= len(letters) ** 2:
        raise ValueError(f"a vocabulary of {vocabulary_size} tokens is not between {len(base) + 2} and 66050")
    merges = list(islice(product(letters, (letter + _WORD_END for letter in letters)), merge_count))
    tokens = [*base, *(first + second for first, second in merges), _START, _END]

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(pad_token))
    _write_json(folder / "special_tokens_map.json", _special_tokens(pad_token))


def _byte_letters() -> list[str]:
    """Return the printable letter that byte-level tokenizers write for each of the 256 bytes, in CLIP's order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [*(chr(byte) for byte in printable), *(chr(256 + position) for position in range(len(hidden)))]


def _added_token(content: str) -> dict[str, Any]:
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


def _special_tokens(pad_token: str) -> dict[str, Any]:
    return {
        "bos_token": _added_token(_START),
        "eos_token": _added_token(_END),
        "pad_token": pad_token,
        "unk_token": _added_token(_END),
    }


def _tokenizer_config(pad_token: str) -> dict[str, Any]:
    def marked(content: str) -> dict[str, Any]:
        return {"__type": "AddedToken", **_added_token(content)}

    return {
        "add_prefix_space": False,
        "bos_token": marked(_START),
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "eos_token": marked(_END),
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": pad_token,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": marked(_END),
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
