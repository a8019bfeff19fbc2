"""One load in a fresh process, by stock or by warpload; what came of it goes out as JSON.

    python fresh_load.py --loader stock --kind pipeline --source FOLDER --json-fd 1

The kinds: a pipeline; a model, whose library and class are given; files, whose tensors are loaded by name.

Started by its path, so that stock loads where nothing of warpload's is imported: what describes the result comes after.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

LOADERS = ("stock", "warpload")
KINDS = ("pipeline", "model", "files")

_OWN_LIBRARIES = ("diffusers", "transformers")


def main() -> None:
    """Load what the command line asks for, and describe it."""
    if sys.path and Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
        del sys.path[0]  # this folder's modules are not top-level ones
    arguments = _parse_arguments()
    _seed()
    loaded = load(arguments)
    result = {"likeness": _likeness(arguments.kind, loaded), "components": {}, "placed_by_stock": {}}
    if arguments.loader == "warpload":
        report = importlib.import_module("warpload").last_report()
        result |= {"components": dict(report.components), "placed_by_stock": dict(report.placed_by_stock)}
    with os.fdopen(arguments.json_fd, "w", encoding="utf-8", closefd=arguments.json_fd > 2) as stream:
        stream.write(json.dumps(result) + "\n")


def load(arguments: argparse.Namespace) -> Any:
    """Return the pipeline, the model, or the tensors by name.

    Args:
        arguments: of the command line.
    """
    options: dict[str, Any] = {}
    if arguments.variant is not None:
        options["variant"] = arguments.variant
    if arguments.dtype != "none":
        options["torch_dtype"] = getattr(importlib.import_module("torch"), arguments.dtype)
    if arguments.kind == "files":
        return _files_by(arguments.loader, arguments.source, options.get("torch_dtype"))
    if arguments.kind == "pipeline":
        library = "diffusers" if arguments.loader == "stock" else "warpload"
        (source,) = arguments.source
        return importlib.import_module(library).DiffusionPipeline.from_pretrained(source, **options)
    if arguments.loader == "warpload":
        importlib.import_module("warpload").install()
    return _model_class(arguments.library, arguments.class_name).from_pretrained(*arguments.source, **options)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fresh_load", description="One load in a fresh process.")
    parser.add_argument("--loader", choices=LOADERS, required=True)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--source", action="append", required=True, help="folder, id or file; of files each one")
    parser.add_argument("--library", help="of a model: the library, or the pipeline's module, that has its class")
    parser.add_argument("--class", dest="class_name", help="of a model")
    parser.add_argument("--dtype", default="none", help="by torch's name; none leaves it out")
    parser.add_argument("--variant")
    parser.add_argument("--json-fd", type=int, default=1, help="file descriptor for the result")
    return parser.parse_args()


def _seed() -> None:
    """Begin to draw alike: what a file lacks is drawn, by stock and by us."""
    random.seed(0)
    importlib.import_module("numpy").random.seed(0)
    importlib.import_module("torch").manual_seed(0)


def module_name(library: str) -> str:
    """Return the module that has the classes of a library, or of a pipeline, by its name in model_index.json."""
    return library if library in _OWN_LIBRARIES else f"diffusers.pipelines.{library}"


def _model_class(library: str, class_name: str) -> Any:
    return getattr(importlib.import_module(module_name(library)), class_name)


def _files_by(loader: str, files: list[str], dtype: Any) -> dict[str, Any]:
    if loader == "warpload":
        tensors: dict[str, Any] = importlib.import_module("warpload").load_file(files, dtype=dtype)
        return tensors
    found: dict[str, Any] = {}
    for file in files:
        if file.endswith(".gguf"):
            found |= _gguf_by_its_package(file, dequantised=dtype is not None)
        else:
            found |= importlib.import_module("safetensors.torch").load_file(file)
    if dtype is None:
        return found
    return {name: each.to(dtype) if each.is_floating_point() else each for name, each in found.items()}


def _gguf_by_its_package(file: str, *, dequantised: bool) -> dict[str, Any]:
    """Return the tensors as the gguf package reads them: quantised ones as bytes, or as its numbers."""
    import numpy
    import torch

    gguf = importlib.import_module("gguf")
    plain = {gguf.GGMLQuantizationType[name] for name in ("F16", "F32", "F64", "I8", "I16", "I32", "I64")}
    found = {}
    for each in gguf.GGUFReader(file).tensors:
        kind, data = each.tensor_type, each.data
        if kind == gguf.GGMLQuantizationType.BF16:
            found[each.name] = torch.from_numpy(numpy.array(data)).view(torch.bfloat16)
        elif kind in plain or not dequantised:
            found[each.name] = torch.from_numpy(numpy.array(data))
        else:
            found[each.name] = torch.from_numpy(numpy.array(gguf.dequantize(data, kind)))
    # numpy gives an array without elements strides of its own.
    return {name: each.clone(memory_format=torch.contiguous_format) for name, each in found.items()}


def _likeness(kind: str, loaded: Any) -> Any:
    from warpload.verifying import likeness

    describe = {
        "pipeline": likeness.likeness_of_pipeline,
        "model": likeness.likeness_of_model,
        "files": likeness.likeness_of_tensors,
    }
    return describe[kind](loaded)


if __name__ == "__main__":
    main()
