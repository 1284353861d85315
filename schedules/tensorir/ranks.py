"""Sorting by ranks: how many come before each, counted for all at once."""

from __future__ import annotations

from tvm import te, tirx

from ...ir_types import PrimFunc, Scalar, Stmt
from ...tensorir_kernel import everything, kernel
from ...tensorir_keys import compare_rows, key
from ...tensorir_statements import int64, load, loop, store, tensor, variables


def top_k(x: te.Tensor, axis: int, count: int, *, largest: bool) -> list[te.Tensor]:
    """The `count` largest (or smallest) along an axis, best first, and their positions (int64).

    Every element's rank is the number of elements that come before it; the element of rank r is output r. That is
    quadratic in the axis' extent but free of data-dependent control flow; equal elements keep their order, and NaN
    counts as larger than every number, as it does for numpy, PyTorch and ONNX Runtime.
    """
    extent = x.shape[axis]
    other = te.reduce_axis((0, extent), name="other")
    keys = te.compute(x.shape, lambda *i: key(x(*i), str(x.dtype)), name="keys", tag="injective")

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


def row_order(rows: int, columns: int, dtype: str) -> PrimFunc:
    """A PrimFunc from a matrix to the positions (int64[rows]) of its rows from the least on, equal ones in order."""
    x, order = tensor((rows, columns), dtype, "x"), tensor((rows,), "int64", "order")
    sign, rank = variables(1, "int32", "sign"), variables(1, "int64", "rank")

    def body(mine: Scalar) -> list[Stmt]:
        def visit(other: Scalar) -> list[Stmt]:
            tie = tirx.all(load(sign, 0) == tirx.const(0, "int32"), other < mine)
            before = tirx.any(load(sign, 0) < tirx.const(0, "int32"), tie)
            more = tirx.Select(before, int64(1), int64(0))
            return [*compare_rows(x, other, mine, sign), store(rank, load(rank, 0) + more, 0)]

        return [store(rank, int64(0), 0), loop(rows, visit), store(order, mine, load(rank, 0))]

    return kernel("row_order", (rows,), body, keeps=[sign, rank], reads=[everything(x)], writes=[everything(order)])
