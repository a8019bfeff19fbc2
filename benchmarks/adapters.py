"""LoRAs into Stable Diffusion XL and Flux, by stock and through the core: seconds of the wall and of the processors.

    python benchmarks/adapters.py ~/.cache/warpload/demo --json adapters.json

The pipeline is loaded by stock, so that both find the same; each takes its turn, load by load. Weights are random,
names and shapes are the published ones; Flux has all of its blocks, and narrow ones. OMP_NUM_THREADS=1 tells more where
other programs want the processors too.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import safetensors.torch
import torch

import warpload

TEXT = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
KOHYA = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
Seconds = dict[str, dict[str, list[tuple[float, float]]]]


def layers(model: torch.nn.Module, label: str) -> dict[str, torch.Size]:
    """Return the linear layers that published LoRAs have, with the shapes of their weights."""
    found = {}
    for name, module in model.named_modules():
        in_unet = "transformer_blocks" in name or name.endswith(("proj_in", "proj_out"))
        if isinstance(module, torch.nn.Linear) and (name.endswith(TEXT) if label.startswith("text") else in_unet):
            found[name] = module.weight.shape
    return found


def lora(models: dict[str, torch.nn.Module], rank: int, spelling: str, seed: int) -> dict[str, torch.Tensor]:
    """Return a LoRA for all linear layers of the models, in float16."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for label, model in models.items():
        for name, (outputs, inputs) in layers(model, label).items():
            down = torch.randn(rank, inputs, generator=generator).mul_(0.02).half()
            up = torch.randn(outputs, rank, generator=generator).mul_(0.02).half()
            if spelling == "kohya":
                in_file = name if label == "unet" or name.startswith("text_model") else f"text_model.{name}"
                stem = f"{KOHYA[label]}_{in_file.replace('.', '_')}"
                tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
                tensors[f"{stem}.alpha"] = torch.tensor(rank / 2).half()
            else:
                tensors |= {f"{label}.{name}.lora_A.weight": down, f"{label}.{name}.lora_B.weight": up}
    return tensors


def timed(action: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds that an action takes, of the wall and of the processors."""
    gc.collect()
    processor, wall = time.process_time(), time.perf_counter()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def by(who: str) -> contextlib.AbstractContextManager[None]:
    """Return the block in which adapters are loaded by stock or through the core."""
    return warpload.accelerated() if who == "warpload" else contextlib.nullcontext()


def loads(pipeline: Any, file: Path, runs: int) -> Seconds:
    """Load a LoRA and unload it, in turn by stock and through the core."""
    found: Seconds = {}
    for _ in range(runs + 1):  # the first of each imports what the others have
        for who in ("stock", "warpload"):
            with by(who):
                taken = timed(lambda: pipeline.load_lora_weights(file, adapter_name="own"))
            found.setdefault("load", {}).setdefault(who, []).append(taken)
            pipeline.unload_lora_weights()
    return {what: {who: each[1:] for who, each in times.items()} for what, times in found.items()}


def swaps(pipeline: Any, files: list[Path]) -> Seconds:
    """Swap LoRAs: the next is loaded and set, the one before is deleted."""
    found: Seconds = {"swap": {}}
    for who in ("stock", "warpload"):
        for turn, file in enumerate(files):

            def swap(file: Path = file, turn: int = turn) -> None:
                pipeline.load_lora_weights(file, adapter_name=f"own{turn}")
                pipeline.set_adapters([f"own{turn}"], [0.8])
                if turn:
                    pipeline.delete_adapters(f"own{turn - 1}")

            with by(who):
                taken = timed(swap)
            if turn:
                found["swap"].setdefault(who, []).append(taken)
        pipeline.unload_lora_weights()
    return found


def unfuses(folder: Path, file: Path) -> Seconds:
    """Fuse and unfuse a U-Net by stock and exactly; says how far stock's weights are from those of the file."""
    found: Seconds = {"unfuse": {}}
    genuine = warpload.UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float16).state_dict()
    for who in ("stock", "warpload"):
        unet = warpload.UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float16)
        unet.load_lora_adapter(file, prefix="unet")
        unet.fuse_lora()
        found["unfuse"][who] = [timed(unet.unfuse_lora if who == "stock" else lambda u=unet: warpload.unfuse_lora(u))]
        own = {name.replace(".base_layer", ""): each for name, each in unet.state_dict().items()}
        wrong = sum(not torch.equal(own[name], each) for name, each in genuine.items())
        print(f"unfused by {who}: {wrong} of {len(genuine)} tensors are not what was loaded")
    return found


def flux() -> Any:
    """Return a Flux pipeline without encoders, whose transformer has all blocks and is narrow."""
    transformer = diffusers.FluxTransformer2DModel(
        attention_head_dim=32, num_attention_heads=2, joint_attention_dim=64, pooled_projection_dim=64,
        axes_dims_rope=(8, 12, 12),
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return diffusers.FluxPipeline(scheduler, None, None, None, None, None, transformer.half())


def show(name: str, found: Seconds) -> None:
    """Print the medians."""
    for what, times in found.items():
        for who, each in times.items():
            wall, processor = (statistics.median(column) for column in zip(*each, strict=True))
            print(f"{name:<28} {what:<7} {who:<9} {wall:7.2f} s, {processor:6.2f} s of processors, {len(each)} runs")


def main() -> None:
    """Measure, print, and keep every run where a file for it is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a Stable Diffusion XL pipeline in diffusers' layout")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--swaps", type=int, default=5)
    parser.add_argument("--unfuse", action="store_true", help="fuse and unfuse as well, which takes minutes on a CPU")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    pipeline = diffusers.DiffusionPipeline.from_pretrained(given.folder, dtype=torch.float16)
    models = {label: getattr(pipeline, label) for label in KOHYA}
    all_found: dict[str, Seconds] = {}

    def note(name: str, found: Seconds) -> None:
        all_found[name] = found
        show(name, found)

    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "lora.safetensors")
        for rank, spelling in ((32, "kohya"), (32, "peft"), (128, "kohya")):
            safetensors.torch.save_file(lora(models, rank, spelling, 0), file)
            note(f"SDXL, {spelling}, rank {rank}", loads(pipeline, file, given.runs))
        files = [Path(place, f"{number}.safetensors") for number in range(given.swaps + 1)]
        for number, each in enumerate(files):
            safetensors.torch.save_file(lora({"unet": pipeline.unet}, 32, "kohya", number), each)
        note("SDXL's U-Net, kohya, rank 32", swaps(pipeline, files))
        if given.unfuse:
            safetensors.torch.save_file(lora({"unet": pipeline.unet}, 32, "peft", 0), file)
            note("SDXL's U-Net, peft, rank 32", unfuses(given.folder, file))
        pipeline = flux()
        safetensors.torch.save_file(lora({"transformer": pipeline.transformer}, 16, "peft", 0), file)
        note("Flux, narrow, peft, rank 16", loads(pipeline, file, given.runs))
    if given.json:
        given.json.write_text(json.dumps(all_found, indent=1))


if __name__ == "__main__":
    main()
