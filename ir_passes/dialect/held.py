"""Our own Relax operator that goes on with the last elements of axes that end early, to their bounds.

    relax.tilewright.held(x, size, ...)

has the shape and dtype of x: its element at min(position, size - 1) along each axis of the attribute `axes`, with int64
scalars as sizes. What interpolates reads it where an image ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax, te, tirx
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Scalar, Type
from .registration import register

NAME = "relax.tilewright.held"


def held(x: Expr, axes: Sequence[int], sizes: Sequence[Expr]) -> Expr:
    """A call of the operator: a size an axis."""
    attributes = tvm.ir.make_node("ir.DictAttrs", axes=[tirx.IntImm("int64", axis) for axis in axes])
    return tvm.ir.Call(Op.get(NAME), [x, *sizes], attributes)


def _infer_type(call: Call, context: Node) -> Type:
    return call.args[0].ty


def _legalize(builder: relax.BlockBuilder, call: Call) -> Expr:
    axes = [int(axis) for axis in call.attrs["axes"]]

    def compute(x: te.Tensor, *sizes: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Scalar:
            at = list(index)
            for axis, size in zip(axes, sizes, strict=True):
                at[axis] = tirx.min(at[axis], size() - 1)
            return x(*at)

        return te.compute(x.shape, element, name="held")

    return builder.call_te(compute, *call.args, primfunc_name_hint="held")


register(NAME, __doc__, _infer_type, _legalize)
