"""Heads of keys and values that several heads of queries share are read where they are, not repeated in memory."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.graph import Expr, Var
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of, rewrite, shape_of
from ..dialect.attention import NAME
from ..extents.caches import cache_of


@dataclass(frozen=True)
class ShareHeads(GraphPass):
    """attention(q, repeat(k), repeat(v), ...) -> attention(q, k, v, ...) where both are repeated as often.

    After FuseAttention and Canonicalize. Contract: the same function, bit by bit.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if not calls(value, NAME.removeprefix("relax.")):
        return None
    q, k, v, *masks = value.args
    own = [_before_repeats(rewriter, each) for each in (k, v)]
    heads = {None if each is None else int(each.ty.shape[1]) for each in own}
    if None in heads or len(heads) > 1:
        return None
    shared = []
    for operand, tensor in zip((k, v), own, strict=True):
        moved = rewriter.emit(relax.op.permute_dims(tensor, (0, 2, 1, 3)), var.name)
        cast = dtype_of(operand) != dtype_of(moved)
        shared.append(rewriter.emit(relax.op.astype(moved, dtype_of(operand)), var.name) if cast else moved)
    return rewriter.emit(tvm.ir.Call(value.op, [q, *shared, *masks], value.attrs), rewriter.hint(var, value, q, *own))


def _before_repeats(rewriter: Rewriter, operand: Expr) -> Expr | None:
    """(batch, heads, keys, depth) with fewer heads than (batch, keys, heads, depth), which is made of it."""
    found, shape = cache_of(operand, rewriter.definition), shape_of(operand)
    before = shape_of(found.tensor)
    is_repeated = found.heads_first and shape is not None and before is not None and before[1] < shape[2]
    return found.tensor if is_repeated else None
