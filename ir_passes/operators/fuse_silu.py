"""x * sigmoid(x) becomes nn.silu."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.graph import Expr, Var
from ..core.match import calls, keeps_shape, made_by
from ..core.rewriter import Rewriter, rewrite


@dataclass(frozen=True)
class FuseSilu(GraphPass):
    """x * sigmoid(x) -> nn.silu(x), the operands in either order.

    Contract: the same function; a sigmoid that something else reads is still computed.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if not calls(value, "multiply"):
        return None
    left, right = value.args
    for x, gate in ((left, right), (right, left)):
        sigmoid = made_by(rewriter, gate, "sigmoid")
        if sigmoid is not None and sigmoid.args[0].same_as(x) and keeps_shape(value, x):
            return rewriter.emit(relax.op.nn.silu(x), rewriter.hint(var, value, x))
    return None
