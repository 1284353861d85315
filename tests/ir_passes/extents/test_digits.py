"""Axes as digits: what is there of a reshaped tensor is what was there before."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from tilewright.ir_passes.extents.digits import (
    Digit,
    axis_of,
    conditions,
    flat_conditions,
    merged,
    of_sizes,
    regrouped,
    size_of,
    whole,
)
from tilewright.sizes import Dimension, value_of

B, S = Dimension("B", 3, 1), Dimension("S", 8, 1)
BOUNDS = {"B": 3, "S": 8}


def there(extents: tuple[tuple[Digit, ...], ...], values: dict[str, int]) -> np.ndarray:
    """Where elements are, told by the conditions."""
    shape = [math.prod(digit.bound for digit in axis) for axis in extents]
    found = np.ones(shape, bool)
    for axis, step, bound, size in conditions(extents):
        position = np.arange(shape[axis]) // step
        line = (position % bound if bound else position) < value_of(size, values)
        found &= line.reshape([-1 if each == axis else 1 for each in range(len(shape))])
    return found


@pytest.mark.parametrize(
    "shape",
    [(24, 12), (3, 8, 3, 4), (3, 8, 12), (3, 32, 3), (24, 3, 4), (288,), (1, 3, 1, 8, 12), (3, 16, 6)],
)
def test_reshapes_keep_what_is_there(shape: tuple[int, ...]) -> None:
    extents = of_sizes([B.size, S.size, 12], BOUNDS)
    found = regrouped(extents, shape)
    assert found is not None
    for b, s in itertools.product((1, 2, 3), (1, 5, 8)):
        values = {"B": b, "S": s}
        assert np.array_equal(there(found, values).reshape(-1), there(extents, values).reshape(-1))
    assert regrouped(found, (3, 8, 12)) == extents


@pytest.mark.parametrize("shape", [(2, 144), (3, 2, 48), (36, 8), (3, 4, 24)])
def test_an_axis_does_not_end_within_a_dimension(shape: tuple[int, ...]) -> None:
    assert regrouped(of_sizes([B.size, S.size, 12], BOUNDS), shape) is None


def test_axes_that_are_joined() -> None:
    varies, table = of_sizes([S.size], BOUNDS)[0], whole([8])[0]
    assert merged(varies, table) == merged(table, varies) == varies
    assert merged((), table) == table
    assert merged(varies, axis_of([Digit(8, S.size + 1)])) is None


def test_what_is_there_throughout_is_part_of_the_digit_before_it() -> None:
    (digit,) = axis_of([Digit(8, S.size), Digit(2, 2), Digit(5, 5)])
    assert digit.bound == 80 and size_of((digit,)) == S.size * 10


def test_places_in_memory_stay_where_a_tensor_is_reshaped() -> None:
    tensor = of_sizes([2, S.size, 4, B.size], BOUNDS)
    assert flat_conditions(tensor) == [(12, 8, S.size), (1, 3, B.size)]
    flat = regrouped(tensor, (16, 12))
    assert flat is not None and flat_conditions(flat) == flat_conditions(tensor)
