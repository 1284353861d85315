"""TE computes for sorting and running totals. Relax's own call into the runtime, which a standalone library lacks."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx


def top_k(x: te.Tensor, axis: int, count: int, *, largest: bool) -> list[te.Tensor]:
    """The `count` largest (or smallest) along an axis, best first, and their positions (int64).

    Every element's rank is the number of elements that come before it; the element of rank r is output r. That is
    quadratic in the axis' extent but free of data-dependent control flow; equal elements keep their order.
    """
    extent = x.shape[axis]
    other = te.reduce_axis((0, extent), name="other")

    def at(i: tuple[Any, ...], position: Any) -> Any:
        return x(*i[:axis], position, *i[axis + 1 :])

    def rank_of(*i: Any) -> Any:
        mine, theirs = x(*i), at(i, other)
        ahead = theirs > mine if largest else theirs < mine
        tie = tirx.all(theirs == mine, other < i[axis])
        return te.sum(tirx.Select(tirx.any(ahead, tie), tirx.const(1, "int64"), tirx.const(0, "int64")), axis=other)

    ranks = te.compute(x.shape, rank_of, name="ranks")
    shape = [count if each == axis else dim for each, dim in enumerate(x.shape)]
    source = te.reduce_axis((0, extent), name="source")

    def position_of(*i: Any) -> Any:
        rank = ranks(*i[:axis], source, *i[axis + 1 :])
        hit = rank == i[axis].astype("int64")
        return te.sum(tirx.Select(hit, source.astype("int64"), tirx.const(0, "int64")), axis=source)

    positions = te.compute(shape, position_of, name="positions")
    values = te.compute(shape, lambda *i: at(i, positions(*i)), name="values")
    return [values, positions]


def running_total(x: te.Tensor, axis: int, *, exclusive: bool, reverse: bool, product: bool) -> te.Tensor:
    """The sum or product along an axis of all elements up to each one (from it on, if reverse)."""
    source = te.reduce_axis((0, x.shape[axis]), name="source")
    neutral = tirx.const(1 if product else 0, x.dtype)
    reducer = (
        te.comm_reducer(lambda a, b: a * b, lambda dtype: tirx.const(1, dtype), name="product") if product else te.sum
    )

    def element(*i: Any) -> Any:
        here = i[axis]
        if reverse:
            counted = source > here if exclusive else source >= here
        else:
            counted = source < here if exclusive else source <= here
        return reducer(tirx.Select(counted, x(*i[:axis], source, *i[axis + 1 :]), neutral), axis=source)

    return te.compute(x.shape, element, name="running_total")
