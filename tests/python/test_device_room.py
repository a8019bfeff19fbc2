"""Whether segments fit is answered by the rules of torch's allocator, and before it gives anything up for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import warpload
from support.cards import GIB, MIB, Card, figures_of, segment
from warpload import _core, devices, room


def is_refused(card: Card, *sizes: int) -> bool:
    try:
        card.check(*sizes)
    except warpload.OutOfMemoryError:
        return True
    return False


# -- what is free, and what is allowed --------------------------------------------------------------------------------


def test_what_fits_into_the_free_memory_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)

    assert not is_refused(card, 8 * GIB)
    assert is_refused(card, 8 * GIB + 1)


def test_several_segments_have_to_fit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)

    assert not is_refused(card, 5 * GIB, 3 * GIB)
    assert is_refused(card, 5 * GIB, 3 * GIB + 1)


def test_torchs_limit_for_the_process_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, fraction=0.5)

    assert not is_refused(card, 4 * GIB)
    assert is_refused(card, 4 * GIB + 1)


def test_torchs_limit_counts_what_it_has_reserved_and_cannot_give_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch compares its limit with what it holds, fragments included."""
    card = Card(monkeypatch, fraction=0.5, **figures_of([segment(-GIB, 2 * GIB)]))

    assert not is_refused(card, 2 * GIB, 2 * GIB)  # one from the fragment, one from the driver
    assert is_refused(card, 2 * GIB + MIB)


def test_the_refusal_names_the_device_the_sizes_and_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(warpload.OutOfMemoryError) as caught:
        Card(monkeypatch, free=3 * GIB, reserved=2 * GIB).check(20 * GIB)

    assert isinstance(caught.value, torch.OutOfMemoryError)
    assert isinstance(caught.value, MemoryError)
    for said in ("cuda:3", str(20 * GIB), str(3 * GIB), str(10 * GIB), str(GIB), str(9 * GIB), "fewer components"):
        assert said in str(caught.value), said


# -- the cache --------------------------------------------------------------------------------------------------------


def test_allocations_that_are_wholly_free_are_room_for_one_larger_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch gives them back to the driver when that has no more."""
    card = Card(monkeypatch, free=GIB, **figures_of([segment(-GIB), segment(2 * GIB), segment(3 * GIB, stream=0x99)]))

    assert not is_refused(card, 6 * GIB)
    assert is_refused(card, 6 * GIB + 1)


def test_fragments_between_tensors_in_use_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    fragments = [segment(2 * GIB, -MIB, 2 * GIB), segment(2 * GIB, -MIB)]
    card = Card(monkeypatch, free=GIB, **figures_of(fragments))

    assert is_refused(card, 3 * GIB)
    with pytest.raises(warpload.OutOfMemoryError, match="pieces between tensors in use") as caught:
        card.check(3 * GIB)
    for said in ("cuda:3", str(3 * GIB), str(GIB), str(6 * GIB), "expandable_segments", "before other work"):
        assert said in str(caught.value), said


def test_but_each_serves_a_segment_that_is_no_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    fragments = [segment(2 * GIB, -MIB, 2 * GIB), segment(2 * GIB, -MIB)]
    card = Card(monkeypatch, free=GIB, **figures_of(fragments))

    assert not is_refused(card, 2 * GIB, 2 * GIB, 2 * GIB, GIB)
    assert is_refused(card, 2 * GIB, 2 * GIB, 2 * GIB, 2 * GIB)
    assert not is_refused(card, *[GIB] * 7)  # two of each fragment
    assert is_refused(card, *[GIB] * 8)


def test_the_smallest_piece_that_holds_a_segment_serves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, free=0, **figures_of([segment(3 * GIB, -MIB), segment(GIB, -MIB)]))

    assert not is_refused(card, GIB, 3 * GIB)


def test_a_fragment_of_another_stream_serves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, free=GIB, **figures_of([segment(3 * GIB, -MIB, stream=0x99)]))

    assert is_refused(card, 2 * GIB)


def test_nor_does_one_of_a_graphs_pool_or_of_the_pool_for_small_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, small = segment(3 * GIB, -MIB, segment_pool_id=(0, 1)), segment(3 * GIB, -MIB, segment_type="small")
    card = Card(monkeypatch, free=GIB, **figures_of([graphs, small]))

    assert is_refused(card, 2 * GIB)


def test_another_gpus_cache_is_none_of_this_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = figures_of([segment(3 * GIB, -MIB), segment(3 * GIB, device=1)])
    card = Card(monkeypatch, free=GIB, **figures)

    assert not is_refused(card, 3 * GIB, GIB)
    assert is_refused(card, 4 * GIB)


def test_what_a_segment_is_taken_from_does_not_go_back_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small segment that is served from a large allocation keeps it from the others."""
    card = Card(monkeypatch, free=0, **figures_of([segment(6 * GIB)]))

    assert not is_refused(card, GIB, 5 * GIB)
    card = Card(monkeypatch, free=2 * GIB, **figures_of([segment(6 * GIB)]))
    assert is_refused(card, GIB, 6 * GIB)
    assert not is_refused(card, 6 * GIB, GIB)


def test_memory_that_a_stream_still_uses_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch waits for it before it gives up."""
    whole = segment(2 * GIB, 2 * GIB)
    whole["blocks"][1]["state"] = "active_pending_free"
    card = Card(monkeypatch, free=0, **figures_of([whole]))

    assert not is_refused(card, 4 * GIB)


def test_free_pages_of_expandable_segments_are_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the pool for large tensors they have 20 MiB; a page that is in use in part stays."""
    page = 20 * MIB
    expandable = segment(50 * page + MIB, -(page - 2 * MIB), MIB + 50 * page, -page, is_expandable=True)
    card = Card(monkeypatch, free=GIB, **figures_of([expandable]))

    assert not is_refused(card, GIB + 100 * page)
    assert is_refused(card, GIB + 100 * page + 2 * MIB)


def test_and_one_that_is_free_in_part_serves_a_segment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    expandable = segment(2 * GIB, -MIB, is_expandable=True)
    card = Card(monkeypatch, free=0, **figures_of([expandable]))

    assert not is_refused(card, 2 * GIB)


@pytest.mark.parametrize("silent", ["get_per_process_memory_fraction", "memory_allocated", "memory_snapshot"])
def test_an_allocator_that_does_not_say_decides_itself(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, free=GIB, **figures_of([segment(3 * GIB, -MIB)]))

    def refuse(*_: Any) -> None:
        raise RuntimeError("not supported by this allocator")

    assert is_refused(card, 4 * GIB)
    monkeypatch.setattr(torch.cuda, silent, refuse)
    assert not is_refused(card, 4 * GIB)


# -- what it costs, and what it disturbs ------------------------------------------------------------------------------


def test_the_caches_pieces_are_asked_for_only_where_they_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, **figures_of([segment(-GIB, GIB)]))

    assert not is_refused(card, 8 * GIB)
    assert is_refused(card, 9 * GIB + 1)
    assert card.snapshots == 0
    assert is_refused(card, 9 * GIB)
    assert card.snapshots == 1


def test_room_is_checked_before_anything_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch, free=0)
    monkeypatch.setattr(torch, "empty", lambda *_, **__: pytest.fail("memory was asked for"))
    places = [torch.device("cpu"), Card.device]

    with pytest.raises(warpload.OutOfMemoryError):
        devices.allocate(places, [(0, 100), (1, 100)])


def test_the_allocator_is_asked_beside_captures_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    card, asked, make = Card(monkeypatch), [], torch.empty

    def empty(*size: int, **_: Any) -> torch.Tensor:
        asked.append(card.beside_captures)
        return make(*size, dtype=torch.uint8)

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append(card.beside_captures))
    devices.allocate([Card.device], [(0, 100)])
    devices.release_spare(Card.device)

    assert asked == [True, True]
    assert not card.beside_captures


def test_the_host_has_no_captures_to_disturb() -> None:
    with _core.Device.host_through_slots().beside_captures():
        pass


def test_a_stream_that_is_being_captured_is_refused_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch)

    assert devices.current_stream(Card.device) == Card.stream
    card.capturing = True
    with pytest.raises(warpload.InvalidArgumentError, match="captured into a CUDA graph") as caught:
        devices.current_stream(Card.device)
    assert "cuda:3" in str(caught.value)
    assert "before the capture begins" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "taken"),
    [(1, 2 * MIB), (MIB, 2 * MIB), (MIB + 1, 20 * MIB), (10 * MIB, 10 * MIB), (11 * MIB - 1, 12 * MIB)],
)
def test_torch_takes_more_from_the_driver_than_it_is_asked_for(asked: int, taken: int) -> None:
    assert room.allocation_bytes(asked) == taken
