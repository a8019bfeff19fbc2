"""JSON as a tree that can hold what is no JSON: keys that repeat, numbers of any spelling, broken escapes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from random import Random
from typing import Any


class Pairs(list[tuple[Any, Any]]):
    """An object; its keys may repeat."""


@dataclass(frozen=True)
class Raw:
    """Text that stands in the file as it is."""

    text: str


def tree_of(value: Any) -> Any:
    """Return plain JSON values as a tree."""
    if isinstance(value, dict):
        return Pairs((key, tree_of(item)) for key, item in value.items())
    if isinstance(value, list):
        return [tree_of(item) for item in value]
    return value


def text_of(tree: Any, random: Random) -> str:
    """Return the text of a tree, however deep, with spaces and escapes where nobody has to write them."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # a value may be nested as deep as any reader's bound, and deeper
    try:
        return written(tree, random)
    finally:
        sys.setrecursionlimit(before)


def written(tree: Any, random: Random) -> str:
    """Return the text of a part of a tree."""
    space = random.choice([" ", "\n", "\t \r"]) if random.random() < 0.1 else ""
    if isinstance(tree, Pairs):
        items = [f"{space}{written(key, random)}{space}:{written(item, random)}" for key, item in tree]
        return "{" + f",{space}".join(items) + space + "}"
    if isinstance(tree, list):
        return "[" + f"{space},".join(written(item, random) for item in tree) + space + "]"
    if isinstance(tree, Raw):
        return tree.text
    if isinstance(tree, str):
        return _quoted(tree, random)
    return {"None": "null", "True": "true", "False": "false"}.get(str(tree), str(tree))


def _quoted(text: str, random: Random) -> str:
    escape_all = random.random() < 0.03
    return '"' + "".join(_character(each, escape_all) for each in text) + '"'


def _character(character: str, escape: bool) -> str:
    if character in '"\\' or ord(character) < 0x20 or 0xD800 <= ord(character) < 0xE000 or escape:
        units = character.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
    return character


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a tree: positions in arrays and in the pairs of objects."""
    found = [path] if path else []
    if isinstance(tree, Pairs):
        for position, (_, item) in enumerate(tree):
            found += places(item, (*path, position))
    elif isinstance(tree, list):
        for position, item in enumerate(tree):
            found += places(item, (*path, position))
    return found


def value_at(tree: Any, path: tuple[Any, ...]) -> Any:
    for position in path:
        tree = tree[position][1] if isinstance(tree, Pairs) else tree[position]
    return tree


def put(tree: Any, path: tuple[Any, ...], value: Any) -> None:
    """Replace the value at a path."""
    holder = value_at(tree, path[:-1])
    if isinstance(holder, Pairs):
        holder[path[-1]] = (holder[path[-1]][0], value)
    else:
        holder[path[-1]] = value
