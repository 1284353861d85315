"""How much of a tensor is there: every axis as digits, some of which stop before their bound when a library runs.

A model for sizes up to a bound is one of tensors that are as large as at the bound, wherever they lie. Of an axis of B
images of at most 12 and S tokens of at most 128, flattened to 1536, an element is there if both digits of its position
say so: position // 128 < B and position % 128 < S. Reshapes regroup digits, and move nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ...sizes import Size, SizeExpr, value_of


@dataclass(frozen=True)
class Digit:
    """A part of an axis: `bound` positions, of which the first `size` are there; a static one has all of them."""

    bound: int
    size: Size

    @property
    def varies(self) -> bool:
        """Whether the library learns its size when it runs."""
        return isinstance(self.size, SizeExpr)


Axis: TypeAlias = tuple[Digit, ...]  # outermost digit first; those of one position are left out
Extents: TypeAlias = tuple[Axis, ...]


def whole(shape: Iterable[int]) -> Extents:
    """A tensor that is there throughout."""
    return tuple(axis_of([Digit(extent, extent)]) for extent in shape)


def of_sizes(sizes: Iterable[Size], bounds: Mapping[str, int]) -> Extents:
    """A tensor whose axes have these sizes."""
    return tuple(axis_of([Digit(value_of(size, bounds), size)]) for size in sizes)


def axis_of(digits: Iterable[Digit]) -> Axis:
    """An axis of digits; one that is there throughout is part of the one before it."""
    found: list[Digit] = []
    for digit in digits:
        if not digit.varies and digit.bound == 1:
            continue
        if found and not digit.varies:
            outer = found.pop()
            digit = Digit(outer.bound * digit.bound, outer.size * digit.bound)
        found.append(digit)
    return tuple(found)


def varies(axis: Axis) -> bool:
    """Whether some of it may not be there."""
    return any(digit.varies for digit in axis)


def any_varies(extents: Extents) -> bool:
    """Whether some of a tensor may not be there."""
    return any(varies(axis) for axis in extents)


def bound_of(axis: Axis) -> int:
    """Positions of an axis."""
    return math.prod(digit.bound for digit in axis)


def size_of(axis: Axis) -> Size:
    """How many positions of an axis are there."""
    size: Size = 1
    for digit in axis:
        size = digit.size * size
    return size


def regrouped(extents: Extents, shape: Sequence[int]) -> Extents | None:
    """The digits of a tensor that is reshaped; None where an axis would begin or end within a digit that varies."""
    left = list(axis_of(digit for axis in extents for digit in axis))
    axes: list[Axis] = []
    for extent in shape:
        taken: list[Digit] = []
        need = extent
        while need > 1:
            if not left:
                return None
            digit = left.pop(0)
            if need % digit.bound == 0:
                taken.append(digit)
                need //= digit.bound
                continue
            split = _split(digit, need)
            if split is None:
                return None
            taken.append(split[0])
            left.insert(0, split[1])
            need = 1
        axes.append(axis_of(taken))
    return None if any(digit.bound > 1 or digit.varies for digit in left) else tuple(axes)


def _split(digit: Digit, outer: int) -> tuple[Digit, Digit] | None:
    """A digit as two, the first of so many positions."""
    if digit.bound % outer:
        return None
    inner = digit.bound // outer
    if not isinstance(digit.size, SizeExpr):
        return Digit(outer, outer), Digit(inner, inner)
    if any(coefficient % inner for _, coefficient in digit.size.terms):
        return None
    size = SizeExpr(tuple((factors, coefficient // inner) for factors, coefficient in digit.size.terms))
    return Digit(outer, size), Digit(inner, inner)


def merged(one: Axis, other: Axis) -> Axis | None:
    """What is there of an axis along which two tensors are joined element by element; None where they differ.

    What does not vary is a table for the bound, of which as much is used as there is of the other.
    """
    if varies(one) and varies(other):
        return one if one == other else None
    return (one or other) if varies(one) or not varies(other) else other


def conditions(extents: Extents) -> list[tuple[int, int, int, Size]]:
    """When an element is there, one row a digit that varies: (axis, step, bound, size).

    The position along the axis is divided by `step`; the rest by `bound`, 0 where there is nothing outside of it, is
    less than the size.
    """
    rows = []
    for number, axis in enumerate(extents):
        for place, digit in enumerate(axis):
            if digit.varies:
                step = math.prod(each.bound for each in axis[place + 1 :])
                rows.append((number, step, digit.bound if place else 0, digit.size))
    return rows


def flat_conditions(extents: Extents) -> list[tuple[int, int, Size]]:
    """When an element is there, by its place in memory: (step, bound, size), outermost first.

    The place, counted in elements, is divided by `step`; the rest by `bound` is less than the size. Reshapes leave that
    as it is.
    """
    rows: list[tuple[int, int, Size]] = []
    step = 1
    for axis in reversed(extents):
        for digit in reversed(axis):
            if digit.varies:
                rows.append((step, digit.bound, digit.size))
            step *= digit.bound
    return rows[::-1]
