"""Slices, gathers and scatters. Indices may be negative; none is ever read or written outside the tensor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from tvm import relax

from .. import te_indexing
from ..dtypes import numpy_dtype
from ..node import Expr, Node, Result, dtype_of, shape_of
from ..registry import operator


@operator("Slice", since=1)
def slice_by_attributes(node: Node) -> Result:
    """Slice with starts, ends and axes as attributes."""
    starts, ends = list(node.attr_ints("starts") or ()), list(node.attr_ints("ends") or ())
    axes = list(node.attr_ints("axes") or range(len(starts)))
    return _sliced(node, starts, ends, axes, [1] * len(starts))


@operator("Slice", since=10)
def slice_by_inputs(node: Node) -> Result:
    """Slice with starts, ends, axes and steps as inputs."""
    starts, ends = node.static_ints(1, "the starts"), node.static_ints(2, "the ends")
    axes = node.static_ints(3, "the axes") if node.has(3) else list(range(len(starts)))
    steps = node.static_ints(4, "the steps") if node.has(4) else [1] * len(starts)
    return _sliced(node, starts, ends, axes, steps)


def _sliced(node: Node, starts: list[int], ends: list[int], axes: list[int], steps: list[int]) -> Result:
    """A slice with Python's rules. A negative step is a flip and a positive step, so passes only meet positive ones."""
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise node.invalid("starts, ends, axes and steps have different lengths")
    x = node.expr(0)
    shape = list(shape_of(x))
    cuts: list[tuple[int, int, int, int]] = []
    for start, end, given, step in zip(starts, ends, axes, steps, strict=True):
        axis = node.axis(given, len(shape))
        if step == 0:
            raise node.invalid("a step is 0")
        step = max(min(step, shape[axis] + 1), -shape[axis] - 1)  # as far as one that leaves the axis
        chosen = (
            range(*slice(start, end, step).indices(shape[axis]))
            if step > 0
            else _backwards(shape[axis], start, end, step)
        )
        if len(chosen) == shape[axis] and step == 1:
            continue
        extent, shape[axis] = shape[axis], len(chosen)
        if step < 0 and len(chosen):
            x = node.emit(relax.op.flip(x, axis))
            chosen = range(extent - 1 - chosen[0], extent - chosen[-1], -step)
        if len(chosen) < extent:
            cuts.append((axis, chosen.start, chosen[-1] + 1 if len(chosen) else chosen.start, chosen.step))
    if 0 in shape:
        return np.zeros(shape, numpy_dtype(node.dtype(0)))
    if not cuts:
        return x
    columns = [list(column) for column in zip(*cuts, strict=True)]  # axes, begins, ends, steps
    return relax.op.strided_slice(x, *columns, assume_inbound=True)


def _backwards(extent: int, start: int, end: int, step: int) -> range:
    """The positions of a slice with a negative step: a start far below 0 is position 0, an end there is before it."""
    start, end = (each + extent if each < 0 else each for each in (start, end))
    return range(max(min(start, extent - 1), 0), max(min(end, extent - 1), -1), step) if extent else range(0)


@operator("Gather")
def gather(node: Node) -> Result:
    """Slices along one axis by index; one constant index is a slice."""
    shape = node.shape(0)
    axis = node.axis(node.attr_int("axis", 0), len(shape))
    x = node.expr(0)
    known = node.constant(1)
    _check_not_empty(node, [axis])
    if known is None:
        counted = node.computed_of_counts(1)
        if counted is not None and counted.size and counted.max() >= shape[axis]:
            raise node.invalid(f"position {counted.max()} lies outside axis {axis} of {shape[axis]} elements")
        # `wrap` counts negative indices from the end, and keeps every index inside.
        return relax.op.take(x, node.expr(1), axis, mode="wrap")
    if known.size == 0:
        return np.zeros((*shape[:axis], *known.shape, *shape[axis + 1 :]), numpy_dtype(dtype_of(x)))
    indices = known.astype(np.int64)
    indices = np.where(indices < 0, indices + shape[axis], indices)
    if indices.min() < 0 or indices.max() >= shape[axis]:
        raise node.invalid(f"an index lies outside axis {axis} of {shape[axis]} elements")
    if indices.ndim == 0:
        at = int(indices)
        row = relax.op.strided_slice(x, [axis], [at], [at + 1], assume_inbound=True)
        return node.reshape(row, (*shape[:axis], *shape[axis + 1 :]))
    return relax.op.take(x, node.emit(indices), axis, mode="fast")


@operator("GatherElements")
def gather_elements(node: Node) -> Result:
    """One index for every element of the output, along one axis."""
    axis = node.axis(node.attr_int("axis", 0), len(node.shape(0)))
    _check_not_empty(node, [axis])
    _check_known(node, node.shape(0)[axis])
    called = f"gather_elements_axis{axis}_of"  # which axis that is decides what varies of the result
    return node.emit_te(te_indexing.gather_elements, node.expr(0), node.expr(1), axis, called=called)


@operator("GatherND")
def gather_nd(node: Node) -> Result:
    """Index tuples in the last dimension, each naming a slice; the first `batch_dims` dimensions correspond."""
    batch = node.attr_int("batch_dims", 0)
    depth = node.shape(1)[-1]
    if batch + depth > len(node.shape(0)):
        raise node.invalid(f"index tuples of {depth} are too long for rank {len(node.shape(0))}")
    _check_not_empty(node, range(batch, batch + depth))
    _check_known(node, node.shape(0)[batch : batch + depth])
    return node.emit_te(te_indexing.gather_nd, node.expr(0), node.expr(1), batch)


def _check_not_empty(node: Node, axes: Iterable[int]) -> None:
    """No index is inside an axis without elements, where there is nothing to read.

    Raises:
        ModelError: there are indices into such an axis.
    """
    empty = [axis for axis in axes if node.shape(0)[axis] == 0]
    if empty and 0 not in node.shape(1):
        raise node.invalid(f"it reads elements along axis {empty[0]}, which has none")


def _check_known(node: Node, extents: int | Sequence[int]) -> None:
    """Constant indices lie inside.

    Args:
        extents: of the axis that all indices are of, or of one for each element of the last dimension.

    Raises:
        ModelError: one does not.
    """
    known = node.constant(1)
    if known is not None and ((known < -np.asarray(extents)) | (known >= np.asarray(extents))).any():
        raise node.invalid("an index lies outside the tensor")


@operator("ScatterElements", "Scatter")
def scatter_elements(node: Node) -> Result:
    """A copy with elements replaced or combined, one index for every update, along one axis."""
    axis = node.axis(node.attr_int("axis", 0), len(node.shape(0)))
    reduction = node.attr_str("reduction", "none")
    if reduction not in te_indexing.COMBINE:
        raise node.invalid(f"the attribute reduction is '{reduction}'")
    if 0 in node.shape(1):
        return node.expr(0)
    _check_known(node, node.shape(0)[axis])
    return node.emit_te(te_indexing.scatter_elements, node.expr(0), node.expr(1), node.expr(2), axis, reduction)


@operator("ScatterND")
def scatter_nd(node: Node) -> Result:
    """A copy with slices replaced or combined, one index tuple for every update."""
    shape, tuples = node.shape(0), node.shape(1)
    depth, inner = tuples[-1], math.prod(shape[tuples[-1] :])
    reduction = node.attr_str("reduction", "none")
    if reduction not in te_indexing.COMBINE:
        raise node.invalid(f"the attribute reduction is '{reduction}'")
    rows, count = math.prod(shape[:depth]), math.prod(tuples[:-1])
    if count * inner == 0:
        return node.expr(0)
    known = node.constant(1)
    _check_known(node, shape[:depth])
    data = node.emit(node.reshape(node.expr(0), (rows, inner)))
    updates = node.emit(node.reshape(node.expr(2), (count, inner)))
    if known is not None and reduction == "none":
        result = _replace_rows(node, data, updates, known.reshape(count, depth), shape[:depth])
    else:
        places = node.emit(node.reshape(node.expr(1), (count, depth)))
        result = node.emit_te(te_indexing.scatter_rows, data, places, updates, shape[:depth], reduction)
    return node.reshape(result, shape)


def _replace_rows(
    node: Node,
    data: Expr,
    updates: Expr,
    tuples: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    extents: tuple[int, ...],
) -> Expr:
    """Constant indices: which update each row of the result comes from is known now."""
    bounds = np.asarray(extents, np.int64)
    tuples = np.where(tuples < 0, tuples + bounds, tuples)
    source = np.full(math.prod(extents), -1, np.int64)
    strides = np.asarray([math.prod(extents[axis + 1 :]) for axis in range(len(extents))], np.int64)
    for update, row in enumerate(tuples @ strides):
        source[row] = update
    return node.emit_te(te_indexing.choose_rows, data, updates, node.emit(source))


@operator("OneHot")
def one_hot(node: Node) -> Result:
    """`values[1]` where a new axis' position is the index, else `values[0]`; negative indices count from the end."""
    indices, values = node.expr(0), node.expr(2)
    depth = int(node.static(1, "the depth").item())  # of any dtype
    if shape_of(values) != (2,):
        raise node.invalid("the values must be two: off and on")
    rank = len(shape_of(indices)) + 1
    axis = node.axis(node.attr_int("axis", -1), rank)
    return node.emit_te(te_indexing.one_hot, indices, values, depth, axis)


@operator("Trilu")
def triangle(node: Node) -> Result:
    """The upper or lower triangle of the last two dimensions, moved by k diagonals; zero elsewhere."""
    upper = node.attr_flag("upper", True)
    x = node.expr(0)
    if not node.has(1) or node.constant(1) is not None:
        rows, columns = node.shape(0)[-2:]
        shift = min(max(node.static_ints(1, "k")[0] if node.has(1) else 0, -rows), columns)  # all there is, or nothing
        return (relax.op.triu if upper else relax.op.tril)(x, shift)
    shift = node.emit(node.reshape(node.expr(1), ()))
    return node.emit_te(te_indexing.triangle, x, shift, upper)


@operator("TensorScatter")
def tensor_scatter(node: Node) -> Result:
    """A cache with an update written along an axis, from a place on that each batch has of its own."""
    shape, update = node.shape(0), node.shape(1)
    axis = node.axis(node.attr_int("axis", -2), len(shape))
    mode = node.attr_str("mode", "linear")
    fits = len(shape) == len(update) and all(
        given <= extent if each == axis else given == extent
        for each, (extent, given) in enumerate(zip(shape, update, strict=True))
    )
    if not fits or axis == 0 or mode not in ("linear", "circular"):
        raise node.invalid(f"an update of {list(update)} does not fit {list(shape)} along axis {axis}, mode '{mode}'")
    starts = [node.expr(2)] if node.has(2) else []
    circular = mode == "circular"
    return node.emit_te(te_indexing.written_rows, node.expr(0), node.expr(1), *starts, axis=axis, circular=circular)
