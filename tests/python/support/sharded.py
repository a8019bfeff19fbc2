"""Sharded checkpoints, and what people publish in their place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from .checkpoints import Tensors, framed, rewrite, weight_file


def shard(component: Path, count: int = 3) -> Path:
    """Split the only weight file of a component's folder; return the index of its shards."""
    file = weight_file(component)
    tensors = load_file(file)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    weight_map = {}
    for number in range(count):
        name = f"{file.stem}-{number + 1:05}-of-{count:05}.safetensors"
        part = {key: tensors[key].clone() for key in sorted(tensors)[number::count]}
        save_file(part, file.with_name(name), metadata=metadata)
        weight_map |= dict.fromkeys(part, name)
    file.unlink()
    index = file.with_name(f"{file.name}.index.json")
    total = sum(tensor.nbytes for tensor in tensors.values())
    index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))
    return index


class Index:
    """An index and its shards, to be changed."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def weight_map(self) -> dict[str, str]:
        """Return the map as the index has it."""
        found: dict[str, str] = json.loads(self.file.read_text())["weight_map"]
        return found

    @property
    def shards(self) -> list[str]:
        """Return the names of the shards, sorted."""
        return sorted(set(self.weight_map.values()))

    def names(self, shard: int) -> list[str]:
        """Return the names of the tensors that the index lists for a shard."""
        return [name for name, of in self.weight_map.items() if of == self.shards[shard]]

    def floating(self, shard: int) -> str:
        """Return the name of a parameter of that shard."""
        return next(name for name in self.names(shard) if name.endswith("weight"))

    def change(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the index's object in place."""
        index = json.loads(self.file.read_text())
        change(index)
        self.file.write_text(json.dumps(index))

    def change_map(self, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the weight map in place."""
        self.change(lambda index: change(index["weight_map"]))

    def change_text(self, old: str, new: str) -> None:
        """Replace a part of the index's text."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new, 1))

    def rewrite(self, shard: int, change: Callable[[Tensors], Tensors]) -> None:
        """Replace the tensors of a shard."""
        rewrite(self.file.with_name(self.shards[shard]), change)

    def rename(self, shard: int, new: str) -> None:
        """Move a shard, and say so in the index."""
        old = self.shards[shard]
        target = self.file.parent / new
        target.parent.mkdir(exist_ok=True)
        self.file.with_name(old).rename(target)
        self.change_map(lambda weights: weights.update({name: new for name, of in weights.items() if of == old}))


def respell_header(file: Path, respell: Callable[[dict[str, Any]], str]) -> None:
    """Replace a file's header by another spelling of it."""
    content = file.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    file.write_bytes(framed(respell(json.loads(content[8:end])).encode()) + content[end:])
