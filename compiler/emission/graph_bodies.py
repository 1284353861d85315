"""Loops and branches of a graph: where what a turn or a branch makes is to stand, with as few copies as can be.

What a turn leaves for the next stands in one buffer for all turns. A kernel writes it there at once if by then the turn
has read what was there for the last time; else it is copied at the turn's end. What a branch gives is written where
both leave it, or copied there if it was made outside of the branch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from ..library.plan import Buffer, BufferKind
from .graph_steps import GraphCopy, GraphStep, read_by, renamed, written_by

NewBuffer = Callable[[int], int]  # a buffer of the same size as another


def turn_of(
    steps: Sequence[GraphStep],
    states: Sequence[int],
    results: Sequence[int],
    kept: Sequence[GraphCopy],
    buffers: Sequence[Buffer],
    like: NewBuffer,
    sources: tuple[str, ...],
) -> tuple[GraphStep, ...]:
    """The steps of a turn, at whose end each state holds its result.

    Args:
        states: a buffer each, which the steps read as the turn before left it.
        results: where the steps leave what is to be in each.
        kept: copies of what the turn made, before states are overwritten.
    """
    in_place = places_in_states(steps, states, results, {copy.source for copy in kept}, buffers)
    moved = [(result, state) for result, state in zip(results, states, strict=True) if result != state]
    moved = [(result, state) for result, state in moved if in_place.get(result) != state]
    ends: list[GraphStep] = []
    overwritten = {state for _, state in moved}
    for position, (result, state) in enumerate(moved):
        if result in overwritten:  # another state, before its own turn comes
            aside = like(result)
            ends.append(GraphCopy(result, aside, sources))
            moved[position] = aside, state
    ends += [GraphCopy(result, state, sources) for result, state in moved]
    return (*renamed([*steps, *kept], in_place), *ends)


def branch_of(
    steps: Sequence[GraphStep],
    results: Sequence[int],
    places: Sequence[int],
    buffers: Sequence[Buffer],
    sources: tuple[str, ...],
) -> tuple[GraphStep, ...]:
    """The steps of a branch, at whose end each place holds its result."""
    made = set().union(*(written_by(step) for step in steps))
    names: dict[int, int] = {}
    copies: list[GraphStep] = []
    for result, place in zip(results, places, strict=True):
        if result in made and buffers[result].kind is BufferKind.WORKSPACE and result not in names:
            names[result] = place
        else:
            copies.append(GraphCopy(names.get(result, result), place, sources))
    return (*renamed(steps, names), *copies)


def places_in_states(
    steps: Sequence[GraphStep],
    states: Sequence[int],
    results: Sequence[int],
    also_read: Collection[int],
    buffers: Sequence[Buffer],
) -> dict[int, int]:
    """For results that can stand in their state's buffer from the start, that buffer."""
    first_write: dict[int, int] = {}
    last_read: dict[int, int] = {}
    for position, step in enumerate(steps):
        for buffer in written_by(step):
            first_write.setdefault(buffer, position)
        for buffer in read_by(step):
            last_read[buffer] = position
    times = Counter(results)
    found: dict[int, int] = {}
    for result, state in zip(results, states, strict=True):
        written = first_write.get(result)
        if written is None or times[result] > 1 or buffers[result].kind is not BufferKind.WORKSPACE:
            continue
        if state not in results and state not in also_read and last_read.get(state, -1) < written:
            found[result] = state
    return found
