"""The garbage collector comes back as it was, and what was made meanwhile does not cost a pass."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from warpload import collector


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_objects_made_while_it_was_suspended_are_old_afterwards() -> None:
    with collector.suspended():
        assert not gc.isenabled()
        made: list[list[object]] = [[] for _ in range(10_000)]
        gc.disable()
    old = {id(thing) for thing in gc.get_objects(generation=2)}
    assert gc.isenabled()
    assert all(id(thing) in old for thing in made)


def test_objects_that_the_program_has_frozen_stay_frozen() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()

    with collector.suspended():
        pass

    assert gc.get_freeze_count() == frozen
