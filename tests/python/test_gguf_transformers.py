"""``from_pretrained(..., gguf_file=...)`` of transformers: stock's, whose blocks the core dequantises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from transformers import T5Config, T5EncoderModel

import warpload
from support import gguf_files
from support.compare import assert_same_model
from support.said import with_warnings
from warpload import engine
from warpload.models import gguf_arrays

NAMES = {
    "encoder.block.0.layer.0.SelfAttention.q": "enc.blk.0.attn_q",
    "encoder.block.0.layer.0.SelfAttention.k": "enc.blk.0.attn_k",
    "encoder.block.0.layer.0.SelfAttention.v": "enc.blk.0.attn_v",
    "encoder.block.0.layer.0.SelfAttention.o": "enc.blk.0.attn_o",
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias": "enc.blk.0.attn_rel_b",
    "encoder.block.0.layer.0.layer_norm": "enc.blk.0.attn_norm",
    "encoder.block.0.layer.1.DenseReluDense.wi_0": "enc.blk.0.ffn_gate",
    "encoder.block.0.layer.1.DenseReluDense.wi_1": "enc.blk.0.ffn_up",
    "encoder.block.0.layer.1.DenseReluDense.wo": "enc.blk.0.ffn_down",
    "encoder.block.0.layer.1.layer_norm": "enc.blk.0.ffn_norm",
    "encoder.final_layer_norm": "enc.output_norm",
    "shared": "token_embd",
}
SETTINGS = {
    "context_length": 64,
    "block_count": 1,
    "feed_forward_length": 512,
    "embedding_length": 256,
    "attention.key_length": 64,
    "attention.head_count": 4,
    "attention.relative_buckets_count": 32,
    "decoder_start_token_id": 0,
    "vocab_size": 96,
}


def t5_encoder(file: Path, kind: Type) -> Path:
    """Write the encoder of a small T5 as it is published, large weights of one type."""
    config = T5Config(
        d_model=256, d_kv=64, d_ff=512, num_layers=1, num_heads=4, vocab_size=96, feed_forward_proj="gated-gelu"
    )
    shapes = {name: tuple(each.shape) for name, each in T5EncoderModel(config).state_dict().items()}
    own = [name for name in shapes if "embed_tokens" not in name]  # the same tensor as shared
    published = {f"{NAMES[name.removesuffix('.weight')]}.weight": shapes[name] for name in own}
    writer = gguf.GGUFWriter(str(file), "t5encoder")
    writer.add_name("t5")
    for key, value in SETTINGS.items():
        writer.add_uint32(f"t5encoder.{key}", value)
    writer.add_float32("t5encoder.attention.layer_norm_epsilon", 1e-6)
    for name, given in gguf_files.of_shapes(published, kind).items():
        data, raw = given if isinstance(given, tuple) else (given, None)
        writer.add_tensor(name, data, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what the core is given to load from here on."""
    found: list[Any] = []
    load = engine.load
    monkeypatch.setattr(engine, "load", lambda *given: found.append(given) or load(*given))
    return found


@pytest.mark.parametrize("kind", [Type.Q8_0, Type.Q4_K, Type.BF16], ids=lambda kind: kind.name)
def test_a_text_encoder_equals_stock(kind: Type, tmp_path: Path, loads: list[Any]) -> None:
    file = t5_encoder(tmp_path / "t5.gguf", kind)

    def load() -> Any:
        return T5EncoderModel.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.bfloat16)

    stock, said_by_stock = with_warnings(load)
    with warpload.accelerated():
        ours, said = with_warnings(load)

    assert said == said_by_stock
    assert_same_model(ours, stock)
    assert bool(loads) == (kind in gguf_files.SCALES)
    assert gguf.dequantize.__module__ == "gguf.quants"  # put back


@pytest.mark.parametrize("kind", [*gguf_files.DEQUANTISED, Type.TQ1_0, Type.BF16], ids=lambda kind: kind.name)
def test_dequantise_gives_the_packages_array_whoever_does_it(kind: Type, loads: list[Any]) -> None:
    data = gguf_files.blocks(kind, 5, 512)
    expected = gguf.dequantize(data, kind)

    with gguf_arrays.dequantised_by_core():
        found = gguf.dequantize(data, kind)
        strided = gguf.dequantize(data[::2], kind)

    assert len(loads) == (kind in gguf_files.SCALES)
    assert (found.dtype, found.shape, found.flags.writeable) == (expected.dtype, expected.shape, True)
    assert found.tobytes() == expected.tobytes()  # some are NaN
    assert strided.tobytes() == expected[::2].tobytes()
