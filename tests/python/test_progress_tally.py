"""What a bar says of a load: bytes, the component under way, and what limits it, from the core's counters."""

from __future__ import annotations

from typing import Any

import pytest

from support.watched import Meter
from warpload.progress_tally import Progress, Tally, at_end

MIB = 2**20


def tally_of(*meters: tuple[Any, dict[int, str]], taken: bool = False) -> Tally:
    tally = Tally()
    for meter, names in meters:
        tally.add(meter, names, taken=taken)
    return tally


def test_bytes_are_those_of_all_loads_of_the_core() -> None:
    first, second = Meter(3 * MIB, MIB), Meter(MIB)
    tally = tally_of((first, {0: "a", 1: "b"}), (second, {0: "c"}))
    first.arrived[0], second.arrived[0] = 2 * MIB, MIB

    progress = tally.look()

    assert (progress.done, progress.total) == (3 * MIB, 5 * MIB)


def test_what_had_arrived_before_the_load_took_it_does_not_count() -> None:
    prefetched = Meter(4 * MIB, 9 * MIB)
    prefetched.arrived[0] = 3 * MIB
    tally = tally_of((prefetched, {0: "unet"}), taken=True)  # the other segment is of nobody

    prefetched.arrived[0] += MIB // 2

    assert tally.look() == Progress(MIB // 2, MIB, "unet", "")


def test_a_load_that_has_nothing_to_come_is_not_waited_for() -> None:
    views, prefetched = Meter(0), Meter(MIB)
    prefetched.arrived[0] = MIB

    assert not Tally().add(views, {0: "unet"})  # type: ignore[arg-type]
    assert not Tally().add(prefetched, {0: "unet"}, taken=True)  # type: ignore[arg-type]


def test_bytes_of_a_load_that_is_over_are_still_counted() -> None:
    first, second = Meter(MIB), Meter(MIB)
    tally = tally_of((first, {0: "a"}))
    first.arrived[0] = MIB
    assert tally.look().done == MIB

    tally.add(second, {0: "b"})  # type: ignore[arg-type]

    assert tally.look() == Progress(MIB, 2 * MIB, "b", "")


def test_the_component_is_the_first_whose_bytes_have_not_all_arrived() -> None:
    meter = Meter(MIB, MIB, MIB)
    tally = tally_of((meter, {0: "text_encoder", 1: "unet", 2: "vae"}))
    tally.building = "text_encoder"
    named = []
    for number in range(3):
        meter.arrived[number] = MIB // 2
        named.append(tally.look().component)
        meter.arrived[number] = MIB

    assert named == ["text_encoder", "unet", "vae"]


def test_when_all_bytes_are_there_it_is_what_is_being_built() -> None:
    meter = Meter(MIB)
    tally = tally_of((meter, {0: "unet"}))
    tally.building = "vae"
    meter.arrived[0] = MIB

    assert tally.look() == Progress(MIB, MIB, "vae", "building")
    tally.python = "importing"
    assert tally.look().limit == "importing"


@pytest.mark.parametrize(
    ("seconds", "word"),
    [
        ({"from_disk": 1.0, "casting": 0.5}, "disk"),
        ({"from_memory": 1.0, "casting": 0.5}, "memory"),
        ({"casting": 1.0, "from_disk": 0.5}, "casting"),
        ({"waiting_for_slots": 1.0, "from_memory": 0.5}, "link"),
        ({"waiting_for_arena": 1.0}, ""),
        ({"sending": 1.0}, ""),
        ({"casting": 1.0, "from_disk": 0.9, "from_memory": 0.8}, ""),  # nothing that is most of it
        ({}, ""),
    ],
)
def test_the_limit_is_what_most_of_the_workers_time_goes_to(seconds: dict[str, float], word: str) -> None:
    meter = Meter(MIB)
    tally = tally_of((meter, {0: "unet"}))

    meter.seconds.update(seconds)

    assert tally.look().limit == word


def test_the_limit_is_that_of_the_last_moments() -> None:
    meter = Meter(MIB)
    meter.seconds["from_disk"] = 50.0  # before the load took it
    tally = tally_of((meter, {0: "unet"}))
    for _ in range(3):
        meter.seconds["from_memory"] += 1.0
        assert tally.look().limit == "memory"

    for _ in range(5):
        meter.seconds["casting"] += 1.0
        last = tally.look().limit

    assert last == "casting"


def test_bytes_that_are_given_up_are_not_said_to_have_arrived() -> None:
    meter = Meter(4 * MIB)
    tally = tally_of((meter, {0: "unet"}))
    meter.arrived[0] = MIB
    assert tally.look().total == 4 * MIB

    meter.whole[0] = MIB  # as of a load that is gone

    progress = tally.look()
    assert (progress.done, progress.total) == (MIB, 4 * MIB)


def test_at_the_end_all_has_arrived_unless_the_load_has_failed_and_nothing_limits_it() -> None:
    last = Progress(3, 4, "unet", "disk")

    assert at_end(last, failed=False) == Progress(4, 4, "", "")
    assert at_end(last, failed=True) == Progress(3, 4, "unet", "")
