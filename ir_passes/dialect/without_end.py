"""Our own Relax operator that leaves out elements at both ends of axes: all but the last token, for example.

    relax.tilewright.without_end(x)        attributes: axes, begins, distances

is x[begin : extent - distance] along each of the axes. What the extent is, where sizes vary, `ir_passes/extents` says;
of a tensor that is there throughout it is that of the tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .registration import register

NAME = "relax.tilewright.without_end"

Left = tuple[int, int, int]  # an axis, where what is left begins, and how far from the end of the axis it ends


def without_end(x: Expr, left: Sequence[Left]) -> Expr:
    """A call of the operator."""
    axes, begins, distances = (list(each) for each in zip(*left, strict=True))
    attributes = tvm.ir.make_node("ir.DictAttrs", axes=axes, begins=begins, distances=distances)
    return tvm.ir.Call(Op.get(NAME), [x], attributes)


def left_of(call: Call) -> list[Left]:
    """What a call leaves."""
    columns = ([int(each) for each in call.attrs[name]] for name in ("axes", "begins", "distances"))
    return list(zip(*columns, strict=True))


def _infer_type(call: Call, context: Node) -> Type:
    (x,) = call.args
    shape = [int(extent) for extent in x.ty.shape]
    for axis, begin, distance in left_of(call):
        shape[axis] -= begin + distance
    return relax.TensorType(shape, str(x.ty.dtype))


def _legalize(builder: relax.BlockBuilder, call: Call) -> Expr:
    (x,) = call.args
    axes, begins, distances = zip(*left_of(call), strict=True)
    ends = [int(x.ty.shape[axis]) - distance for axis, distance in zip(axes, distances, strict=True)]
    return relax.op.strided_slice(x, axes, begins, ends, assume_inbound=True)


register(NAME, __doc__, _infer_type, _legalize)
