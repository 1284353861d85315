"""Our own Relax operator that puts a value in place of what is not there of a tensor.

    relax.tilewright.within(x, size, size', ...)

has the shape and dtype of x: an element of x where all conditions hold, and `fill` elsewhere. A condition is
position[axis] // step % bound < size, with int64 scalars as sizes; a bound of 0 stands for no remainder. Attributes:
`fill`, a float; `places`, axis, step and bound of each condition, one after the other; `in_sum`, whether a reduction
alone reads it, which `fill` does not change: its kernel had better put it there itself, and read no more than there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax, te, tirx
from tvm.ir import Op

from ...annotations import MASKS
from ...ir_types import Call, Expr, Node, Scalar, Type
from .registration import register

NAME = "relax.tilewright.within"
Place = tuple[int, int, int]
# Neighbouring results of a convolution that an algorithm computes together, at most: what is read for one of them must
# be numbers that are small, up to what is read for the last.
TOGETHER = 4


def within(x: Expr, places: Sequence[Place], sizes: Sequence[Expr], fill: float, *, in_sum: bool = False) -> Expr:
    """A call of the operator: a place and a size a condition."""
    attributes = tvm.ir.make_node(
        "ir.DictAttrs",
        fill=tirx.FloatImm("float64", fill),
        places=[tirx.IntImm("int64", number) for place in places for number in place],
        in_sum=tirx.IntImm("int64", in_sum),
    )
    return tvm.ir.Call(Op.get(NAME), [x, *sizes], attributes)


def places_of(call: Call) -> list[Place]:
    """Axis, step and bound of each condition of a call."""
    numbers = [int(number) for number in call.attrs["places"]]
    return list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))


def _infer_type(call: Call, context: Node) -> Type:
    return call.args[0].ty


def _legalize(builder: relax.BlockBuilder, call: Call) -> Expr:
    places, dtype = places_of(call), str(call.ty.dtype)
    fill = tirx.const(number_of(float(call.attrs["fill"]), dtype), dtype)

    def compute(x: te.Tensor, *sizes: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Scalar:
            there = []
            for (axis, step, bound), size in zip(places, sizes, strict=True):
                position = index[axis] // step if step > 1 else index[axis]
                there.append((position % bound if bound else position) < size())
            return tirx.Select(tirx.all(*there), x(*index), fill)

        return te.compute(x.shape, element, name="within")

    marks = MASKS.entry() if int(call.attrs["in_sum"]) else {}
    return builder.call_te(compute, *call.args, primfunc_name_hint="within", primfunc_attrs=marks)


def number_of(fill: float, dtype: str) -> float | int | bool:
    """A fill as a number of a dtype: infinities of integers are their ends."""
    if dtype == "bool":
        return fill > 0
    if "int" not in dtype:
        return fill
    bits = int(dtype.lstrip("uint"))
    low, high = (0, (1 << bits) - 1) if dtype.startswith("u") else (-(1 << bits - 1), (1 << bits - 1) - 1)
    return int(min(max(fill, low), high)) if abs(fill) == float("inf") else int(fill)


register(NAME, __doc__, _infer_type, _legalize)
