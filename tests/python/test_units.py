"""Numbers as people read them."""

from __future__ import annotations

import pytest

from warpload import units


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (160_000, "160 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (9_994_000, "9.99 MB"),
        (6_938_000_000, "6.94 GB"),
        (12_300_000_000, "12.3 GB"),
        (123_000_000_000, "123 GB"),
        (4_200_000_000_000, "4.20 TB"),
    ],
)
def test_a_size_has_three_digits_and_the_unit_that_fits(count: int, text: str) -> None:
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00031, "0.31 ms"), (0.2414, "241 ms"), (0.9996, "1.00 s"), (23.06, "23.1 s"), (119.6, "2 min 00 s")],
)
def test_a_time_has_three_digits_and_the_unit_that_fits(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "seconds", "text"),
    [(6_938_000_000, 2.0, "3.47 GB/s"), (1_500_000, 0.5, "3.00 MB/s"), (999, 1.0, ""), (5_000, 0.0, "")],
)
def test_a_rate_is_a_size_a_second_where_there_is_one(count: int, seconds: float, text: str) -> None:
    assert units.rate(count, seconds) == text
