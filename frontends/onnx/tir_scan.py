"""Running totals along an axis, in linear time: no TE compute reads what it has written."""

from __future__ import annotations

from tvm import tirx

from ...ir_types import PrimFunc, Scalar, Stmt
from ...tensorir_kernel import kernel
from ...tensorir_statements import load, loop, store, tensor, variables
from .dtypes import accumulator


def running_total(
    outer: int, extent: int, inner: int, dtype: str, *, exclusive: bool, reverse: bool, product: bool
) -> PrimFunc:
    """A PrimFunc from [outer, extent, inner] to the same shape: running totals along the axis in the middle.

    Totals are added up one by one, in the order of the axis or against it, in the dtype that sums are kept in:

        for o, i in grid(outer, inner):
            total = 0
            for step in range(extent):     total += x[o, step, i];  y[o, step, i] = total
    """
    kind = accumulator(dtype)
    x, y = (tensor((outer, extent, inner), dtype, name) for name in ("x", "y"))
    total = variables(1, kind, "total")
    so_far = load(total, 0)

    def body(o: Scalar, i: Scalar) -> list[Stmt]:
        def step(index: Scalar) -> list[Stmt]:
            place = (o, extent - 1 - index if reverse else index, i)
            value = load(x, *place) if kind == dtype else load(x, *place).astype(kind)
            add = store(total, so_far * value if product else so_far + value, 0)
            keep = store(y, so_far if kind == dtype else so_far.astype(dtype), *place)
            return [keep, add] if exclusive else [add, keep]

        return [store(total, tirx.const(1 if product else 0, kind), 0), loop(extent, step)]

    along = (lambda o, i: (o, None, i),)
    name = "remaining_total" if reverse else "running_total"
    return kernel(name, (outer, inner), body, keeps=[total], reads=[(x, *along)], writes=[(y, *along)])
