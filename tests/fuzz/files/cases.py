"""The case of a seed and a number, always the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from . import mutations, seeds
from .gguf_cases import make_gguf
from .text import text_of, tree_of

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Case:
    """Files by name, of which one is to be loaded."""

    files: dict[str, bytes]
    entry: str

    def write(self, folder: Path) -> Path:
        """Write the files; return the one to load."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder / self.entry


def make_case(seed: int, number: int) -> Case:
    random = Random(f"{seed}/{number}")
    kind = random.random()
    if kind < 0.12:
        return _index(random)
    if kind < 0.3:
        return Case({"model.gguf": make_gguf(random)}, "model.gguf")
    return Case({"model.safetensors": _file(random)}, "model.safetensors")


def _file(random: Random) -> bytes:
    header = seeds.header(random)
    for _ in range(random.choice([0, 1, 1, 2])):
        random.choice(mutations.MEANING)(random, header)
    size = seeds.lay_out(header) if random.random() < 0.95 else random.randrange(100)
    data = seeds.data(random, min(size, 4096))
    return mutations.frame(random, _text(random, header), data)


def _text(random: Random, value: Any) -> bytes:
    tree = tree_of(value)
    for _ in range(random.choice([0, 0, 1, 1, 2, 3])):
        random.choice(mutations.JSON)(random, tree)
    text = text_of(tree, random).encode("utf-8", "surrogatepass")
    return mutations.change_bytes(random, text) if random.random() < 0.3 else text


def _index(random: Random) -> Case:
    """Two shards and an index; the shards are right but for one in ten."""
    files: dict[str, bytes] = {}
    weight_map: dict[str, str] = {}
    for position in (1, 2):
        name = f"model-0000{position}-of-00002.safetensors"
        header = {f"{position}.{key}": entry for key, entry in seeds.header(random).items() if key != "__metadata__"}
        text = json.dumps(header).encode()
        data = seeds.data(random, seeds.lay_out(header))
        files[name] = len(text).to_bytes(8, "little") + text + data
        if random.random() < 0.05:
            files[name] = mutations.change_bytes(random, files[name])
        weight_map.update(dict.fromkeys(header, name))
    for key in random.sample(list(weight_map), min(len(weight_map), random.choice([0, 0, 1]))):
        shard = next(iter(files))
        weight_map[key] = random.choice([*files, "./" + shard, "../" + shard, "/etc/passwd", "", ".", "a/"])
    files[INDEX] = _text(random, {"metadata": {"total_size": 1}, "weight_map": weight_map})
    return Case(files, INDEX)
