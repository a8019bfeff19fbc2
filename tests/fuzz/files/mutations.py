"""What a mutation changes: the meaning of a header, its JSON, or bytes of the file."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from . import seeds
from .text import Pairs, Raw, places, put, value_at

NUMBERS = [
    0, 1, 2, 3, 7, 8, 255, 256, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 33, 1 << 61, 1 << 62, (1 << 63) - 1, 1 << 63,
    (1 << 64) - 1, 1 << 64, -1, -(1 << 63),
]  # fmt: skip
SPELLINGS = ["-0", "0.0", "1e2", "1E400", "01", "+1", "0x10", "1.", ".5", "NaN", "Infinity", "-", "1e", "9" * 400]
WORDS = [
    '"dtype"', '"shape"', '"data_offsets"', '"__metadata__"', '"F32"', '"F4"', "[", "]", "{", "}", ",", ":", '"', "\\",
    "\\u0000", "\\ud800", "\\udc00", "\\x", "null", "true", "[0,0]", "{}", "\x00", "\xff", "\ufeff", "\x7f", "//",
]  # fmt: skip


# ---- of the header's meaning, which keep the file whole ----


def change_shape(random: Random, header: dict[str, Any]) -> None:
    entry = _entry(random, header)
    if entry is not None:
        entry["shape"] = [random.choice(NUMBERS[:17]) for _ in range(random.randrange(5))]
        if random.random() < 0.7 and entry["shape"]:
            entry["shape"][random.randrange(len(entry["shape"]))] = 0


def change_dtype(random: Random, header: dict[str, Any]) -> None:
    entry = _entry(random, header)
    if entry is not None:
        entry["dtype"] = random.choice([*seeds.DTYPES, "f32", "F128", "", "F32\x00"])


def many_axes(random: Random, header: dict[str, Any]) -> None:
    entry = _entry(random, header)
    if entry is not None:
        entry["shape"] = random.choices((1, 2), (40, 1), k=random.randrange(99))


def reorder(random: Random, header: dict[str, Any]) -> None:
    items = list(header.items())
    random.shuffle(items)
    header.clear()
    header.update(items)


def _entry(random: Random, header: dict[str, Any]) -> dict[str, Any] | None:
    entries = [entry for name, entry in header.items() if name != "__metadata__"]
    return random.choice(entries) if entries else None


MEANING: list[Callable[[Random, dict[str, Any]], None]] = [change_shape, change_shape, change_dtype, many_axes, reorder]

# ---- of the JSON ----


def replace_value(random: Random, tree: Pairs) -> None:
    if found := places(tree):
        put(tree, random.choice(found), _any_value(random))


def replace_number(random: Random, tree: Pairs) -> None:
    found = [path for path in places(tree) if type(value_at(tree, path)) is int]
    if found:
        path = random.choice(found)
        near = value_at(tree, path) + random.choice([-8, -1, 1, 8])
        put(tree, path, random.choice([near, random.choice(NUMBERS), Raw(random.choice(SPELLINGS))]))


def drop_or_repeat(random: Random, tree: Pairs) -> None:
    holders = [tree, *(value for path in places(tree) if isinstance(value := value_at(tree, path), list))]
    holder = random.choice([each for each in holders if each] or [[0]])
    position = random.randrange(len(holder))
    if random.random() < 0.5:
        del holder[position]
    else:
        holder.insert(random.randrange(len(holder) + 1), holder[position])


def rename(random: Random, tree: Pairs) -> None:
    objects = [tree, *(value for path in places(tree) if isinstance(value := value_at(tree, path), Pairs))]
    pairs = random.choice([each for each in objects if each] or [Pairs([("", 0)])])
    position = random.randrange(len(pairs))
    key = random.choice([*seeds.NAMES, "__metadata__", "dtype", "shape", "data_offsets", "\ud800", "weight_map"])
    pairs[position] = (key, pairs[position][1])


def add_field(random: Random, tree: Pairs) -> None:
    objects = [tree, *(value for path in places(tree) if isinstance(value := value_at(tree, path), Pairs))]
    pairs = random.choice(objects)
    pairs.insert(random.randrange(len(pairs) + 1), (random.choice(["extra", "__metadata__", "k"]), _any_value(random)))


def without_names(random: Random, tree: Pairs) -> None:
    """An object becomes the array of its values, as some readers take structures."""
    found = [path for path in places(tree) if isinstance(value_at(tree, path), Pairs)]
    if found:
        path = random.choice(found)
        put(tree, path, [item for _, item in value_at(tree, path)])


def nest(random: Random, tree: Pairs) -> None:
    if found := places(tree):
        path = random.choice(found)
        value = value_at(tree, path)
        for _ in range(random.choice([1, 1, 2, 14, 40, 130])):
            value = [value] if random.random() < 0.7 else Pairs([("F32", value)])
        put(tree, path, value)


def _any_value(random: Random) -> Any:
    plain = [None, True, 0, 1, -1, 1.5, "", "F32", "\ud800", random.choice(NUMBERS), Raw(random.choice(SPELLINGS))]
    nested = [[], [0, 0], [1], Pairs(), Pairs([("F32", None)]), Pairs([("a", "b")])]
    return random.choice(plain + nested)


JSON: list[Callable[[Random, Pairs], None]] = [
    replace_value, replace_number, replace_number, drop_or_repeat, rename, add_field, without_names, nest,
]  # fmt: skip

# ---- of bytes ----


def change_bytes(random: Random, text: bytes) -> bytes:
    """Flip, drop, repeat, or insert a few bytes."""
    for _ in range(random.choice([1, 1, 2, 5])):
        at = random.randrange(len(text) + 1)
        end = min(len(text), at + random.choice([1, 1, 2, 8]))
        word = random.choice(WORDS).encode("utf-8" if random.random() < 0.9 else "utf-16-le")
        text = random.choice(
            [
                text[:at] + bytes([random.randrange(256)]) + text[end:],
                text[:at] + text[end:],
                text[:end] + text[at:],
                text[:at] + word + text[at:],
                text[:at] + word + text[end:],
            ]
        )
    return text


def frame(random: Random, header: bytes, data: bytes) -> bytes:
    """Put a file together, now and then of a wrong length."""
    header += b" " * random.choice([0, 0, -len(header) % 8, 3])
    length = len(header)
    if random.random() < 0.06:
        length = random.choice([0, 1, length - 1, length + 1, length + 8, random.choice(NUMBERS), 100_000_001])
    file = (length % (1 << 64)).to_bytes(8, "little") + header + data
    chance = random.random()
    if chance < 0.06:
        return file[: random.randrange(len(file) + 1)]
    if chance < 0.1:
        return file + random.randbytes(random.choice([1, 8, 100]))
    return file
