"""TE computes for sorting, positions of extrema, running totals: Relax's own call into the runtime."""

from __future__ import annotations

from tvm import te, tirx

from ...ir_types import Scalar
from .dtypes import accumulator
from .te_keys import key


def _keys(x: te.Tensor, *, nan_is_highest: bool = True) -> te.Tensor:
    return te.compute(
        x.shape, lambda *i: key(x(*i), str(x.dtype), nan_is_highest=nan_is_highest), name="keys", tag="injective"
    )


def top_k(x: te.Tensor, axis: int, count: int, *, largest: bool) -> list[te.Tensor]:
    """The `count` largest (or smallest) along an axis, best first, and their positions (int64).

    Every element's rank is the number of elements that come before it; the element of rank r is output r. That is
    quadratic in the axis' extent but free of data-dependent control flow; equal elements keep their order, and NaN
    counts as larger than every number, as it does for numpy, PyTorch and ONNX Runtime.
    """
    extent = x.shape[axis]
    other = te.reduce_axis((0, extent), name="other")
    keys = _keys(x)

    def at(tensor: te.Tensor, i: tuple[Scalar, ...], position: Scalar) -> Scalar:
        return tensor(*i[:axis], position, *i[axis + 1 :])

    def rank_of(*i: Scalar) -> Scalar:
        mine, theirs = keys(*i), at(keys, i, other)
        ahead = theirs > mine if largest else theirs < mine
        tie = tirx.all(theirs == mine, other < i[axis])
        return te.sum(tirx.Select(tirx.any(ahead, tie), tirx.const(1, "int64"), tirx.const(0, "int64")), axis=other)

    ranks = te.compute(x.shape, rank_of, name="ranks")
    shape = [count if each == axis else dim for each, dim in enumerate(x.shape)]
    source = te.reduce_axis((0, extent), name="source")

    def position_of(*i: Scalar) -> Scalar:
        hit = at(ranks, i, source) == i[axis].astype("int64")
        return te.sum(tirx.Select(hit, source.astype("int64"), tirx.const(0, "int64")), axis=source)

    positions = te.compute(shape, position_of, name="positions")
    values = te.compute(shape, lambda *i: at(x, i, positions(*i)), name="values")
    return [values, positions]


def position_of_extremum(x: te.Tensor, axis: int, *, largest: bool, last: bool, keepdims: bool) -> te.Tensor:
    """Where along an axis the largest (smallest) element stands: the first of equals, or the last (int64).

    NaN wins, as in numpy and PyTorch. ONNX Runtime has it win where it comes first, and lose elsewhere.
    """
    extent = x.shape[axis]
    keys = _keys(x, nan_is_highest=largest)
    inner = te.reduce_axis((0, extent), name="inner")
    place = te.reduce_axis((0, extent), name="place")
    rest = [dim for each, dim in enumerate(x.shape) if each != axis]

    def at(i: tuple[Scalar, ...], position: Scalar) -> Scalar:
        return keys(*i[:axis], position, *i[axis:])

    best = te.compute(
        rest or [1],
        lambda *i: (te.max if largest else te.min)(at(i if rest else (), inner), axis=inner),
        name="extremum",
    )
    miss = tirx.const(-1 if last else int(extent), "int64")

    def position(*i: Scalar) -> Scalar:
        row = (*i[:axis], *i[axis + 1 :]) if keepdims else i if rest else ()
        hit = at(row, place) == best(*(row if rest else (0,)))
        found = tirx.Select(hit, place.astype("int64"), miss)
        return (te.max if last else te.min)(found, axis=place)

    shape = [1 if each == axis else dim for each, dim in enumerate(x.shape)] if keepdims else rest
    return te.compute(shape, position, name="position")


def running_total(x: te.Tensor, axis: int, *, exclusive: bool, reverse: bool, product: bool) -> te.Tensor:
    """The sum or product along an axis of all elements up to each one (from it on, if reverse)."""
    kind = accumulator(str(x.dtype))
    source = te.reduce_axis((0, x.shape[axis]), name="source")
    neutral = tirx.const(1 if product else 0, kind)
    reducer = (
        te.comm_reducer(lambda a, b: a * b, lambda dtype: tirx.const(1, dtype), name="product") if product else te.sum
    )

    def element(*i: Scalar) -> Scalar:
        here = i[axis]
        if reverse:
            counted = source > here if exclusive else source >= here
        else:
            counted = source < here if exclusive else source <= here
        value = x(*i[:axis], source, *i[axis + 1 :]).astype(kind)
        return reducer(tirx.Select(counted, value, neutral), axis=source)

    total = te.compute(x.shape, element, name="running_total")
    if kind == x.dtype:
        return total
    return te.compute(x.shape, lambda *i: total(*i).astype(x.dtype), name="rounded", tag="injective")
