"""``from_single_file`` of whole checkpoints, by stock and through the core: seconds and memory.

    python benchmarks/single_files.py ~/.cache/warpload/demo --json single_files.json

SDXL is that pipeline in the layout of its original checkpoint; Flux has 6 and 12 blocks of the published width, with
random values. Each load has a process of its own, by stock and through the core in turn, with the files in the page
cache. Seconds are of the load alone, imports left out, and with every page of the weights touched after it. Memory is
what is no page cache, watched from outside in a run of its own: the most of the load, above what was there before it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "python"))

DTYPES = (None, "float16", "bfloat16")
# What a load may take of memory.
MOST_BYTES = 16 << 30


# -- one load, in a process of its own --------------------------------------------------------------------------------


def load(who: str, kind: str, file: str, config: str, dtype: str) -> None:
    """Load once; says when it begins, and what it took."""
    import diffusers
    import torch

    import warpload
    from warpload.measuring.digest import read_pages

    library: Any = diffusers if who == "stock" else warpload
    diffusers.utils.logging.disable_progress_bar()
    cls = getattr(library, kind)
    getattr(diffusers, kind)  # is imported
    arguments = {"config": config, "dtype": None if dtype == "None" else getattr(torch, dtype)}
    print("ready", flush=True)
    sys.stdin.readline()
    processor, wall = time.process_time(), time.perf_counter()
    loaded = cls.from_single_file(file, **arguments)
    found = {"wall": time.perf_counter() - wall, "processors": time.process_time() - processor}
    models = [loaded] if isinstance(loaded, torch.nn.Module) else loaded.components.values()
    tensors = [each for model in models if isinstance(model, torch.nn.Module) for each in model.state_dict().values()]
    found["bytes"] = sum(each.nbytes for each in tensors)
    print(json.dumps(found), flush=True)
    sys.stdin.readline()
    read_pages(tensors)
    print(json.dumps({"touched": time.perf_counter() - wall}), flush=True)


def in_a_process(reserve: Any, *arguments: str, watched: bool = False) -> dict[str, float]:
    """Load in a fresh process; return what it took, or with ``watched`` the most memory of its own that it had.

    Args:
        reserve: keeps memory in use for the load, see ``MemoryReserve``.
        arguments: of ``load``.
        watched: whether its memory is looked at.
    """
    from warpload.measuring.anonymous_memory import Sampler, of_process

    command = [sys.executable, str(Path(__file__).resolve()), "--load", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdin is not None
    assert process.stdout is not None

    def answer(to: str) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        if to:
            process.stdin.write(to)
            process.stdin.flush()
        return process.stdout.readline()

    answer("")
    reserve.refill(MOST_BYTES)
    if watched:
        before = of_process(process.pid)
        with Sampler(process.pid) as sampler:
            found = json.loads(answer("go\n"))
            found = {"bytes": found["bytes"], "memory": sampler.peak(time.monotonic_ns()) - before}
    else:
        found = json.loads(answer("go\n"))
        found |= json.loads(answer("touch\n"))
    process.communicate("\n")
    return found


# -- the files --------------------------------------------------------------------------------------------------------


def write_sdxl(folder: Path, file: Path) -> None:
    """Write an SDXL pipeline in diffusers' layout to one file in its original one."""
    from safetensors.torch import load_file, save_file

    from support import original_layouts as original

    def tensors(name: str) -> dict[str, Any]:
        return {key: each for path in (folder / name).glob("*.safetensors") for key, each in load_file(path).items()}

    whole = original.unet(tensors("unet")) | original.vae(tensors("vae"))
    whole |= original.clip(tensors("text_encoder"), "conditioner.embedders.0.transformer.")
    whole |= original.open_clip(tensors("text_encoder_2"), "conditioner.embedders.1.model.")
    save_file({key: each.contiguous() for key, each in whole.items()}, file)


def write_flux(config: Path, file: Path) -> None:
    """Write a Flux transformer of 6 and 12 blocks, and its configuration."""
    import diffusers
    import torch
    from accelerate import init_empty_weights
    from safetensors.torch import save_file

    from support import original_layouts as original

    with init_empty_weights():
        model = diffusers.FluxTransformer2DModel(num_layers=6, num_single_layers=12, guidance_embeds=True)
    model.save_config(config)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(1 << 24, generator=generator).mul_(0.02).bfloat16()

    def values(shape: torch.Size) -> torch.Tensor:
        return drawn.repeat(shape.numel() // drawn.numel() + 1)[: shape.numel()].view(shape)

    tensors = original.flux({key: values(each.shape) for key, each in model.state_dict().items()})
    save_file({key: each.contiguous() for key, each in tensors.items()}, file)


# -- all of them ------------------------------------------------------------------------------------------------------


def measure(reserve: Any, name: str, kind: str, file: Path, config: Path, runs: int) -> dict[str, Any]:
    """Load a file in each dtype, by both in turn; prints and returns what it took."""
    found: dict[str, Any] = {}
    for dtype in DTYPES:
        rows: dict[str, list[dict[str, float]]] = {"stock": [], "warpload": []}
        for _ in range(runs):
            for who, row in rows.items():
                row.append(in_a_process(reserve, who, kind, str(file), str(config), str(dtype)))
        for who, row in rows.items():
            watched = in_a_process(reserve, who, kind, str(file), str(config), str(dtype), watched=True)
            medians = {what: statistics.median(each[what] for each in row) for what in row[0]}
            found[f"{dtype}, {who}"] = {"runs": row, "memory": watched["memory"], "bytes": watched["bytes"]}
            print(
                f"{name:<6} dtype={dtype!s:<9} {who:<9} {medians['wall']:6.2f} s, {medians['processors']:6.2f} s of"
                f" processors, touched {medians['touched']:6.2f} s; {watched['memory'] / 1e9:6.2f} GB of memory for"
                f" {watched['bytes'] / 1e9:6.2f} GB of weights",
                flush=True,
            )
    return found


def main() -> None:
    """Measure, print, and keep every run where a file for it is named."""
    if sys.argv[1:2] == ["--load"]:
        load(*sys.argv[2:])
        return
    from warpload.measuring.memory_reserve import MemoryReserve

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a Stable Diffusion XL pipeline in diffusers' layout, in float16")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--place", type=Path, help="where the files are written, and left; else in a temporary folder")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = given.place or Path(temporary)
        sdxl, flux = place / "sdxl.safetensors", place / "flux.safetensors"
        if not sdxl.exists():
            write_sdxl(given.folder, sdxl)
        if not flux.exists():
            write_flux(place / "flux", flux)
        with MemoryReserve() as reserve:
            found = {"SDXL": measure(reserve, "SDXL", "StableDiffusionXLPipeline", sdxl, given.folder, given.runs)}
            found["Flux"] = measure(reserve, "Flux", "FluxTransformer2DModel", flux, place / "flux", given.runs)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
