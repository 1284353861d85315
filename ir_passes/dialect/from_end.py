"""Our own Relax operator that takes elements by how far they are from the end of an axis: the last token, for example.

    relax.tilewright.from_end(x, distances)

is relax.take(x, extent - distances, axis): distances are int64, 1 for the last element. What the end is, where sizes
vary, `ir_passes/extents` says; of a tensor that is there throughout it is that of the tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .registration import register

NAME = "relax.tilewright.from_end"


def from_end(x: Expr, distances: Any, axis: int) -> Expr:
    """A call of the operator, for an array of distances of any shape."""
    attributes = tvm.ir.make_node("ir.DictAttrs", axis=tirx.IntImm("int64", axis))
    return tvm.ir.Call(Op.get(NAME), [x, relax.const(np.asarray(distances, np.int64), "int64")], attributes)


def axis_of(call: Call) -> int:
    """The axis of a call."""
    return int(call.attrs["axis"])


def _infer_type(call: Call, context: Node) -> Type:
    x, distances = call.args
    shape, axis = list(x.ty.shape), axis_of(call)
    return relax.TensorType([*shape[:axis], *distances.ty.shape, *shape[axis + 1 :]], str(x.ty.dtype))


def _legalize(builder: relax.BlockBuilder, call: Call) -> Expr:
    x, distances = call.args
    axis = axis_of(call)
    end = relax.const(int(x.ty.shape[axis]), "int64")
    return relax.op.take(x, builder.emit(relax.op.subtract(end, distances)), axis)


register(NAME, __doc__, _infer_type, _legalize)
