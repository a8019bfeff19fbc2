"""The generators of random numbers that a model's construction may draw from: torch's, Python's, numpy's."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

# How to get a generator's state, to put it back, and to tell whether two are the same.
_Generator = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any, Any], bool]]
States = Sequence[tuple[_Generator, Any]]


def states() -> States:
    """Return the state of each generator that there is."""
    found: list[tuple[_Generator, Any]] = []
    for generator in _generators():
        # A device that is capturing a graph gives no state away; nothing is drawn there either.
        with contextlib.suppress(RuntimeError):
            found.append((generator, generator[0]()))
    return found


def same(before: States, after: States) -> bool:
    """Tell whether nobody has drawn meanwhile."""
    pairs = zip(before, after, strict=False)
    return len(before) == len(after) and all(generator[2](state, now) for (generator, state), (_, now) in pairs)


def restore(before: States) -> None:
    """Bring each generator back to a state.

    One that did not draw is left alone, so that what another thread draws meanwhile is seldom drawn again.
    """
    for (get, put, is_same), state in before:
        if not is_same(state, get()):
            put(state)


def _generators() -> list[_Generator]:
    import torch

    found: list[_Generator] = [
        (torch.get_rng_state, torch.set_rng_state, lambda a, b: bool(torch.equal(a, b))),
        (random.getstate, random.setstate, lambda a, b: a == b),
    ]
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_initialized():
            found.append((module.get_rng_state_all, module.set_rng_state_all, _all_equal))
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        found.append((numpy_random.get_state, numpy_random.set_state, _same_numpy_state))
    return found


def _all_equal(ours: Any, others: Any) -> bool:
    return len(ours) == len(others) and all(bool(a.equal(b)) for a, b in zip(ours, others, strict=True))


def _same_numpy_state(ours: Any, others: Any) -> bool:
    return bool((ours[1] == others[1]).all()) and (ours[0], *ours[2:]) == (others[0], *others[2:])
