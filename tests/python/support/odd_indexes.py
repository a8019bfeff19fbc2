"""What people publish in place of a sharded checkpoint. Each change returns what a message about it has to name."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors.torch import load_file

from .sharded import Index, respell_header


def swap_two(index: Index) -> list[str]:
    first, second = index.names(0)[0], index.names(1)[0]
    shards = index.shards
    index.change_map(lambda weights: weights.update({first: shards[1], second: shards[0]}))
    return [first, shards[0], shards[1]]


def stale_copy_before(index: Index) -> list[str]:
    name = index.floating(2)
    kept = load_file(index.file.with_name(index.shards[2]))[name]
    index.rewrite(0, lambda tensors: tensors | {name: kept + 1})
    return [name, index.shards[0], index.shards[2]]


def other_copy_behind(index: Index) -> list[str]:
    """Stock takes the later one, whatever the index says."""
    name = index.floating(0)
    kept = load_file(index.file.with_name(index.shards[0]))[name]
    index.rewrite(2, lambda tensors: tensors | {name: kept + 1})
    return [name, index.shards[0], index.shards[2]]


def copies_in_all(index: Index) -> list[str]:
    name = index.floating(1)
    kept = load_file(index.file.with_name(index.shards[1]))[name]
    for number in (0, 2):
        index.rewrite(number, lambda tensors, by=number + 2: tensors | {name: kept * by})
    return [name]


def name_twice(index: Index) -> list[str]:
    name = index.names(0)[0]
    entry = f'"{name}": "{index.shards[0]}"'
    index.change_text(entry, f'"{name}": "{index.shards[1]}", {entry}')
    return [name]


def map_twice(index: Index) -> list[str]:
    index.change_text('"weight_map":', f'"weight_map": {{"x": "{index.shards[0]}"}}, "weight_map":')
    return ["weight_map"]


def unknown_fields(index: Index) -> list[str]:
    file = index.file.with_name(index.shards[1])

    def respell(header: dict[str, Any]) -> str:
        for name, entry in header.items():
            if name != "__metadata__":
                entry["strides"] = [1]
        return json.dumps(header)

    respell_header(file, respell)
    return [file.name, "strides"]


def entries_as_arrays(index: Index) -> list[str]:
    file = index.file.with_name(index.shards[1])
    respell_header(
        file, lambda header: json.dumps({k: list(v.values()) if "dtype" in v else v for k, v in header.items()})
    )
    return [file.name, "array"]


def metadata_twice(index: Index) -> list[str]:
    file = index.file.with_name(index.shards[0])
    respell_header(file, lambda header: json.dumps(header).replace('"format"', '"format": "none", "format"', 1))
    return [file.name, "'format'"]


def lost(index: Index) -> list[str]:
    name = index.floating(1)
    index.rewrite(1, lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name})
    return [name, index.shards[1]]


def shard_not_listed(index: Index) -> list[str]:
    """Its tensors are in no shard that the index names, so that stock does not read them."""
    first, last = index.names(1)[0], index.shards[2]
    index.change_map(lambda weights: weights.update(dict.fromkeys(index.names(1), last)))
    return [first, last]


def never_there(index: Index) -> list[str]:
    index.change_map(lambda weights: weights.update({"unheard_of.weight": index.shards[0]}))
    return ["unheard_of.weight", index.shards[0]]


def left_out(index: Index) -> list[str]:
    name = index.floating(1)
    index.change_map(lambda weights: weights.pop(name))
    return [name]


def unknown_and_left_out(index: Index) -> list[str]:
    index.rewrite(1, lambda tensors: tensors | {"unheard_of.weight": torch.zeros(3)})
    return ["unheard_of.weight"]


def copy_of_another_dtype(index: Index) -> list[str]:
    name = index.floating(2)
    kept = load_file(index.file.with_name(index.shards[2]))[name]
    index.rewrite(0, lambda tensors: tensors | {name: kept.double() + 1})
    return [name]


def not_a_number(index: Index) -> list[str]:
    index.change_text('"metadata": {', '"metadata": {"loss": NaN, ')
    return []


def number_without_end(index: Index) -> list[str]:
    index.change_text('"metadata": {', '"metadata": {"loss": -1e999, ')
    return []


def half_a_character(index: Index) -> list[str]:
    index.change_text('"metadata": {', '"metadata": {"by": "\\ud83d", ')
    return []


def nested_deeply(index: Index) -> list[str]:
    index.change_text('"metadata": {', f'"metadata": {{"x": {"[" * 200}{"]" * 200}, ')
    return []


def pickled(index: Index) -> list[str]:
    """An index of safetensors may name other files."""
    for name in index.shards:
        file = index.file.with_name(name)
        torch.save(load_file(file), file.with_suffix(".bin"))
        file.unlink()
    index.change_map(
        lambda weights: weights.update({key: name.replace(".safetensors", ".bin") for key, name in weights.items()})
    )
    return []


def empty_map(index: Index) -> list[str]:
    index.change(lambda whole: whole.update(weight_map={}))
    return []


def into_a_folder(index: Index) -> list[str]:
    index.rename(1, "part/second.safetensors")
    return []


def with_a_dot(index: Index) -> list[str]:
    index.change_map(lambda weights: weights.update({key: f"./{name}" for key, name in weights.items()}))
    return []


def out_of_the_folder(index: Index) -> list[str]:
    index.rename(1, "../second.safetensors")
    return []


def to_an_absolute_path(index: Index) -> list[str]:
    index.rename(1, str(index.file.parent.parent / "second.safetensors"))
    return []


def with_no_suffix(index: Index) -> list[str]:
    for number in range(3):
        index.rename(number, f"part-{number}")
    return []


def without_metadata(index: Index) -> list[str]:
    index.change(lambda whole: whole.pop("metadata"))
    return []


def metadata_of_null(index: Index) -> list[str]:
    index.change(lambda whole: whole.update(metadata=None))
    return []


def without_a_map(index: Index) -> list[str]:
    index.change(lambda whole: whole.pop("weight_map"))
    return []


def map_as_a_list(index: Index) -> list[str]:
    index.change(lambda whole: whole.update(weight_map=list(whole["weight_map"])))
    return []


def map_of_numbers(index: Index) -> list[str]:
    index.change(lambda whole: whole.update(weight_map=dict.fromkeys(whole["weight_map"], 1)))
    return []


def map_of_lists(index: Index) -> list[str]:
    index.change(lambda whole: whole.update(weight_map={name: [of] for name, of in whole["weight_map"].items()}))
    return []


def byte_order_mark(index: Index) -> list[str]:
    index.file.write_bytes(b"\xef\xbb\xbf" + index.file.read_bytes())
    return []


def no_text(index: Index) -> list[str]:
    index.file.write_bytes(b'{"\xff": 1, ' + index.file.read_bytes()[1:])
    return []


def half_a_file(index: Index) -> list[str]:
    text = index.file.read_text()
    index.file.write_text(text[: len(text) // 2])
    return []
