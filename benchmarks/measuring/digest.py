"""Fingerprints of loaded pipelines, and where two of them differ."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Digest:
    """What a pipeline consists of.

    Attributes:
        classes: component name -> full name of its class.
        tensors: "component.parameter" -> kind, dtype, shape and SHA-256 of the bytes, of every parameter and every
            buffer, whether saved in files or not.
    """

    classes: dict[str, str]
    tensors: dict[str, str]


def pipeline_digest(pipeline: Any) -> Digest:
    """Hash every tensor of every model of a diffusers pipeline; one thread a core."""
    import torch

    classes = {}
    tensors: dict[str, tuple[str, torch.Tensor]] = {}
    for component_name, component in pipeline.components.items():
        classes[component_name] = f"{type(component).__module__}.{type(component).__qualname__}"
        if isinstance(component, torch.nn.Module):
            for name, kind, tensor in _tensors_of(component):
                tensors[f"{component_name}.{name}"] = (kind, tensor)
    return Digest(classes, _hash_all(tensors))


def fingerprints(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Hash every tensor of a dictionary; as in a Digest, of the kind "tensor"."""
    return _hash_all({name: ("tensor", tensor) for name, tensor in tensors.items()})


def _hash_all(tensors: Mapping[str, tuple[str, torch.Tensor]]) -> dict[str, str]:
    with ThreadPoolExecutor() as executor:
        hashes = list(executor.map(lambda item: _fingerprint(*item), tensors.values()))
    return dict(zip(tensors, hashes, strict=True))


def read_every_page(pipeline: Any) -> None:
    """Read one byte in every 4 KiB of every tensor, on one thread.

    A loader that only maps files is ready before their bytes are in the process; this is when they come.
    """
    import torch

    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            read_pages(tensor for _, _, tensor in _tensors_of(component))


def read_pages(tensors: Iterable[torch.Tensor]) -> None:
    """Read one byte in every 4 KiB of these tensors, on one thread."""
    for tensor in tensors:
        _bytes_of(tensor)[::4096].sum()


def _tensors_of(module: torch.nn.Module) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Yield (name, kind, tensor); a tensor that has two names comes twice."""
    for name, parameter in module.named_parameters(remove_duplicate=False):
        yield name, "parameter", parameter
    for name, buffer in module.named_buffers(remove_duplicate=False):
        yield name, "buffer", buffer


def _bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _fingerprint(kind: str, tensor: torch.Tensor) -> str:
    digest = hashlib.sha256(_bytes_of(tensor).numpy().data).hexdigest()
    return f"{kind} {tensor.dtype} {list(tensor.shape)} {digest}"


def differences(expected: Digest, actual: Digest) -> list[str]:
    """Return one line for every component and tensor in which two pipelines differ; none when they are equal.

    Args:
        expected: of the pipeline that stock diffusers loaded.
        actual: of the pipeline to judge.
    """
    lines = compare_named("component", expected.classes, actual.classes)
    return lines + compare_named("tensor", expected.tensors, actual.tensors)


def compare_named(kind: str, expected: Mapping[str, str], actual: Mapping[str, str]) -> list[str]:
    """Return one line for each name of which two loads say something else, or only one of them says anything.

    Args:
        kind: what the names are of.
        expected: what is said where stock loaded.
        actual: what is said where the other did.
    """
    lines = []
    for name, value in expected.items():
        if name not in actual:
            lines.append(f"{kind} {name}: missing")
        elif actual[name] != value:
            lines.append(f"{kind} {name}: expected {value}, got {actual[name]}")
    lines.extend(f"{kind} {name}: not expected" for name in actual if name not in expected)
    return lines
