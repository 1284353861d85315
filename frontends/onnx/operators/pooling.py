"""Pooling over windows and over whole spatial extents."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import relax

from .. import te_pooling, tir_extrema
from ..dtypes import accumulator, is_float, lowest
from ..limits import check_table
from ..node import Expr, Node, Result, dtype_of, shape_of
from ..registry import operator
from ..windows import Window, cropped, read_window

_MAX_POOLS = {1: relax.op.nn.max_pool1d, 2: relax.op.nn.max_pool2d, 3: relax.op.nn.max_pool3d}
_AVERAGE_POOLS = {1: relax.op.nn.avg_pool1d, 2: relax.op.nn.avg_pool2d, 3: relax.op.nn.avg_pool3d}


def _window(node: Node) -> Window:
    shape = node.shape(0)
    kernel = node.attr_ints("kernel_shape")
    if len(shape) < 3 or kernel is None or len(kernel) != len(shape) - 2:
        raise node.invalid("pooling needs [N, C, spatial...] and a kernel_shape for each spatial dimension")
    return read_window(node, shape[2:], kernel, same_may_cut=True)


@operator("MaxPool")
def max_pool(node: Node) -> Result:
    """Maximum over windows; the second output is where in the input it was found."""
    window = _window(node)
    x = node.expr(0)
    rank = len(window.kernel)
    if node.wants(1):
        return _max_pool_with_indices(node, x, window)
    if rank not in _MAX_POOLS or not is_float(dtype_of(x)):
        return node.emit_te(te_pooling.max_pool, x, window)
    x, window = cropped(node, x, window)
    return _MAX_POOLS[rank](
        x, pool_size=window.kernel, strides=window.strides, dilation=window.dilations, **_padding(node, x, window)
    )


def _padding(node: Node, x: Expr, window: Window) -> dict[str, Any]:
    """Padding, and `ceil_mode`, which leaves out what the last window needs besides: that depends on the size of x."""
    if node.attr_flag("ceil_mode", False):
        taps = [(size - 1) * step + 1 for size, step in zip(window.kernel, window.dilations, strict=True)]
        rooms = [sum(each) for each in zip(shape_of(x)[2:], window.begins, window.ends, strict=True)]
        windows = [
            -(-(room - reach) // step) + 1 for room, reach, step in zip(rooms, taps, window.strides, strict=True)
        ]
        if tuple(windows) == window.output:
            return {"padding": (*window.begins, *window.ends), "ceil_mode": True}
    return {"padding": window.padding}


def _max_pool_with_indices(node: Node, x: Expr, window: Window) -> Result:
    shape, dtype = shape_of(x), dtype_of(x)
    column_major = node.attr_flag("storage_order", False)
    planes = shape[0] * shape[1]
    kernel = tir_extrema.max_pool_with_indices(planes, window, shape[2:], dtype, column_major=column_major)
    if any(window.padding):
        x = node.emit_te(te_pooling.padded, x, window, lowest(dtype))
    found = node.emit_kernel(kernel, node.reshape(x, (planes, *shape_of(x)[2:])))
    return [node.reshape(each, (*shape[:2], *window.output)) for each in found]


@operator("AveragePool")
def average_pool(node: Node) -> Result:
    """Mean over windows; `count_include_pad` counts the given padding, never what ceil_mode adds beyond it."""
    window = _window(node)
    x = node.expr(0)
    rank = len(window.kernel)
    include = node.attr_flag("count_include_pad", False)
    plain = rank in _AVERAGE_POOLS and max(window.dilations) == 1
    if plain and not (include and any(window.extra)):
        x, window = cropped(node, x, window)
        return _AVERAGE_POOLS[rank](
            x,
            pool_size=window.kernel,
            strides=window.strides,
            count_include_pad=include and any(window.padding),
            **_padding(node, x, window),
        )
    dtype = dtype_of(x)
    wide = _widened(node, x)
    total = node.emit_te(te_pooling.sum_pool, wide, window)
    counts = _counts(window, node.shape(0)[2:], include).astype(dtype_of(wide))
    return _narrowed(node, relax.op.divide(total, node.emit(counts)), dtype)


def _counts(
    window: Window, spatial: tuple[int, ...], include_pad: bool
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """How many elements each window averages over: a product of counts by dimension."""
    check_table(math.prod(window.output), "the counts of a pool's windows")
    counts = np.ones((), np.float64)
    for axis, extent in enumerate(spatial):
        starts = np.arange(window.output[axis]) * window.strides[axis] - window.begins[axis]
        first = -window.begins[axis] if include_pad else 0
        last = extent + window.ends[axis] if include_pad else extent
        # The taps of a window lie at start + tap * dilation: how many before the first element, and before the end.
        before, within = (
            np.clip(-((starts - bound) // window.dilations[axis]), 0, window.kernel[axis]) for bound in (first, last)
        )
        counts = counts[..., None] * (within - before)
    return np.maximum(counts, 1.0)


@operator("LpPool")
def lp_pool(node: Node) -> Result:
    """The p-norm over windows."""
    p = _norm_order(node)
    powers = _power(node, relax.op.abs(_widened(node, node.expr(0))), p)
    total = node.emit_te(te_pooling.sum_pool, node.emit(powers), _window(node))
    return _narrowed(node, _power(node, total, 1.0 / p), node.dtype(0))


@operator("GlobalAveragePool")
def global_average_pool(node: Node) -> Result:
    """Mean over all spatial dimensions."""
    return relax.op.mean(node.expr(0), _spatial_axes(node), keepdims=True)


@operator("GlobalMaxPool")
def global_max_pool(node: Node) -> Result:
    """Maximum over all spatial dimensions."""
    return relax.op.max(node.expr(0), _spatial_axes(node), keepdims=True)


@operator("GlobalLpPool")
def global_lp_pool(node: Node) -> Result:
    """The p-norm over all spatial dimensions."""
    p = _norm_order(node)
    powers = _power(node, relax.op.abs(_widened(node, node.expr(0))), p)
    total = node.emit(relax.op.sum(powers, _spatial_axes(node), keepdims=True))
    return _narrowed(node, _power(node, total, 1.0 / p), node.dtype(0))


def _widened(node: Node, x: Expr) -> Expr:
    """x in the dtype that sums are taken in."""
    wide = accumulator(dtype_of(x))
    return x if wide == dtype_of(x) else node.emit(relax.op.astype(x, wide))


def _narrowed(node: Node, total: Expr, dtype: str) -> Expr:
    """What was computed of sums, rounded once."""
    total = node.emit(total)
    return total if dtype_of(total) == dtype else relax.op.astype(total, dtype)


def _spatial_axes(node: Node) -> list[int]:
    return list(range(2, len(node.shape(0))))


def _norm_order(node: Node) -> float:
    """The attribute p: a float in opset 1, an int since."""
    return node.attr_float("p", 2.0) if node.opset < 2 else float(node.attr_int("p", 2))


def _power(node: Node, x: Expr, exponent: float) -> Expr:
    if exponent == 1.0:
        return x
    x = node.emit(x)
    if exponent == 2.0:
        return relax.op.multiply(x, x)
    if exponent == 0.5:
        return relax.op.sqrt(x)
    return relax.op.power(x, node.scalar(exponent, dtype_of(x)))


@operator("MaxUnpool")
def max_unpool(node: Node) -> Result:
    """Values put back where MaxPool found them; zero elsewhere."""
    x, indices = node.expr(0), node.expr(1)
    shape = shape_of(x)
    rank = len(shape) - 2
    kernel = node.attr_ints("kernel_shape") or (1,) * rank
    strides = node.attr_ints("strides") or (1,) * rank
    pads = node.attr_ints("pads") or (0,) * (2 * rank)
    spatial = [(shape[2 + a] - 1) * strides[a] + kernel[a] - pads[a] - pads[rank + a] for a in range(rank)]
    inferred = (*shape[:2], *spatial)
    output = tuple(node.static_ints(2, "the output's shape")) if node.has(2) else inferred
    return node.emit_te(te_pooling.max_unpool, x, indices, inferred, output)
