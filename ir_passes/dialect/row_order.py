"""Our own Relax operator that sorts the rows of a matrix.

    relax.tilewright.row_order(x)

are the positions (int64[rows]) of the rows of x (rows, columns) from the least on. Rows compare as words do, by the
first element that differs; NaN counts as larger than every number, and equal rows keep their order.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .registration import register

NAME = "relax.tilewright.row_order"


def row_order(x: Expr) -> Expr:
    """A call of the operator."""
    return tvm.ir.Call(Op.get(NAME), [x])


def _infer_type(call: Call, context: Node) -> Type:
    return relax.TensorType([call.args[0].ty.shape[0]], "int64")


register(NAME, __doc__, _infer_type)
