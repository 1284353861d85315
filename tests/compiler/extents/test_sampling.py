"""Which sizes a model is imported for: what they tell, and that nothing depends on the order of dimensions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tilewright.compiler.extents.sampling import ends, imported_for, samples
from tilewright.compiler.extents.sized_constants import Sizes
from tilewright.sizes import Dimension, value_of

_PAST, _SEQ, _BATCH = Dimension("past", 20, 0), Dimension("seq", 7, 1), Dimension("batch", 3, 1)
_SETS = [
    (_PAST, _SEQ, _BATCH),
    (Dimension("N", 2, 1), Dimension("M", 2, 1)),
    (Dimension("H", 8, 7), Dimension("W", 9, 7)),
    (Dimension("a", 1, 0), Dimension("b", 4, 4), Dimension("c", 5, 2)),
]


def _sizes(dimensions: tuple[Dimension, ...]) -> Sizes:
    largest = {each.name: imported_for(each) for each in dimensions}
    return Sizes(dimensions, (largest, *samples(dimensions, largest)))


@pytest.mark.parametrize("dimensions", _SETS)
def test_each_dimension_is_told_from_all_others(dimensions: tuple[Dimension, ...]) -> None:
    sizes = _sizes(dimensions)
    varying = [each for each in dimensions if each.least < each.bound]
    for factors in itertools.product((0, 1, 3), repeat=len(varying)):
        wanted = sum((each.size * factor for each, factor in zip(varying, factors, strict=True)), start=5)
        found = sizes.affine([value_of(wanted, values) for values in sizes.values])
        assert found is not None
        for each in itertools.product(*((each.least, each.bound) for each in varying)):
            at = {one.name: value for one, value in zip(varying, each, strict=True)}
            assert value_of(found, at) == value_of(wanted, at)


def test_a_product_is_no_sum() -> None:
    sizes = _sizes((_PAST, _SEQ, _BATCH))
    assert sizes.affine([each["batch"] * (each["past"] + each["seq"]) for each in sizes.values]) is None


@pytest.mark.parametrize("bound", [2, 3, 4, 9])
def test_a_square_is_no_multiple(bound: int) -> None:
    sizes = _sizes((Dimension("N", bound, 1),))
    assert sizes.affine([each["N"] ** 2 for each in sizes.values]) is None


@pytest.mark.parametrize("dimensions", _SETS)
def test_no_order_changes_what_is_seen(dimensions: tuple[Dimension, ...]) -> None:
    seen = [
        {tuple(sorted(values.items())) for values in _sizes(tuple(order)).values}
        for order in itertools.permutations(dimensions)
    ]
    assert all(each == seen[0] for each in seen)


def test_nothing_is_compared_at_one_or_none() -> None:
    for dimensions in _SETS:
        for values in _sizes(dimensions).values:
            assert min(values.values()) >= 2
    assert ends((_PAST, _BATCH), {"past": 20, "batch": 3}) == {"past": 0, "batch": 1}
    assert ends((Dimension("H", 8, 7),), {"H": 8}) is None


def test_a_table_may_go_on_for_larger_sizes_alone() -> None:
    """What is longer for a smaller size would not have room."""
    from tilewright.compiler.extents.sized_constants import begins

    table = np.arange(9)
    assert begins(table, table[:4]) and begins(table[:4], table, beyond=True)
    assert not begins(table[:4], table) and not begins(table[:4], table[::-1], beyond=True)
