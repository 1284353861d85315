"""Element-wise and indexing operators that TVM would lower with a warning on every use, or without saying enough."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx, topi

from .annotations import CONCAT
from .expressions import Scalar, constant_shape, int64s


def lower_power(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers `relax.power` of floats, broadcast; TVM's own advises against every exponent from 3 up."""
    shape = int64s(constant_shape(call))

    def compute(base: te.Tensor, exponent: te.Tensor) -> te.Tensor:
        x, y = topi.broadcast_to(base, shape), topi.broadcast_to(exponent, shape)

        def element(*index: Any) -> Scalar:
            return tirx.call_intrin(base.dtype, "tirx.pow", x[index], y[index])

        return te.compute(shape, element, name="power", tag=topi.tag.BROADCAST)

    return builder.call_te(compute, *call.args, primfunc_name_hint="power")


def lower_concat(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers `relax.concat`, as TVM does, and says along which axis."""
    axis = int(call.attrs.axis) % len(constant_shape(call))
    return builder.call_te(
        lambda *parts: topi.concatenate(parts, axis),
        *call.args[0].fields,
        primfunc_name_hint="concatenate",
        primfunc_attrs={CONCAT: axis},
    )


def lower_take(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers `relax.take` of indices known to be in range (mode `fast`), along one axis."""
    axis = int(call.attrs.axis) % len(constant_shape(call.args[0]))
    count = len(constant_shape(call.args[1]))
    shape = int64s(constant_shape(call))

    def compute(data: te.Tensor, indices: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Scalar:
            position = indices[index[axis : axis + count]] if count else indices[()]
            return data[(*index[:axis], position, *index[axis + count :])]

        return te.compute(shape, element, name="take", tag=topi.tag.INJECTIVE)

    return builder.call_te(compute, *call.args, primfunc_name_hint="take")
