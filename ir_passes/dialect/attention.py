"""Our own Relax operator for attention: TVM's cannot say what becomes of rows that are masked throughout.

    relax.tilewright.attention(q, k, v, *masks) = softmax(q k^T * scale + masks) v

with q (batch, queries, heads, depth), k (batch, keys, heads, depth), v (batch, keys, heads, value depth), where heads
of k and v may be fewer, each for several heads of q that follow each other; any number of masks that broadcast to
(batch, heads, queries, keys) and may have a part of the batch, which repeats; and the result (batch, queries, heads,
value depth). Attributes: `scale`, a float; `nan_is_zero`, whether probabilities that are NaN
(of a row whose mask is -inf throughout) count as 0; `dtype`, of sums, masks and result, where q, k and v are narrower.

Where q and k are integers of 8 bits, their products are summed in int32, masks of int32 are added to these sums, and
float32(sums) * scale is what the other masks are added to; v is float32 then.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .registration import register

SUMS_OF_INTEGERS = "int32"
NAME = "relax.tilewright.attention"
_HEADS_FIRST = (0, 2, 1, 3)
_KEYS_LAST = (0, 2, 3, 1)


def attention(operands: Sequence[Expr], *, scale: float, nan_is_zero: bool, dtype: str = "float32") -> Expr:
    """A call of the operator on q, k, v and the masks."""
    attributes = tvm.ir.make_node(
        "ir.DictAttrs",
        scale=tvm.tirx.FloatImm("float32", scale),
        nan_is_zero=tvm.tirx.IntImm("int64", nan_is_zero),
        dtype=dtype,
    )
    return tvm.ir.Call(Op.get(NAME), list(operands), attributes)


def is_attention(value: Expr) -> bool:
    """Whether a value is a call of the operator."""
    return isinstance(value, tvm.ir.Call) and getattr(value.op, "name", "") == NAME


def has_integers(call: Call) -> bool:
    """Whether queries and keys are integers."""
    return "int" in str(call.args[0].ty.dtype)


def is_of_sums(mask: Expr) -> bool:
    """Whether a mask is added to the sums of integers, before these become floats."""
    return str(mask.ty.dtype) == SUMS_OF_INTEGERS


def _infer_type(call: Call, context: Node) -> Type:
    q, _, v = (each.ty for each in call.args[:3])
    return relax.TensorType([*list(q.shape)[:3], v.shape[3]], str(call.attrs["dtype"]))


def decomposed(builder: relax.BlockBuilder, call: Call) -> Expr:
    """The definition in plain operators, for where no template takes it."""
    op, emit = relax.op, builder.emit
    q, k, v, *masks = call.args
    dtype = str(call.attrs["dtype"])
    groups = int(q.ty.shape[2]) // int(k.ty.shape[2])
    k, v = (emit(op.repeat(each, groups, 2)) if groups > 1 else each for each in (k, v))
    sums = SUMS_OF_INTEGERS if has_integers(call) else dtype
    scores = emit(op.matmul(emit(op.permute_dims(q, _HEADS_FIRST)), emit(op.permute_dims(k, _KEYS_LAST)), sums))
    for mask in (each for each in masks if is_of_sums(each)):
        scores = emit(op.add(scores, mask))
    scores = emit(op.astype(scores, dtype)) if has_integers(call) else scores
    scores = emit(op.multiply(scores, relax.const(float(call.attrs["scale"]), dtype)))
    batch = int(q.ty.shape[0])
    for mask in (each for each in masks if not is_of_sums(each)):
        repeats = batch // int(mask.ty.shape[0]) if int(mask.ty.shape[0]) > 1 else 1
        scores = emit(op.add(scores, emit(op.tile(mask, (repeats, 1, 1, 1))) if repeats > 1 else mask))
    probabilities = emit(op.nn.softmax(scores, -1))
    if int(call.attrs["nan_is_zero"]):
        zero = relax.const(0.0, dtype)
        probabilities = emit(op.where(emit(op.isnan(probabilities)), zero, probabilities))
    if dtype != str(v.ty.dtype):
        probabilities = emit(op.astype(probabilities, str(v.ty.dtype)))
    result = emit(op.matmul(probabilities, emit(op.permute_dims(v, _HEADS_FIRST)), dtype))
    return op.permute_dims(result, _HEADS_FIRST)


register(NAME, __doc__, _infer_type, decomposed)
