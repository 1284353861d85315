"""Sizes that a model is imported for besides the largest ones, by which it is seen how it depends on each dimension.

What a model makes of sizes are numbers: 27 may be 20 + 7 or 9 * 3. So each dimension changes by itself once, which
tells what depends on it and by how much, and all of them together once more, where what is no sum of multiples of them
would be another number. No choice depends on the order or the names of the dimensions.

A model of one element, or of none, is often another model (what is repeated once is not repeated), so nothing is
compared at 0 and 1. Where a range has too few sizes besides these, larger ones take their place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...sizes import Dimension

Values = Mapping[str, int]
LEAST = 2  # of what is compared


def imported_for(dimension: Dimension) -> int:
    """The size that a model is imported for, and has room for: the bound, which is never 1 where it may be less."""
    return max(dimension.bound, LEAST) if dimension.least < dimension.bound else dimension.bound


def samples(dimensions: Sequence[Dimension], largest: Values) -> list[Values]:
    """Values of all dimensions for which imports are compared with that for the largest.

    Args:
        dimensions: those that may change.
        largest: the values of all of them, and of those that are fixed.
    """
    varying = [each for each in dimensions if each.least < each.bound]
    pairs = {each.name: _two_others(each, largest[each.name]) for each in varying}
    found: list[Values] = [{**largest, name: alone} for name, (alone, _) in pairs.items()]
    together = {**largest, **{name: other for name, (_, other) in pairs.items()}}
    return found if together in (*found, largest) else [*found, together]


def _two_others(dimension: Dimension, largest: int) -> tuple[int, int]:
    """Two values besides the largest; the same twice where a range has no third one, and all of it is seen."""
    below = range(max(dimension.least, LEAST), largest)
    if len(below) > 1:
        return below[-1], below[0]
    if dimension.least >= LEAST:
        return below[0], below[0]
    one, other, *_ = (*below, largest + 1, largest + 2)
    return one, other


def ends(dimensions: Sequence[Dimension], largest: Values) -> Values | None:
    """The smallest values of all; None where nothing is smaller than what is compared."""
    if all(each.least >= LEAST for each in dimensions):
        return None
    return {**largest, **{each.name: each.least for each in dimensions}}
