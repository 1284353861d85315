"""Our own Relax operator for attention to so many keys as there are when a library runs.

    relax.tilewright.cached_attention(q, k, v, queries, keys, *masks) = softmax(q k^T * scale + masks) v

of the first `queries` rows of q and the first `keys` keys, two int64 scalars; other rows of the result may be anything,
and nothing behind the last key is read. `keys` may be a vector, of a number for each of the batch. q is (batch,
queries, heads, depth), the result (batch, queries, heads, value depth), and masks are as those of `attention`. k and v
are (batch, heads, keys, depth) as caches are, or (batch, keys, heads, depth); each of their heads serves as many of q
as there are more of these. Attributes: `scale`, `nan_is_zero`; `heads_first`, two flags of k and v.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .registration import register

NAME = "relax.tilewright.cached_attention"


def cached_attention(
    operands: Sequence[Expr], *, scale: float, nan_is_zero: bool, heads_first: tuple[bool, bool]
) -> Expr:
    """A call of the operator on q, k, v, the two sizes and the masks."""
    attributes = tvm.ir.make_node(
        "ir.DictAttrs",
        scale=tvm.tirx.FloatImm("float32", scale),
        nan_is_zero=tvm.tirx.IntImm("int64", nan_is_zero),
        heads_first=[tvm.tirx.IntImm("int64", each) for each in heads_first],
    )
    return tvm.ir.Call(Op.get(NAME), list(operands), attributes)


def heads_first_of(call: Call) -> tuple[bool, bool]:
    """Whether heads come before keys, in k and in v."""
    k, v = (bool(int(each)) for each in call.attrs["heads_first"])
    return k, v


def _infer_type(call: Call, context: Node) -> Type:
    q, _, v = (each.ty for each in call.args[:3])
    return relax.TensorType([*list(q.shape)[:3], v.shape[3]], str(q.dtype))


register(NAME, __doc__, _infer_type)
