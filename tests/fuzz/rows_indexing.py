"""Rows of slices, gathers and scatters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from draft import Draft, Unfit
from rows import row
from rows_moves import anything


@row("Slice")
def slice_(d: Draft, op: str) -> None:
    x = d.pick(anything(d), fits=lambda a: a.ndim > 0)
    extents = d.array(x).shape
    axes = d.some(range(len(extents)))
    starts, ends, steps = [], [], []
    for axis in axes:
        extent = extents[axis]
        step = d.one_of((1, 1, 1, 2, 3, -1, -2)) if d.opset >= 10 else 1
        low = d.between(0, extent - 1)
        high = d.between(low + 1, extent)
        if step < 0:
            starts.append(high - 1 - (extent if d.chance(0.3) else 0))
            ends.append(low - 1 if low else -1000)
        else:
            starts.append(low - (extent if d.chance(0.3) else 0))
            ends.append(d.one_of((high, high - extent if high < extent else 1 << 31, high)))
        steps.append(step)
    if d.opset < 10:
        d.node(op, [x], starts=starts, ends=ends, axes=axes)
        return
    given = [axis - len(extents) if d.chance(0.3) else axis for axis in axes]
    d.node(op, [x, *(d.parameter(each) for each in (starts, ends, given, steps))])


def indices(d: Draft, shape: Sequence[int], extent: int, *, distinct: bool = False) -> str:
    """Indices of an axis, some counted from its end: constants or an input."""
    count = int(np.prod(shape))
    if distinct:
        if count > extent:
            raise Unfit
        array = d.rng.permutation(extent)[:count].reshape(shape)
    else:
        array = d.rng.integers(0, extent, shape)
    array = np.where(d.rng.random(tuple(shape)) < 0.2, array - extent, array).astype(np.int64)
    if d.chance(0.2):
        array = array.astype(np.int32)
    return d.constant(array) if d.chance(0.5) else d._input(array)


def _integer_leaf(name: str, d: Draft) -> str:
    d.parameters.add(name) if name in d.constants else None
    return name


@row("Gather")
def gather(d: Draft, op: str) -> None:
    x = d.pick(anything(d), fits=lambda a: a.ndim > 0)
    axis = d.axis(d.rank(x))
    shape = d.one_of(((), (1,), (3,), (7,), (2, 3), (1, 4)))
    d.node(op, [x, _integer_leaf(indices(d, shape, d.array(x).shape[axis]), d)], axis=axis)


@row("GatherElements")
def gather_elements(d: Draft, op: str) -> None:
    x = d.pick(anything(d), fits=lambda a: a.ndim > 0)
    axis = d.axis(d.rank(x))
    shape = [d.between(1, extent) for extent in d.array(x).shape]
    shape[axis] = d.between(1, 6)
    d.node(op, [x, indices(d, shape, d.array(x).shape[axis])], axis=axis)


@row("GatherND")
def gather_nd(d: Draft, op: str) -> None:
    x = d.pick(anything(d), fits=lambda a: a.ndim > 0)
    extents = d.array(x).shape
    depth = d.between(1, len(extents))
    d.node(op, [x, _tuples(d, extents[:depth], d.one_of(((3,), (2, 2), (5,))))])


def _tuples(d: Draft, extents: Sequence[int], shape: Sequence[int], *, distinct: bool = False) -> str:
    """Tuples of indices in the last dimension: constants or an input."""
    count, total = int(np.prod(shape)), int(np.prod(extents))
    if distinct and count > total:
        raise Unfit
    flat = d.rng.permutation(total)[:count] if distinct else d.rng.integers(0, total, count)
    array = np.stack(np.unravel_index(flat, tuple(extents)), -1).reshape(*shape, len(extents)).astype(np.int64)
    return d.constant(array) if d.chance(0.5) else d._input(array)


@row("ScatterElements")
def scatter_elements(d: Draft, op: str) -> None:
    x = d.pick(fits=lambda a: 0 < a.ndim <= 3)
    extents = d.array(x).shape
    axis = d.axis(len(extents))
    shape = [d.between(1, extent) for extent in extents]
    shape[axis] = min(shape[axis], 6)
    # Every row names each place at most once: which of two updates stands is not defined.
    rows = [d.rng.permutation(extents[axis])[: shape[axis]] for _ in range(int(np.prod(shape)) // shape[axis])]
    moved = [extent for i, extent in enumerate(shape) if i != axis % len(extents)]
    array = np.moveaxis(np.asarray(rows).reshape(*moved, shape[axis]), -1, axis).astype(np.int64)
    name = d.constant(array) if d.chance(0.5) else d._input(array)
    reductions = (None, "none", "add", "mul", *(("max", "min") if d.opset >= 18 else ()))
    reduction = d.one_of(reductions) if d.opset >= 16 else None
    d.node(op, [x, name, d.leaf(shape, d.dtype)], axis=axis, reduction=reduction)


@row("ScatterND")
def scatter_nd(d: Draft, op: str) -> None:
    x = d.pick(fits=lambda a: a.ndim > 0)
    extents = d.array(x).shape
    depth = d.between(1, len(extents))
    shape = d.one_of(((1,), (3,), (2, 2)))
    reductions = (None, "none", "add", "mul", *(("max", "min") if d.opset >= 18 else ()))
    reduction = d.one_of(reductions) if d.opset >= 16 else None
    tuples = _tuples(d, extents[:depth], shape, distinct=True)
    d.node(op, [x, tuples, d.leaf((*shape, *extents[depth:]), d.dtype)], reduction=reduction)


@row("OneHot")
def one_hot(d: Draft, op: str) -> None:
    depth = d.between(2, 9)
    where = indices(d, d.shape(d.between(1, 2)), depth)
    if d.array(where).dtype != np.int64 or d.dtype != "float32" or d.array(where).size > 600 or d.opset < 11:
        raise Unfit
    d.node(op, [where, d.parameter(depth), d.leaf((2,))], axis=d.one_of((None, -1, 0, 1)))
