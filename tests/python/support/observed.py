"""What a process that has loaded a pipeline has imported, and what comes of it: observed in a process of its own."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from warpload.stock.deferred import DEFERRALS

from .processes import WITHOUT_QUANTISERS, run_python

# Each is loaded by itself in a process; where a distribution is missing its line has nothing to put off.
MODULES = sorted({module for line in DEFERRALS for module in line.modules})


def observe(how: str, folder: Path) -> dict[str, Any]:
    """Return what is observed after a load in a fresh process.

    Args:
        how: ``"stock"`` by diffusers; by warpload with lazy imports ``"on"`` or ``"off"``.
        folder: of the pipeline.
    """
    code = WITHOUT_QUANTISERS + "from support import observed; observed.main(*sys.argv[1:])"
    result = run_python(code, how, folder)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return {**found, "stderr": result.stderr}


def main(how: str, folder: str) -> None:
    """Load, use and print."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    pipeline = _loaded(how, folder)
    found: dict[str, Any] = {"imported": sorted(sys.modules), "executed": _executed(), "turned off": _turned_off()}
    found["image"] = _image(pipeline)
    found["imported by an image"] = sorted(set(sys.modules) - set(found["imported"]))
    found["trained"] = _trained(pipeline)
    found["compiled"] = _compiled(pipeline)
    found["stand-ins"] = sorted(_stand_ins())
    found["registered"], found["disabled"] = _registered(), _disabled()
    for _ in "ab":  # what comes brings more into others
        found["contents"] = {name: dir(sys.modules[name]) for name in MODULES if name in sys.modules}
    found["types"] = {name: type(sys.modules[name]) is types.ModuleType for name in MODULES if name in sys.modules}
    print(json.dumps(found))


def _loaded(how: str, folder: str) -> Any:
    if how == "stock":
        import diffusers as library
    else:
        import warpload as library  # type: ignore[no-redef]

        with library.LoadOptions(lazy_imports=how == "on"):
            return library.DiffusionPipeline.from_pretrained(folder)
    return library.DiffusionPipeline.from_pretrained(folder)


def _turned_off() -> dict[str, str]:
    import warpload

    report = warpload.last_report()
    return {} if report is None else report.turned_off


def _executed() -> list[str]:
    """Return the modules of the table that somebody has had executed."""
    modules = {name: sys.modules[name] for name in MODULES if name in sys.modules}
    return [name for name, module in modules.items() if type(module) is types.ModuleType]


def _image(pipeline: Any) -> str:
    import torch

    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    found = pipeline("x", num_inference_steps=1, height=32, width=32, output_type="np", generator=generator)
    return hashlib.sha256(found.images.tobytes()).hexdigest()


def _inputs(pipeline: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    import torch

    config = pipeline.unet.config
    generator = torch.Generator().manual_seed(0)
    width = pipeline.unet.add_embedding.linear_1.in_features - 6 * config.addition_time_embed_dim
    text = torch.randn(1, 7, config.cross_attention_dim, generator=generator)
    added = {"text_embeds": torch.randn(1, width, generator=generator), "time_ids": torch.zeros(1, 6)}
    sample = torch.randn(1, config.in_channels, 8, 8, generator=generator)
    return (sample, 1, text), {"added_cond_kwargs": added}


def _trained(pipeline: Any) -> str:
    """Take one step of training, with checkpoints, and return what has become of the parameters."""
    import torch

    unet = pipeline.unet.train()
    unet.enable_gradient_checkpointing()
    optimizer = torch.optim.AdamW(unet.parameters())
    arguments, keywords = _inputs(pipeline)
    unet(*arguments, **keywords).sample.sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    unet.disable_gradient_checkpointing()
    unet.eval()
    digest = hashlib.sha256()
    for parameter in unet.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()


def _compiled(pipeline: Any) -> dict[str, Any]:
    import torch

    arguments, keywords = _inputs(pipeline)
    with torch.no_grad():
        sample = torch.compile(pipeline.unet, backend="eager")(*arguments, **keywords).sample
    from torch._dynamo.utils import counters

    breaks = {str(reason): count for reason, count in counters["graph_break"].items()}
    return {"sample": sample.tolist(), "stats": dict(counters["stats"]), "breaks": breaks}


def _everything() -> Iterator[tuple[str, Any]]:
    """Yield the functions and classes of the libraries, and what their classes have, with their names."""
    for module_name, module in sorted(sys.modules.items()):
        if module_name.partition(".")[0] in ("diffusers", "transformers", "accelerate", "torch"):
            for name, value in sorted(object.__getattribute__(module, "__dict__").items()):
                if isinstance(value, type) and value.__module__ == module_name:
                    yield from ((f"{module_name}.{name}.{each}", found) for each, found in list(vars(value).items()))
                yield f"{module_name}.{name}", value


def _registered() -> list[str]:
    from torch._dynamo import trace_rules

    allowed = set(trace_rules._allowed_callable_ids.function_ids)
    of_properties = [(name, value.fget) for name, value in _everything() if isinstance(value, property)]
    return [name for name, value in [*_everything(), *of_properties] if id(value) in allowed]


def _disabled() -> list[str]:
    functions = [(name, value) for name, value in _everything() if isinstance(value, types.FunctionType)]
    disabled = [name for name, value in functions if vars(value).get("_torchdynamo_wrapper_id") == id(value)]
    return [name for name in disabled if "__compiled_fn" not in name]  # what torch.compile has made, by a random name


def _stand_ins() -> Iterator[str]:
    """Yield where something stands for an object, without having it come."""
    others = [(name, module) for name, module in sys.modules.items() if not name.startswith("warpload")]
    for name, module in others:
        namespace = object.__getattribute__(module, "__dict__") if isinstance(module, types.ModuleType) else {}
        for attribute, value in list(namespace.items()):
            if type(value).__module__ == "warpload.stock.stand_in":
                yield f"{name}.{attribute}"
