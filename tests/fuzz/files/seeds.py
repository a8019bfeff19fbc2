"""Valid files that the mutations start from."""

from __future__ import annotations

from random import Random
from typing import Any

# Bits that an element takes.
DTYPES = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
NAMES = ["a", "b.weight", "", "x\n", "Ä", "名前", "\x00", "dtype", "shape", "𐍈", "__metadata", "c" * 60]
SHAPES: list[list[int]] = [[], [0], [1], [3], [2, 4], [8], [0, 4], [2, 0, 3], [1, 1, 1, 1], [5, 2, 2], [64]]


def header(random: Random) -> dict[str, Any]:
    """Return a header with a few tensors that lie back to back."""
    found: dict[str, Any] = {}
    if random.random() < 0.4:
        found["__metadata__"] = {"format": "pt", **({"": "é"} if random.random() < 0.3 else {})}
    for name in random.sample(NAMES, random.randrange(5)):
        dtype, shape = random.choice(list(DTYPES)), random.choice(SHAPES)
        if DTYPES[dtype] < 8:
            shape = [*shape[:-1], 8]
        found[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [0, 0]}
    lay_out(found)
    return found


def nbytes(entry: dict[str, Any]) -> int:
    bits = DTYPES.get(entry["dtype"], 8)
    for extent in entry["shape"]:
        bits *= extent
    return bits // 8


def lay_out(found: dict[str, Any]) -> int:
    """Give each tensor its place behind the one before; return the bytes of all."""
    end = 0
    for name, entry in found.items():
        if name != "__metadata__":
            begin, end = end, end + nbytes(entry)
            entry["data_offsets"] = [begin, end]
    return end


def data(random: Random, count: int) -> bytes:
    """Return tensor data; of bools there are two."""
    return bytes(random.choices((0, 1), k=count)) if random.random() < 0.5 else random.randbytes(count)
