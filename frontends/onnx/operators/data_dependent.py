"""Operators whose result is as large as data says: see `ragged.py`."""

from __future__ import annotations

import math

import numpy as np
from tvm import relax, te, tirx

from ....ir_passes.dialect.row_order import row_order
from ....ir_types import Scalar
from .. import ragged, tir_choices
from ..dtypes import accumulator, is_float, numpy_dtype
from ..in_flight import Ragged
from ..limits import check_tensor
from ..node import Expr, Node, Result
from ..registry import operator
from .cast import converted


def _positions(node: Node, mask: Expr, extent: int) -> tuple[Expr, Expr]:
    """Where a mask of bools is set, in order, and how often."""
    flat = node.reshape(node.emit(relax.op.astype(mask, "uint8")), (extent,))
    places, count = node.emit_kernel(tir_choices.true_positions(extent, extent), flat)
    return places, count


@operator("NonZero")
def non_zero(node: Node) -> Result:
    """Where elements are not zero: [rank, count]."""
    shape = node.shape(0)
    elements = math.prod(shape)
    if not shape or not elements:
        raise node.unsupported("a scalar is not supported")
    places, count = _positions(node, converted(node, node.expr(0), "bool"), elements)
    rank = len(shape)

    def coordinates(place: te.Tensor, number: te.Tensor) -> te.Tensor:
        def element(j: Scalar) -> Scalar:
            there = tirx.max(number(0), tirx.const(1, "int64"))
            axis, k = tirx.floordiv(j, there), tirx.min(tirx.floormod(j, there), elements - 1)
            at: Scalar = tirx.const(0, "int64")
            for each in range(rank):
                inner = math.prod(shape[each + 1 :])
                own = tirx.floormod(tirx.floordiv(place(k), inner), shape[each])
                at = tirx.Select(axis == each, own, at)
            return at

        return te.compute((rank * elements,), element, name="coordinates")

    flat = node.emit_te(coordinates, places, count)
    extents = ragged.extents_of(node, count, (rank, elements), 1)
    return [Ragged(node.emit(node.reshape(flat, (rank, elements))), extents)]


def _along(node: Node) -> tuple[Expr, tuple[int, ...], int]:
    """The first input, its shape, and the axis that is chosen along; without one the input is flat."""
    x, shape = node.expr(0), node.shape(0)
    if "axis" not in node.attributes:
        shape = (math.prod(shape),)
        x = node.reshape(x, shape)
    return x, shape, node.axis(node.attr_int("axis", 0), len(shape))


@operator("Compress")
def compress(node: Node) -> Result:
    """The slices along an axis (or, without one, the elements) whose condition holds; a short condition ends early."""
    given = node.shape(1)
    x, shape, axis = _along(node)
    length = min(math.prod(given), shape[axis])
    if 0 in (*shape, length):
        return np.zeros(
            [0 if each == axis else extent for each, extent in enumerate(shape)], numpy_dtype(node.dtype(0))
        )
    condition = node.reshape(node.expr(1), (math.prod(given),))
    if length < math.prod(given):
        condition = node.emit(relax.op.strided_slice(condition, [0], [0], [length], assume_inbound=True))
    places, count = _positions(node, condition, length)
    return [_chosen(node, x, shape, axis, places, count, length)]


def _chosen(node: Node, x: Expr, shape: tuple[int, ...], axis: int, places: Expr, count: Expr, room: int) -> Ragged:
    flat = node.reshape(x, (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])))
    largest = tuple(room if each == axis else extent for each, extent in enumerate(shape))
    values = node.emit(node.reshape(ragged.chosen(node, flat, places, count), largest))
    return Ragged(values, ragged.extents_of(node, count, largest, axis))


@operator("Unique")
def unique(node: Node) -> Result:
    """Different elements, or slices along an axis; where each stands first, which one each is, how many there are."""
    dtype = node.dtype(0)
    x, shape, axis = _along(node)
    count, width = shape[axis], math.prod(shape) // max(shape[axis], 1)
    if 0 in shape:
        raise node.unsupported("an empty tensor is not supported")
    order = [axis, *(each for each in range(len(shape)) if each != axis)]
    rows = x if order == list(range(len(shape))) else node.emit(relax.op.permute_dims(x, order))
    rows = node.reshape(rows, (count, width))
    kind = accumulator(dtype) if is_float(dtype) else dtype
    rows = converted(node, rows, "uint8" if dtype == "bool" else kind)
    kind = "uint8" if dtype == "bool" else kind
    by_value = node.attr_flag("sorted", True)
    order = node.emit(row_order(rows))
    kernel = tir_choices.different_rows(count, width, kind, by_value=by_value)
    which, places, counts, total = node.emit_kernel(kernel, rows, order)
    extents = ragged.extents_of(node, total, (count,), 0)
    values = _chosen(node, x, shape, axis, places, total, count)
    return [values, Ragged(places, extents), which, Ragged(counts, extents)]


@operator("NonMaxSuppression")
def non_max_suppression(node: Node) -> Result:
    """Of each class of each batch the best boxes that overlap no better one too much: rows of batch, class and box."""
    corners, scores = node.shape(0), node.shape(1)
    if len(corners) != 3 or len(scores) != 3 or corners[2] != 4 or (corners[0], corners[1]) != (scores[0], scores[2]):
        shapes = f"boxes {list(corners)} and scores {list(scores)}"
        raise node.invalid(f"{shapes} are not [n, boxes, 4] and [n, classes, boxes]")
    batch, classes, boxes = scores
    known = node.constant(2) if node.has(2) else np.zeros(1, np.int64)
    room = boxes if known is None else min(max(int(known.reshape(-1)[0]) if known.size else 0, 0), boxes)
    check_tensor([batch, classes, max(room, 1), 3])
    if 0 in (batch, boxes, classes, room):
        return np.zeros((0, 3), np.int64)
    given = [index for index in (3, 4) if node.has(index) and node.shape(index) != (0,)]
    limits = [node.reshape(node.expr(each) if each in given else np.zeros(1, np.float32), (1,)) for each in (3, 4)]
    most = node.reshape(node.expr(2), (1,))
    centred = node.attr_flag("center_point_box", False)
    kernel = tir_choices.suppressed(batch, classes, boxes, room, centred=centred, limited=4 in given)
    kept, numbers, _ = node.emit_kernel(kernel, node.expr(0), node.expr(1), relax.op.concat(limits, 0), most)
    rows, total = node.emit_kernel(tir_choices.listed(batch, classes, room), kept, numbers)
    return [Ragged(rows, ragged.extents_of(node, total, (batch * classes * room, 3), 0))]
