"""Constants that depend on sizes: how, as imports for several sizes show it.

An integer may grow with sizes (the position of the first new token is the number of tokens before), and so may all
numbers of a table together. A mask of pairs, of rows by columns, may be cut from one band, from its lower right corner:
a query sees what stands before it, however many keys came before the first one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...sizes import Dimension, Size

Array = np.ndarray[Any, Any]
Values = Mapping[str, int]
_EXACT = 1e-6


@dataclass(frozen=True)
class Moved:
    """A table, to all of which a size is added."""

    table: Array
    size: Size


@dataclass(frozen=True)
class Band:
    """An element for each distance of a row and a column: `numbers[places + size]`, of the shape of the places."""

    numbers: Array
    places: Array
    size: Size


@dataclass(frozen=True)
class Sizes:
    """The values of dimensions that a model was imported for: first those that there is room for."""

    dimensions: tuple[Dimension, ...]
    values: tuple[Values, ...]

    def is_beyond(self, values: Values) -> bool:
        """Whether a dimension is larger than what there is room for."""
        return any(values[name] > most for name, most in self.values[0].items())

    def have_room(self, arrays: Sequence[Array]) -> bool:
        """Whether the array for the largest has room for all others, but for those beyond it, all of one rank."""
        large = arrays[0]
        return all(
            each.ndim == large.ndim and (self.is_beyond(values) or _fits(large, each))
            for values, each in zip(self.values, arrays, strict=True)
        )

    def affine(self, numbers: Sequence[int]) -> Size | None:
        """A number as a sum of multiples of the dimensions, from what it is for each of the values."""
        if len(set(numbers)) == 1:
            return numbers[0]
        seen = [each for each in self.dimensions if len({values[each.name] for values in self.values}) > 1]
        names = [each.name for each in seen]
        changes = np.array([[values[name] - self.values[0][name] for name in names] for values in self.values[1:]])
        if not len(changes) or np.linalg.matrix_rank(changes) < len(names):
            return None
        found: Array = np.linalg.lstsq(changes.astype(float), np.array(numbers[1:], float) - numbers[0], rcond=None)[0]
        factors = [round(float(each)) for each in found.tolist()]
        if np.abs(found - factors).max() > _EXACT:
            return None
        first = numbers[0] - sum(factor * self.values[0][name] for factor, name in zip(factors, names, strict=True))
        size: Size = int(first)
        for factor, dimension in zip(factors, seen, strict=True):
            size = dimension.size * factor + size
        exact = all(
            first + sum(factor * values[name] for factor, name in zip(factors, names, strict=True)) == number
            for values, number in zip(self.values, numbers, strict=True)
        )
        return size if exact else None


def _of_both(one: Array, other: Array) -> tuple[Array, Array]:
    """What two arrays of one rank have at the beginnings of all axes."""
    window = tuple(slice(0, min(pair)) for pair in zip(one.shape, other.shape, strict=True))
    return one[window], other[window]


def begins(large: Array, other: Array, *, beyond: bool = False) -> bool:
    """Whether an array is the beginning of another, along all axes.

    Args:
        beyond: whether it may go on behind the end of the other, as it is for a size beyond that of the other.
    """
    if large.ndim != other.ndim or not (beyond or _fits(large, other)):
        return False
    mine, theirs = _of_both(large, other)
    return np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")


def _fits(large: Array, other: Array) -> bool:
    return all(most >= extent for most, extent in zip(large.shape, other.shape, strict=True))


def moved(arrays: Sequence[Array], sizes: Sizes) -> Moved | None:
    """Integers that are a table and a size, if that is what they are."""
    large = arrays[0]
    if large.dtype.kind != "i" or not large.size or not sizes.have_room(arrays):
        return None
    steps = [0]
    for each in arrays[1:]:
        if not each.size:
            return None
        theirs, mine = _of_both(each.astype(np.int64), large)
        distance = theirs - mine
        if distance.min() != distance.max():
            return None
        steps.append(int(distance.min()))
    first = int(large.reshape(-1)[0])
    size = sizes.affine([first + step for step in steps])
    return None if size is None else Moved((large.astype(np.int64) - first).astype(large.dtype), size)


def band(arrays: Sequence[Array], sizes: Sizes) -> Band | None:
    """A mask that is cut from a band, if that is what it is."""
    large = arrays[0]
    if not sizes.have_room(arrays):
        return None
    axes = [
        axis for axis, extents in enumerate(zip(*(each.shape for each in arrays), strict=True)) if len({*extents}) > 1
    ]
    if len(axes) == 1 and axes[0]:  # always as many rows
        axes = [axes[0] - 1, axes[0]]
    if len(axes) != 2 or any(extent > 1 for axis, extent in enumerate(large.shape) if axis not in axes):
        return None
    pairs = [each.reshape([each.shape[axis] for axis in axes]) for each in arrays]
    widest = max(pairs, key=lambda each: each.size)
    rows, columns = widest.shape
    numbers = np.concatenate([widest[:, -1], widest[-1, -2::-1]])  # by their distance from the lower right corner
    for each in pairs:
        down, right = each.shape[0] - 1 - np.arange(each.shape[0]), each.shape[1] - 1 - np.arange(each.shape[1])
        if each.shape[0] > rows or each.shape[1] > columns:
            return None
        places = right[None, :] - down[:, None] + (rows - 1)
        if not np.array_equal(numbers[places], each):
            return None
    lengths = [sizes.affine([each.shape[axis] for each in pairs]) for axis in (0, 1)]
    if lengths[0] is None or lengths[1] is None:
        return None
    places = np.arange(pairs[0].shape[0])[:, None] - np.arange(pairs[0].shape[1])[None, :] + (rows - 1)
    return Band(numbers, places.reshape(large.shape), lengths[1] + lengths[0] * -1)
