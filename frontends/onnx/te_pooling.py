"""TE computes for pooling that Relax lacks: integers, dilated averages, indices of maxima."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import te, tirx, topi

from ...ir_types import Scalar
from .dtypes import lowest
from .te_keys import key, key_dtype, value_of
from .windows import Window


def _padded(x: te.Tensor, window: Window, value: float | int) -> te.Tensor:
    """x surrounded by a value, so that every window lies inside."""
    rank = len(window.kernel)
    begins, ends = window.padding[:rank], window.padding[rank:]
    if not any(window.padding):
        return x
    shape = [*x.shape[:2], *(x.shape[2 + a] + begins[a] + ends[a] for a in range(rank))]

    def element(*index: Scalar) -> Scalar:
        places = [index[2 + a] - begins[a] for a in range(rank)]
        inside = [condition for a in range(rank) for condition in (places[a] >= 0, places[a] < x.shape[2 + a])]
        return tirx.if_then_else(tirx.all(*inside), x(*index[:2], *places), tirx.const(value, x.dtype))

    return te.compute(shape, element, name="padded")


def _taps(window: Window) -> list[Scalar]:
    return [te.reduce_axis((0, extent), name=f"k{axis}") for axis, extent in enumerate(window.kernel)]


def _places(window: Window, index: Sequence[Scalar], taps: Sequence[Scalar]) -> list[Scalar]:
    """Where in the padded input a tap of a window lies."""
    return [index[2 + a] * window.strides[a] + taps[a] * window.dilations[a] for a in range(len(window.kernel))]


def max_pool(x: te.Tensor, window: Window) -> te.Tensor:
    """Maximum of [N, C, spatial...] over windows, any dtype."""
    padded, taps = _padded(x, window, lowest(str(x.dtype))), _taps(window)
    maximum = te.comm_reducer(
        lambda a, b: tirx.max(a, b), lambda dtype: tirx.const(lowest(str(dtype)), dtype), name="maximum"
    )
    return te.compute(
        (*x.shape[:2], *window.output),
        lambda *i: maximum(padded(*i[:2], *_places(window, i, taps)), axis=taps),
        name="max_pool",
    )


def sum_pool(x: te.Tensor, window: Window) -> te.Tensor:
    """Sum of [N, C, spatial...] over windows."""
    padded, taps = _padded(x, window, 0), _taps(window)
    return te.compute(
        (*x.shape[:2], *window.output),
        lambda *i: te.sum(padded(*i[:2], *_places(window, i, taps)), axis=taps),
        name="sum_pool",
    )


def max_pool_with_indices(x: te.Tensor, window: Window, column_major: bool) -> list[te.Tensor]:
    """Maxima over windows, and the index of each in the flattened input [N, C, spatial...] (int64; first of equals).

    With `column_major` the spatial part of the index counts the first spatial dimension fastest; which of equals is
    first does not depend on it. NaN is the maximum
    where there is one. Where a window holds padding alone, the value is the least of the dtype, and the index 0.
    """
    rank, dtype = len(window.kernel), str(x.dtype)
    extents = [int(extent) for extent in x.shape[2:]]
    taps = _taps(window)
    row_major = [math.prod(extents[axis + 1 :]) for axis in range(rank)]
    far = tirx.const(2**62, "int64")  # the index of what is no element: later than all of them
    least = tirx.min_value(key_dtype(dtype))

    def better(a: Scalar, b: Scalar) -> Scalar:
        take = tirx.any(a[0] > b[0], tirx.all(a[0] == b[0], a[1] <= b[1]))
        return tirx.Select(take, a[0], b[0]), tirx.Select(take, a[1], b[1])

    reducer = te.comm_reducer(lambda a, b: better(a, b), lambda value, index: (least, far), name="first_maximum")

    def element(*i: Scalar) -> Scalar:
        places = _places(window, i, taps)
        source = [places[a] - window.begins[a] for a in range(rank)]
        inside = [condition for a in range(rank) for condition in (source[a] >= 0, source[a] < extents[a])]
        plane = (i[0] * x.shape[1] + i[1]) * math.prod(extents)
        flat = plane + sum(source[a] * row_major[a] for a in range(rank))
        at = tirx.if_then_else(tirx.all(*inside), key(x(*i[:2], *source), dtype), least)
        return reducer((at, tirx.if_then_else(tirx.all(*inside), flat.astype("int64"), far)), axis=taps)

    shape = (*x.shape[:2], *window.output)
    keys, found = te.compute(shape, element, name="max_pool_with_indices")
    lowest_value = tirx.const(lowest(dtype), x.dtype)
    values = te.compute(
        shape,
        lambda *i: tirx.Select(found(*i) == far, lowest_value, value_of(keys(*i), dtype)),
        name="maxima",
        tag=topi.tag.INJECTIVE,
    )

    def index(*i: Scalar) -> Scalar:
        flat = tirx.Select(found(*i) == far, tirx.const(0, "int64"), found(*i))
        if not column_major:
            return flat
        inner = tirx.floormod(flat, math.prod(extents))
        places = [tirx.floormod(tirx.floordiv(inner, row_major[a]), extents[a]) for a in range(rank)]
        return flat - inner + sum(places[a] * math.prod(extents[:a]) for a in range(rank))

    indices = te.compute(shape, index, name="indices", tag=topi.tag.INJECTIVE)
    return [values, indices]


def max_unpool(x: te.Tensor, indices: te.Tensor, inferred: Sequence[int], output: Sequence[int]) -> te.Tensor:
    """Each value at its index in the flattened tensor of shape `inferred`, embedded in `output`; zero elsewhere."""
    rank = len(x.shape) - 2
    taps = [te.reduce_axis((0, extent), name=f"k{axis}") for axis, extent in enumerate(x.shape[2:])]

    def element(*i: Scalar) -> Scalar:
        flat = i[0] * inferred[1] + i[1]
        for axis in range(2, 2 + rank):
            flat = flat * inferred[axis] + i[axis]
        hit = indices(*i[:2], *taps) == flat.astype(indices.dtype)
        inside = tirx.all(*(i[axis] < inferred[axis] for axis in range(2, 2 + rank)))
        return te.sum(tirx.if_then_else(tirx.all(inside, hit), x(*i[:2], *taps), tirx.const(0, x.dtype)), axis=taps)

    return te.compute(tuple(output), element, name="max_unpool")
