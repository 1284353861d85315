"""exp(x - max x) / sum exp(x - max x) becomes nn.softmax."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.graph import Expr, Var
from ..core.match import axes_of, calls, made_by
from ..core.rewriter import Rewriter, rewrite


@dataclass(frozen=True)
class FuseSoftmax(GraphPass):
    """exp(x - max(x, axis)) / sum(exp(x - max(x, axis)), axis) -> nn.softmax(x, axis).

    Contract: the same function of x. Without the subtraction it is not: that overflows, and stays as it is.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if not calls(value, "divide"):
        return None
    numerator, denominator = value.args
    exponential, total = made_by(rewriter, numerator, "exp"), made_by(rewriter, denominator, "sum")
    if exponential is None or total is None or not total.args[0].same_as(numerator) or not total.attrs.keepdims:
        return None
    axes = axes_of(total, value.ty.ndim)
    if len(axes) != 1:
        return None
    shifted = made_by(rewriter, exponential.args[0], "subtract")
    peak = made_by(rewriter, shifted.args[1], "max") if shifted is not None else None
    if shifted is None or peak is None or not peak.attrs.keepdims:
        return None
    x = shifted.args[0]
    if not peak.args[0].same_as(x) or axes_of(peak, value.ty.ndim) != axes:
        return None
    return rewriter.emit(relax.op.nn.softmax(x, axes[0]), rewriter.hint(var, value, x))
