"""Reductions along axes, positions of extrema, running sums, the largest k."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from tvm import relax

from .. import tir_extrema, tir_scan
from ..dtypes import accumulator, is_float
from ..node import Expr, Node, Result, dtype_of, shape_of
from ..registry import operator

_Reduction = Callable[[Node, Expr, list[int], bool], Expr]


def _sum(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    return relax.op.sum(x, axes, keepdims)


def _mean(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    dtype = dtype_of(x)
    if is_float(dtype):
        return relax.op.mean(x, axes, keepdims)
    # Integers: the quotient of the sum, its fraction dropped.
    wide = "uint64" if dtype.startswith("uint") else "int64"
    total = relax.op.sum(relax.op.astype(x, wide), axes, keepdims)
    count = math.prod(shape_of(x)[axis] for axis in axes)
    return relax.op.astype(relax.op.divide(total, node.scalar(max(count, 1), wide)), dtype)


def _product(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    return relax.op.prod(x, axes, keepdims)


def _max(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    return relax.op.max(x, axes, keepdims)


def _min(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    return relax.op.min(x, axes, keepdims)


def _l1(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    return relax.op.sum(relax.op.abs(x), axes, keepdims)


def _square_sum(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    return relax.op.sum(relax.op.multiply(x, x), axes, keepdims)


def _l2(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    return _through_float(_square_sum(node, x, axes, keepdims), relax.op.sqrt, dtype_of(x))


def _log_sum(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    return _through_float(relax.op.sum(x, axes, keepdims), relax.op.log, dtype_of(x))


def _log_sum_exp(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    """With the maximum taken out first, so that exp cannot overflow."""
    dtype = dtype_of(x)
    wide = x if is_float(dtype) else node.emit(relax.op.astype(x, "float64"))
    peak = node.emit(relax.op.max(wide, axes, True))
    # An infinite maximum would make inf - inf.
    finite = relax.op.where(relax.op.isfinite(peak), peak, node.scalar(0, dtype_of(wide)))
    peak = node.emit(finite)
    total = relax.op.sum(relax.op.exp(relax.op.subtract(wide, peak)), axes, True)
    result = node.emit(relax.op.add(relax.op.log(total), peak))
    if not keepdims:
        result = node.reshape(result, [dim for axis, dim in enumerate(shape_of(x)) if axis not in axes])
    return result if is_float(dtype) else relax.op.astype(result, dtype)


def _through_float(x: Expr, function: Callable[[Expr], Expr], dtype: str) -> Expr:
    """function(x) for integers too, through float64."""
    return function(x) if is_float(dtype) else relax.op.astype(function(relax.op.astype(x, "float64")), dtype)


_REDUCTIONS: Mapping[str, _Reduction] = MappingProxyType(
    {
        "ReduceL1": _l1,
        "ReduceL2": _l2,
        "ReduceLogSum": _log_sum,
        "ReduceLogSumExp": _log_sum_exp,
        "ReduceMax": _max,
        "ReduceMean": _mean,
        "ReduceMin": _min,
        "ReduceProd": _product,
        "ReduceSum": _sum,
        "ReduceSumSquare": _square_sum,
    }
)


@operator(*_REDUCTIONS)
def reduction(node: Node) -> Result:
    """A reduction over axes: an attribute, or from opset 13 (sum) and 18 (others) an input; all if none are given."""
    shape = node.shape(0)
    given = list(node.attr_ints("axes") or ())
    if node.has(1):
        given = node.static_ints(1, "the axes") if node.shape(1) != (0,) else []
    if not given and node.attr_flag("noop_with_empty_axes", False):
        return _without_reduction(node)
    axes = sorted({node.axis(axis, len(shape)) for axis in given}) or list(range(len(shape)))
    keepdims = node.attr_flag("keepdims", True)
    return _reduced(node, node.expr(0), axes, keepdims) if shape else _without_reduction(node)


# These are one operator of Relax, which sums in a wider dtype by itself; the others would round on the way.
_SINGLE_STEP = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"})


def _reduced(node: Node, x: Expr, axes: list[int], keepdims: bool) -> Expr:
    """The reduction, computed in the dtype that holds what comes up on the way, and converted once, at the end."""
    dtype = dtype_of(x)
    wide = "uint8" if dtype == "bool" else dtype if node.op_type in _SINGLE_STEP else accumulator(dtype)
    if wide == dtype:
        return _REDUCTIONS[node.op_type](node, x, axes, keepdims)
    result = node.emit(_REDUCTIONS[node.op_type](node, node.emit(relax.op.astype(x, wide)), axes, keepdims))
    return relax.op.astype(result, dtype)


def _without_reduction(node: Node) -> Expr:
    """What is left of a reduction when every element is its own group."""
    x = node.expr(0)
    grouped = node.emit(node.reshape(x, (*shape_of(x), 1)))
    return _reduced(node, grouped, [len(shape_of(x))], False)


@operator("ArgMax", "ArgMin")
def position_of_extremum(node: Node) -> Result:
    """Position of the largest or smallest along an axis; the first of equals, or the last if asked."""
    x = node.expr(0)
    shape = shape_of(x)
    axis = node.axis(node.attr_int("axis", 0), len(shape))
    keepdims = node.attr_flag("keepdims", True)
    if 0 in shape:
        rest = [1 if each == axis else extent for each, extent in enumerate(shape) if keepdims or each != axis]
        if 0 not in rest:
            raise node.invalid(f"there is nothing to choose from along axis {axis} of {list(shape)}")
        return np.zeros(rest, np.int64)
    return tir_extrema.position_of_extremum(
        node,
        x,
        axis,
        largest=node.op_type == "ArgMax",
        last=node.attr_flag("select_last_index", False),
        keepdims=keepdims,
    )


@operator("CumSum", "CumProd")
def running_total(node: Node) -> Result:
    """Sums (or products) of all elements up to each one along an axis; without itself if exclusive."""
    shape = node.shape(0)
    axis = node.axis(node.static_ints(1, "the axis")[0], len(shape))
    if 0 in shape:
        return node.expr(0)
    flat = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
    kernel = tir_scan.running_total(
        *flat,
        node.dtype(0),
        exclusive=node.attr_flag("exclusive", False),
        reverse=node.attr_flag("reverse", False),
        product=node.op_type == "CumProd",
    )
    return node.reshape(node.emit_kernel(kernel, node.reshape(node.expr(0), flat)), shape)


@operator("TopK")
def top_k(node: Node) -> Result:
    """The k largest or smallest along an axis in order, and their positions; the first of equals comes first."""
    shape = node.shape(0)
    axis = node.axis(node.attr_int("axis", -1), len(shape))
    counts = [node.attr_int("k", 1)] if node.opset < 10 else node.static_ints(1, "k")
    if len(counts) != 1:
        raise node.invalid(f"k has {len(counts)} elements, it is one number")
    (count,) = counts
    if not 0 <= count <= shape[axis]:
        raise node.invalid(f"k is {count}, the axis has {shape[axis]} elements")
    if count == 0 or 0 in shape:
        empty = [count if each == axis else dim for each, dim in enumerate(shape)]
        return [np.zeros(empty, node.dtype(0)), np.zeros(empty, np.int64)]
    return node.top_k(node.expr(0), axis, count, largest=node.attr_flag("largest", True))
