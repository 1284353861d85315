"""permutation: what it says about reshapes and transposes, against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tilewright.ir_passes.core.permutation import (
    apply,
    channels_last,
    drop_axes,
    identity,
    inverse,
    relative,
    reshape_groups,
    same_bytes,
    split_axes,
    through_reshape,
)

_SHAPES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=5).map(tuple)


@st.composite
def _stored(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = draw(_SHAPES)
    return shape, tuple(draw(st.permutations(range(len(shape)))))


@st.composite
def _reshapes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    shape, order = draw(_stored())
    rest, new = math.prod(shape), []
    while rest > 1:
        divisor = draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0]))
        new.append(divisor)
        rest //= divisor
        if len(new) > 6:
            new.append(rest)
            break
    return shape, tuple(new) or (1,), order


def _array(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(math.prod(shape)).reshape(shape)


@given(_reshapes())
def test_a_reshape_that_goes_through_leaves_the_bytes_alone(case: tuple[tuple[int, ...], ...]) -> None:
    old, new, order = case
    after = through_reshape(order, old, new)
    if after is None:
        return
    stored = _array(old).transpose(order)
    assert (stored.reshape(apply(after, new)) == _array(old).reshape(new).transpose(after)).all()


@given(_reshapes())
def test_the_models_own_order_always_goes_through(case: tuple[tuple[int, ...], ...]) -> None:
    old, new, _ = case
    assert through_reshape(identity(len(old)), old, new) == identity(len(new))


@given(_stored(), st.data())
def test_relative_axes_convert(case: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject) -> None:
    shape, source = case
    target = tuple(data.draw(st.permutations(range(len(shape)))))
    array = _array(shape)
    assert (array.transpose(source).transpose(relative(source, target)) == array.transpose(target)).all()
    is_reshape = (array.transpose(source).reshape(apply(target, shape)) == array.transpose(target)).all()
    assert same_bytes(source, target, shape) == is_reshape


@given(_stored(), st.data())
def test_dropped_axes(case: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject) -> None:
    shape, order = case
    dropped = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True))
    array = _array(shape)
    positions = tuple(inverse(order)[axis] for axis in dropped)
    expected = array.sum(axis=tuple(dropped)).transpose(drop_axes(order, dropped))
    assert (array.transpose(order).sum(axis=positions) == expected).all()


def test_examples() -> None:
    assert channels_last(4) == (0, 2, 3, 1)
    assert reshape_groups((1, 8, 4, 4), (1, 2, 4, 16)) == [((1,), (1, 2)), ((2, 3), (3,))]
    assert through_reshape((0, 2, 3, 1), (2, 8, 4, 4), (2, 8, 16)) == (0, 2, 1)
    assert through_reshape((0, 2, 3, 1), (2, 8, 4, 4), (2, 128)) is None
    assert through_reshape((0, 2, 3, 1), (2, 8, 1, 1), (2, 8)) == (0, 1)


@pytest.mark.parametrize(
    ("shape", "merged", "groups"),
    [
        ((1, 12, 7, 64), (12, 7, 64), [(0, 1), (2,), (3,)]),
        ((2, 3, 4), (6, 4), [(0, 1), (2,)]),
        ((2, 3, 4), (24,), [(0, 1, 2)]),
        ((2, 1, 3, 1), (2, 3), [(0,), (1, 2, 3)]),
        ((6, 4), (2, 3, 4), None),
        ((4, 6), (6, 4), None),
        ((2, 3), (2, 1, 3), None),
    ],
)
def test_split_axes(shape: tuple[int, ...], merged: tuple[int, ...], groups: list[tuple[int, ...]] | None) -> None:
    assert split_axes(shape, merged) == groups
