"""Quantised Flux transformers and T5 encoders, by stock and through the core: seconds, and the process's own memory.

    python benchmarks/quantised.py FOLDER --json quantised.json

Makes the checkpoints in the folder where they are not there (some 4 GB): 6 and 12 blocks of half of Flux's width, an
encoder of 12 blocks, random weights. Each load runs in a process of its own, in turn by stock and by the core; of the
memory the peak while it loads counts, without what is mapped of files, over what there was before.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

KINDS = ("torchao-int8", "quanto-int8", "bitsandbytes-int8", "bitsandbytes-nf4")
FLUX: dict[str, Any] = {"num_layers": 6, "num_single_layers": 12, "num_attention_heads": 12, "guidance_embeds": True}
T5: dict[str, Any] = {"d_model": 2048, "d_ff": 5120, "d_kv": 64, "num_heads": 32, "num_layers": 12}


def is_text(kind: str) -> bool:
    """Tell whether the kind is of the text encoder: diffusers' bitsandbytes wants a GPU, transformers' does not."""
    return kind.startswith("bitsandbytes")


def config_of(kind: str) -> Any:
    """Return the library's configuration of a kind."""
    if kind == "torchao-int8":
        from diffusers import TorchAoConfig
        from torchao.quantization import Int8WeightOnlyConfig

        return TorchAoConfig(Int8WeightOnlyConfig(version=2))
    if kind == "quanto-int8":
        from diffusers import QuantoConfig

        return QuantoConfig("int8")
    from transformers import BitsAndBytesConfig

    if kind == "bitsandbytes-int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")


def model_class(kind: str) -> Any:
    """Return stock's class, which the core loads after ``warpload.install()``."""
    import diffusers
    import transformers

    return transformers.T5EncoderModel if is_text(kind) else diffusers.FluxTransformer2DModel


def prepare(folder: Path, kind: str) -> None:
    """Write the plain model and the quantised one where they are not there."""
    import torch
    import transformers

    cls = model_class(kind)
    plain = folder / cls.__name__
    if not plain.is_dir():
        torch.set_default_dtype(torch.bfloat16)
        model = cls(transformers.T5Config(**T5)) if is_text(kind) else cls(**FLUX)
        torch.set_default_dtype(torch.float32)
        model.save_pretrained(plain)
    if not (folder / kind).is_dir():
        model = cls.from_pretrained(plain, quantization_config=config_of(kind), dtype=torch.bfloat16)
        model.save_pretrained(folder / kind)


def load(folder: Path, kind: str, who: str, quantises: bool) -> dict[str, float]:
    """Load once in this process; return the seconds and the bytes."""
    import os

    import torch

    import warpload
    from warpload.measuring.anonymous_memory import Sampler, of_process

    cls, config = model_class(kind), config_of(kind) if quantises else None
    source = folder / (cls.__name__ if quantises else kind)
    if who == "warpload":
        warpload.install()
    before = of_process(os.getpid())
    arguments = {"dtype": torch.bfloat16, **({} if config is None else {"quantization_config": config})}
    with Sampler(os.getpid()) as sampler:
        begun, processor = time.perf_counter(), time.process_time()
        model = cls.from_pretrained(source, **arguments)
        seconds, processor = time.perf_counter() - begun, time.process_time() - processor
        peak = sampler.peak(time.monotonic_ns())
    del model
    return {"seconds": seconds, "processor": processor, "gb": max(peak - before, 0) / 1e9}


def main() -> None:
    """Measure, print, and keep every run where a file for it is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        kind, who, quantises = given.one
        print(json.dumps(load(given.folder, kind, who, quantises == "quantise")))
        return
    found: dict[str, list[dict[str, float]]] = {}
    for kind in KINDS:
        prepare(given.folder, kind)
        for how in ("saved", "quantise"):
            for _ in range(given.runs):
                for who in ("stock", "warpload"):
                    command = [sys.executable, __file__, str(given.folder), "--one", kind, who, how]
                    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                    found.setdefault(f"{kind} {how} {who}", []).append(json.loads(said.splitlines()[-1]))
    for name, runs in found.items():
        medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(name, *(f"{key} {value:.2f}" for key, value in medians.items()))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
