"""Numbers as people read them: three digits, in the unit that fits. Sizes are decimal: 1 GB is 1,000,000,000 bytes."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """Return how many there are of something, as in ``"1 file"`` and ``"2,641 tensors"``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Return bytes in the unit that fits, as in ``"6.94 GB"`` and ``"164 kB"``."""
    if count < 1000:
        return counted(count, "byte")
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:
            return f"{_three_digits(value)} {unit}"
    return f"{_three_digits(value / 1000)} TB"


def duration(seconds: float) -> str:
    """Return seconds in the unit that fits, as in ``"2.31 s"``, ``"241 ms"`` and ``"2 min 05 s"``."""
    if seconds >= 119.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    if seconds >= 0.9995:
        return f"{_three_digits(seconds)} s"
    return f"{_three_digits(seconds * 1000)} ms"


def rate(count: int, seconds: float) -> str:
    """Return bytes a second in the unit that fits, as in ``"3.1 GB/s"``; the empty string where there is none."""
    return f"{size(round(count / seconds))}/s" if count >= 1000 and seconds > 0 else ""


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
