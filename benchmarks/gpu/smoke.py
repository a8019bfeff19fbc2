"""The first loads on a machine, bit for bit: mixed dtypes with casts on host and device, and a tiny pipeline.

Minutes before the tests proper, these say whether the core works on this driver at all.
"""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .journal import Journal
from .loaders import pipeline_tensors

if TYPE_CHECKING:
    import torch

_ELEMENTS = 3 * 1024 * 1024 + 7  # several slots a tensor, and an odd end
_TARGETS = (None, "float16", "bfloat16", "float32")
_SIDES = ("host", "device")


def smoke(journal: Journal, device: str) -> bool:
    """Run every check and note its outcome; tells whether all passed."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    passed = True
    with tempfile.TemporaryDirectory(prefix="warpload-smoke-") as folder:
        for name, check in _checks(Path(folder), device):
            begin = time.monotonic()
            try:
                check()
                outcome, message = "passed", ""
            except Exception as error:  # the next check may still tell something
                outcome, message = "failed", f"{type(error).__name__}: {error}"
                traceback.print_exc()
            seconds = time.monotonic() - begin
            journal.add("test", suite="smoke", name=name, outcome=outcome, seconds=seconds, message=message)
            print(f"{name}: {outcome} {message}", flush=True)
            passed &= outcome == "passed"
    return passed


def _checks(folder: Path, device: str) -> Iterator[tuple[str, Callable[[], None]]]:
    file = folder / "mixed.safetensors"
    yield "write a file of mixed dtypes", lambda: _write_mixed(file)
    for side in _SIDES:
        for target in _TARGETS:
            cast = "no cast" if target is None else f"cast to {target} on the {side}"
            if target is not None or side == _SIDES[0]:
                yield f"load_file, {cast}", lambda side=side, target=target: _check_file(file, device, side, target)
    yield "pipeline with device_map", lambda: _check_pipeline(folder / "pipeline", device, moved=False)
    yield "pipeline with to(device)", lambda: _check_pipeline(folder / "pipeline", device, moved=True)


def _write_mixed(file: Path) -> None:
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    values = torch.randn(_ELEMENTS, generator=generator)
    tensors = {"float8_e4m3fn": values.to(torch.float8_e4m3fn)}  # it has no infinities
    values[:3] = torch.tensor([float("inf"), float("-inf"), 0.0])
    tensors |= {
        name: values.to(getattr(torch, name)) for name in ("float64", "float32", "float16", "bfloat16", "float8_e5m2")
    }
    integers = torch.randint(-(2**31), 2**31, (_ELEMENTS,), generator=generator)
    tensors |= {
        name: integers.to(getattr(torch, name)) for name in ("int64", "int32", "int16", "int8", "uint8", "bool")
    }
    save_file({**tensors, "scalar": torch.tensor(2.5), "empty": torch.empty(0, 3)}, file)


def _check_file(file: Path, device: str, side: str, target: str | None) -> None:
    import torch
    from safetensors.torch import load_file

    import warpload

    dtype = None if target is None else getattr(torch, target)
    expected = {
        name: tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        for name, tensor in load_file(file).items()
    }
    with warpload.LoadOptions(device_casts=side, **_arena(device)):
        loaded = warpload.load_file(file, device=device, dtype=dtype)
    _compare(loaded, expected, device)


def _check_pipeline(folder: Path, device: str, *, moved: bool) -> None:
    import torch
    from diffusers import DiffusionPipeline

    import warpload
    from warpload.demo.architecture import TINY
    from warpload.demo.synthetic import write_synthetic_pipeline

    write_synthetic_pipeline(folder, scale=TINY, dtype="float16")
    stock = DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16)
    with warpload.LoadOptions(**_arena(device)):
        placed = {} if moved else {"device_map": device.partition(":")[0]}
        ours = warpload.DiffusionPipeline.from_pretrained(folder, dtype=torch.bfloat16, **placed)
        if moved:
            ours.to(device)
    _compare(pipeline_tensors(ours), pipeline_tensors(stock), device)


def _arena(device: str) -> dict[str, str]:
    """On the CPU, send loads the way that a GPU's go."""
    return {"arena": "always"} if device == "cpu" else {}


def _compare(loaded: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], device: str) -> None:
    import torch

    if loaded.keys() != expected.keys():
        raise ValueError(f"other names: {sorted(loaded.keys() ^ expected.keys())[:5]}")
    wrong = []
    for name, tensor in expected.items():
        found = loaded[name]
        if found.device.type != device.partition(":")[0]:
            raise ValueError(f"{name} is on {found.device}, not on {device}")
        alike = found.dtype == tensor.dtype and found.shape == tensor.shape
        if not alike or not torch.equal(_bits(found.cpu()), _bits(tensor)):
            wrong.append(name)
    if wrong:
        raise ValueError(f"{len(wrong)} of {len(expected)} tensors differ: {', '.join(wrong[:10])}")


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
