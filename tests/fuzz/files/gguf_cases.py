"""GGUF files of a random: made of parts, of which now and then one is wrong, then of bytes, of which some change."""

from __future__ import annotations

import struct
from random import Random

# ggml's numbers of types -> numbers in a block, its bytes.
TYPES = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 16: (256, 66), 20: (32, 18), 23: (256, 136),
    24: (1, 1), 26: (1, 4), 28: (1, 8), 30: (1, 2), 34: (256, 54), 39: (32, 17),
}  # fmt: skip
NAMES = [b"a", b"blk.0.weight", b"", "名前".encode(), b"x\n", b"\xff", b"n" * 70]
KEYS = [b"general.architecture", b"general.alignment", b"k", b"", b"tokens", b"\xff", "é".encode()]
NUMBERS = [0, 1, 2, 3, 4, 7, 8, 24, 31, 32, 33, 64, 255, 256, (1 << 31) - 1, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1]
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def _string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _value(random: Random, depth: int = 0) -> bytes:
    """Return the type of a value, and the value."""
    kind = random.choice([4, 5, 6, 7, 8, 8, 9, 9, 10, 12, 13 if random.random() < 0.1 else 0])
    if kind == 8:
        return struct.pack("<I", kind) + _string(random.choice([b"flux", b"", b"\xff", b"t" * 300]))
    if kind != 9:
        return struct.pack("<I", kind) + random.randbytes(SCALARS.get(kind, 1))
    count = random.randrange(4)
    inner = [_value(random, depth + 1) for _ in range(count)] or [_value(random, depth + 1)]
    element = inner[0][:4]
    if element == struct.pack("<I", 9) and depth > random.choice([1, 9]):
        element, inner = struct.pack("<I", 4), [bytes(4) + bytes(4)] * count
    same = [each for each in inner if each[:4] == element][:count]
    return struct.pack("<I", 9) + element + struct.pack("<Q", len(same)) + b"".join(each[4:] for each in same)


def _alignment(random: Random) -> tuple[bytes, int]:
    """Return a pair about the alignment, and what it is taken for."""
    value = random.choice([8, 16, 32, 64, 256, *random.sample(NUMBERS, 1)])
    if random.random() < 0.1:
        return _string(b"general.alignment") + struct.pack("<IQ", 10, value), 32
    value %= 1 << 32
    plausible = value if value and value & (value - 1) == 0 and value <= 4096 else 32
    return _string(b"general.alignment") + struct.pack("<II", 4, value), plausible


def _dimensions(random: Random, kind: int) -> list[int]:
    elements = TYPES.get(kind, (1, 1))[0]
    dimensions = [random.choice([1, 2, 3]) for _ in range(random.choice([0, 1, 1, 2, 3, 5]))]
    if dimensions and random.random() < 0.9:
        dimensions[0] *= elements
    if dimensions and random.random() < 0.15:
        dimensions[random.randrange(len(dimensions))] = random.choice([0, *NUMBERS])
    return dimensions


def _tensor(random: Random, name: bytes, begin: int, alignment: int) -> tuple[bytes, int]:
    """Return an entry, and where the next tensor may begin."""
    kind = random.choice(list(TYPES)) if random.random() < 0.95 else random.choice([4, 5, 31, 42, 1 << 31])
    dimensions = _dimensions(random, kind)
    elements, size = TYPES.get(kind, (1, 1))
    count = 1
    for each in dimensions:
        count *= each
    end = begin + count * size // elements
    if random.random() < 0.08:
        begin = random.choice([begin + alignment, max(0, begin - alignment), begin + 1, random.choice(NUMBERS)])
    entry = _string(name) + struct.pack("<I", len(dimensions)) + struct.pack(f"<{len(dimensions)}Q", *dimensions)
    return entry + struct.pack("<IQ", kind, begin), -(-min(end, 1 << 20) // alignment) * alignment


def make_gguf(random: Random) -> bytes:
    """Return a file."""
    pairs, alignment = [], 32
    for key in random.sample(KEYS, random.randrange(4)) + [b"k"] * (random.random() < 0.05):
        if key == b"general.alignment":
            pair, alignment = _alignment(random)
        else:
            pair = _string(key) + _value(random)
        pairs.append(pair)
    tensors, begin = [], 0
    for name in random.sample(NAMES, random.randrange(5)) + [b"a"] * (random.random() < 0.05):
        entry, begin = _tensor(random, name, begin, alignment)
        tensors.append(entry)
    version = 3 if random.random() < 0.9 else random.choice([0, 1, 2, 4, 3 << 24])
    counts = [len(tensors), len(pairs)]
    if random.random() < 0.05:
        counts[random.randrange(2)] += random.choice([-1, 1, 1 << 40])
    content = b"GGUF" + struct.pack("<IQQ", version, *(each % (1 << 64) for each in counts))
    content += b"".join(pairs) + b"".join(tensors)
    content += bytes(-len(content) % alignment)
    data = random.randbytes(begin)
    chance = random.random()
    if chance < 0.1:
        return (content + data)[: random.randrange(len(content) + len(data) + 1)]
    if chance < 0.2:
        at = random.randrange(4, len(content))
        content = content[:at] + bytes([random.randrange(256)]) + content[at + 1 :]
    return content + data + bytes(32 * (chance > 0.9))
