"""Elements that a model takes by how far they are from the end of an axis: seen in imports for two sizes.

Of 128 tokens place 127, and of 64 place 63, are the last one; place 5 of both is the sixth. The first 127 of 128, and
63 of 64, are all but the last. One size alone shows neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...ir_passes.core.constants import array_of
from ...ir_passes.dialect.from_end import from_end
from ...ir_passes.dialect.without_end import Left, without_end
from ...ir_passes.extents.step import operator_name, shape_of
from ...ir_types import Call, Expr
from ...slices import slices


@dataclass(frozen=True)
class End:
    """How a call takes elements along an axis whose extent depends on a size.

    Attributes:
        axis: of its operand.
        shape: of the places.
        distances: from the end, 1 for the last element; None where places are counted from the beginning.
    """

    axis: int
    shape: tuple[int, ...]
    distances: tuple[int, ...] | None

    @property
    def says(self) -> bool:
        """Whether the call has to say so."""
        return self.distances is not None

    def call(self, value: Call) -> Expr:
        """The call as one that says so, to be normalized."""
        distances = np.array(self.distances, np.int64).reshape(self.shape)
        return from_end(value.args[0], distances, self.axis)


@dataclass(frozen=True)
class AllBut:
    """A call that takes all elements of axes but some at their ends, which for one at least depend on a size."""

    left: tuple[Left, ...]
    says: bool = True

    def call(self, value: Call) -> Expr:
        """The call as one that says so, to be normalized."""
        return without_end(value.args[0], self.left)


def end_of(large: Call, small: Call) -> End | AllBut | None:
    """How a call takes elements, if its operand has another extent for another size; None where it takes them so."""
    name = operator_name(large) if hasattr(large.op, "name") else ""
    if name == "take":
        return _of_take(large, small)
    return _of_slice(large, small) if name == "strided_slice" else None


def _of_take(large: Call, small: Call) -> End | None:
    places, others = array_of(large.args[1]), array_of(small.args[1])
    if places is None or others is None or large.attrs.axis is None or places.shape != others.shape:
        return None
    axis = int(large.attrs.axis) % len(shape_of(large.args[0].ty))
    one, other = (shape_of(each.args[0].ty)[axis] for each in (large, small))
    return _end(axis, one, other, places, others)


def _of_slice(large: Call, small: Call) -> End | AllBut | None:
    shapes = [shape_of(each.args[0].ty) for each in (large, small)]
    mine, theirs = (slices(each, shape) for each, shape in zip((large, small), shapes, strict=True))
    if mine is None or theirs is None:
        return None
    parts = [axis for axis, extent in enumerate(shapes[0]) if mine[axis] != slice(0, extent, 1)]
    lengths = [len(range(extent)[part]) for extent, part in zip(shapes[0], mine, strict=True)]
    others = [len(range(extent)[part]) for extent, part in zip(shapes[1], theirs, strict=True)]
    if any(lengths[axis] != others[axis] for axis in parts):
        return _all_but(shapes[0], shapes[1], mine, theirs)
    if len(parts) != 1:
        return None
    (axis,) = parts
    one, other = shapes[0][axis], shapes[1][axis]
    return _end(axis, one, other, _places(one, mine[axis]), _places(other, theirs[axis]))


def _all_but(
    shape: Sequence[int], other: Sequence[int], mine: Sequence[slice], theirs: Sequence[slice]
) -> AllBut | None:
    """Slices of which each begins and ends as far from the ends of its axis for one size as for the other."""
    left = [
        (axis, part.start, extent - part.stop)
        for axis, (extent, part) in enumerate(zip(shape, mine, strict=True))
        if part != slice(0, extent, 1)
    ]
    again = [
        slice(part.start, extent - (most - part.stop), 1) for part, most, extent in zip(mine, shape, other, strict=True)
    ]
    return AllBut(tuple(left)) if all(part.step == 1 for part in mine) and again == list(theirs) else None


def _places(extent: int, part: slice) -> Sequence[int]:
    return list(range(extent))[part]


def _end(
    axis: int, one: int, other: int, places: Sequence[int] | np.ndarray, others: Sequence[int] | np.ndarray
) -> End | None:
    mine, theirs = np.asarray(places), np.asarray(others)
    if one == other or not mine.size:
        return None
    if np.array_equal(mine, theirs):
        return End(axis, mine.shape, None)
    if np.array_equal(one - mine, other - theirs):
        return End(axis, mine.shape, tuple(int(each) for each in (one - mine).ravel()))
    return None
